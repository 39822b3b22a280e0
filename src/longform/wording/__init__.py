"""Everything longform says to models, by version: judge questions and think prompts, in English and Chinese.

A released version never changes. The request hash of a recorded answer covers the whole question, and a run that is
resumed or replayed keeps the wording it began with, so its answers are found again. New wording is a new version
(`v4.yaml`, ...). Slots are filled by `str.format`; texts of others are values there, so braces in them stay text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from longform.text.languages import guess_language
from longform.text.words import count_han

Language = Literal["en", "zh"]

VERSIONS = (1, 2, 3)
CURRENT = VERSIONS[-1]
DOMINANT_SINCE = 3
"""First version whose language is the dominant one of the request; before it, one Chinese character was enough."""


def language_of(request: str) -> Language:
    """The language in which a question about a request is asked: Chinese if that is its dominant one, else English."""
    return "zh" if guess_language(request) == "zh" else "en"


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of one version."""

    version: int
    _texts: Mapping[str, Any]

    def language_of(self, request: str) -> Language:
        """The language in which this version asks about a request: `language_of`; before version 3, Chinese for any Han."""
        if self.version < DOMINANT_SINCE:
            return "zh" if count_han(request) else "en"
        return language_of(request)

    def text(self, name: str, language: Language = "en") -> str:
        """A text by its dotted name, such as `pairwise.task`; in English if there is no Chinese one."""
        return _in_language(self._find(name), language)

    def table(self, name: str, language: Language = "en") -> dict[str, str]:
        """Several texts by name, such as the dimensions of a grade, in their order."""
        return {key: _in_language(value, language) for key, value in self._find(name).items()}

    def has(self, name: str) -> bool:
        """Whether this version has a section of questions."""
        return name in self._texts

    def languages(self, name: str) -> frozenset[str]:
        """The languages that a text is written in."""
        return frozenset(self._find(name))

    def _find(self, name: str) -> Any:
        found: Any = self._texts
        for part in name.split("."):
            found = found[part]
        return found


@cache
def load_wording(version: int = CURRENT) -> Wording:
    """The wording of a version.

    Raises:
        ValueError: there is no such version; a newer longform wrote it.
    """
    if version not in VERSIONS:
        raise ValueError(f"unknown wording version {version}; this longform has {', '.join(map(str, VERSIONS))}")
    import yaml

    return Wording(version, yaml.safe_load((files(__name__) / f"v{version}.yaml").read_text(encoding="utf-8")))


def _in_language(text: Mapping[str, str], language: Language) -> str:
    return text.get(language, text["en"])
