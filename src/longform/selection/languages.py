"""The language of a prompt: the source's language name as a code, or a guess from the text.

Guesses use only the script and function words: Chinese, Japanese, Korean, English, or None.
"""

import re
from collections.abc import Iterable

from longform.records.errors import BadInputError
from longform.text.function_words import FUNCTION_WORDS
from longform.text.repetition import units

ENGLISH_SHARE = 0.1
"""Minimum fraction of specifically English words in an English text: they are half of prose, but fewer in lists."""

_NAMES = """
ar Arabic|bg Bulgarian|bn Bengali|ca Catalan|cs Czech|da Danish|de German|el Greek|en English|eo Esperanto|es Spanish|
et Estonian|eu Basque|fa Persian|fi Finnish|fr French|ga Irish|gl Galician|he Hebrew|hi Hindi|hr Croatian|hu Hungarian|
hy Armenian|id Indonesian|is Icelandic|it Italian|ja Japanese|ka Georgian|kk Kazakh|ko Korean|la Latin|lt Lithuanian|
lv Latvian|mk Macedonian|ms Malay|nb Bokmal|nl Dutch|no Norwegian|pl Polish|pt Portuguese|ro Romanian|ru Russian|
sk Slovak|sl Slovenian|sq Albanian|sr Serbian|sv Swedish|sw Swahili|ta Tamil|th Thai|tl Tagalog|tr Turkish|uk Ukrainian|
ur Urdu|vi Vietnamese|zh Chinese
"""
_CODES = {
    name.lower(): code for code, name in (pair.strip().split(" ") for pair in _NAMES.replace("\n", "").split("|"))
}
_SHARED = frozenset("a also am an as d do had he her i in is it me no of on or over s so t us was we will".split())  # noqa: SIM905
"""English function words that also occur in other languages with Latin script."""
_REQUESTS = frozenset("write please create make give help explain describe generate story essay word words".split())  # noqa: SIM905
_ENGLISH = (FUNCTION_WORDS - _SHARED) | _REQUESTS
_UNKNOWN = frozenset({"", "unknown", "nolang", "und", "none"})
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9_-]+)?")
_SCRIPTS = {
    "zh": re.compile(r"[\u3400-\u9fff]"),
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af\u1100-\u11ff]"),
}
_LETTER = re.compile(r"[^\W\d_]")
_KANA_SHARE = 0.1
"""Minimum fraction of kana in Japanese text, which mixes kana with Han characters; Chinese texts quote few kana."""


def parse_languages(names: Iterable[str]) -> frozenset[str]:
    """Return the codes of languages given by name or code.

    Raises:
        BadInputError: an unknown language.
    """
    codes = {name: language_code(name) for name in names}
    if unknown := [name for name, code in codes.items() if code is None]:
        raise BadInputError(f"--language {unknown[0]}: needs a code such as en or zh")
    return frozenset(code for code in codes.values() if code)


def language_code(name: str | None) -> str | None:
    """`Chinese`, `zh`, `zh-CN` or `zh_Hans` -> `zh`; a name without a code in lower case; None if unknown."""
    plain = (name or "").strip().lower()
    if plain in _UNKNOWN:
        return None
    if plain in _CODES:
        return _CODES[plain]
    tag = _TAG.fullmatch(plain)
    return tag[1] if tag else plain


def guess_language(text: str) -> str | None:
    """Return `zh`, `ja` or `ko` if that script dominates, `en` if English function words are common, else None."""
    counts = {code: len(script.findall(text)) for code, script in _SCRIPTS.items()}
    letters = len(_LETTER.findall(text))
    east_asian = sum(counts.values())
    # A Han character corresponds to two or three Latin letters.
    if 3 * east_asian > letters:
        if counts["ja"] > _KANA_SHARE * east_asian:
            return "ja"
        return max(counts, key=lambda code: counts[code])
    words = [word for word in units(text) if word.isalpha()]
    english = sum(word in _ENGLISH for word in words)
    return "en" if words and english >= ENGLISH_SHARE * len(words) else None
