"""A judge's own wording: a text file with slots, for judges that were tuned on another wording than longform's.

The file is cut at its slots and never formatted, so braces in it, and in what goes into the slots, are text. Texts stand in
it defused but without fences, which such a judge has never seen.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from longform.endpoints.models import ModelSpec
from longform.judging.answers import defuse
from longform.records.errors import BadInputError
from longform.wording import Language, language_of

_COLONS = ":：﹕︰"
_SCORE_LINE = re.compile(
    rf"^([^\n]*[{_COLONS}])([^\w\n{_COLONS}]*+(?:[SsＳｓ]\w{{4}}[^\w\n{_COLONS}]++)?\d(?:\d|[^\w\n{_COLONS}])*)$",
    re.MULTILINE,
)
"""A line that `parse_tuned_rubric` could read as a score; with two spaces after its last colon it does not."""


class Slots(NamedTuple):
    """The slots of a kind of question."""

    needs: tuple[str, ...]
    """Must be in the template, each at least once, as `{slot}`."""
    takes: tuple[str, ...] = ()
    """May be in it."""


PAIRWISE_SLOTS = Slots(("request", "text_a", "text_b"), ("criteria",))
POINTWISE_SLOTS = Slots(("request", "text"), ("criteria",))
CRITERION_SLOTS = Slots(("request", "text", "criteria"))
"""Of a judge that is asked about one criterion at a time."""


@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """A wording with slots, in one language or in several."""

    name: str
    """Of its file."""
    sha256: str
    """Of its content, in hex."""
    parts: Mapping[Language, tuple[str, ...]]
    """By language: text and names of slots by turns; text first and last."""

    @classmethod
    def read(
        cls, files: Path | Mapping[Language, Path], *, needs: Sequence[str], takes: Sequence[str] = ()
    ) -> "JudgeTemplate":
        """The template of a UTF-8 text file, or of one for each language.

        Args:
            files: the file or files.
            needs: the slots that it must hold, each at least once, as `{slot}`.
            takes: those that it may hold besides.

        Raises:
            BadInputError: a file cannot be read, or lacks a slot.
        """
        paths: dict[Language, Path] = {"en": files} if isinstance(files, Path) else dict(files)
        contents: dict[Language, bytes] = {language: _read(path) for language, path in paths.items()}
        if not contents:
            raise BadInputError("the judge's template names no file")
        parts: dict[Language, tuple[str, ...]] = {}
        for language, content in contents.items():
            text = content.decode("utf-8")
            parts[language] = tuple(re.split(r"\{(" + "|".join(map(re.escape, (*needs, *takes))) + r")\}", text))
            missing = [f"{{{slot}}}" for slot in needs if slot not in parts[language][1::2]]
            if missing:
                raise BadInputError(f"{paths[language]}: the judge's template lacks {', '.join(missing)}")
        name = ", ".join(path.name for path in paths.values())
        return cls(name, hashlib.sha256(b"\0".join(contents.values())).hexdigest(), parts)

    def fill(self, *, request: str, **texts: str) -> str:
        """The question with `texts` in the slots, in the language of the request if the template has it.

        The texts are defused, also against parsers of lines such as `Coherent: 20`.
        """
        texts["request"] = request
        parts = self.parts.get(language_of(request)) or next(iter(self.parts.values()))
        return "".join(
            _SCORE_LINE.sub(_spread_score, defuse(texts[part])) if index % 2 else part
            for index, part in enumerate(parts)
        )


def read_template(endpoint_name: str, spec: ModelSpec, slots: Slots | None) -> JudgeTemplate | None:
    """The template of a judge for a kind of question; None if it has none.

    Args:
        endpoint_name: in models.yaml.
        spec: its entry there.
        slots: of the kind of question; None if it is asked in longform's own words alone.

    Raises:
        BadInputError: the template cannot be read, lacks a slot, or cannot be used for this question.
    """
    if spec.template is None:
        return None
    if slots is None:
        raise BadInputError(
            f"endpoint {endpoint_name}: its template cannot ask this question; give the model a second name in "
            "models.yaml, without template"
        )
    return JudgeTemplate.read(spec.template, needs=slots.needs, takes=slots.takes)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInputError(f"{path}: the judge's template cannot be read: {reason}") from error
    return content


def _spread_score(line: re.Match[str]) -> str:
    return f"{line[1]}  {line[2].lstrip()}"
