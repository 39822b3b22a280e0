"""Names of languages, in sources and in `--language`, as codes: Chinese, 中文, Mandarin, zho and zh-CN are zh."""

import re
from collections.abc import Iterable

from longform.records.errors import BadInputError

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
_CODES |= {
    name: code
    for code, names in {
        "zh": "中文 汉语 漢語 华语 華語 国语 國語 普通话 普通話 mandarin putonghua zho chi cmn",
        "en": "英文 英语 英語 eng",
        "ja": "日文 日语 日語 日本語 jpn",
        "ko": "韩文 韩语 韓語 한국어 kor",
        "de": "deutsch deu ger",
        "fr": "français francais fra fre",
        "es": "español espanol spa",
        "ru": "русский rus",
        "pt": "português por",
        "it": "italiano ita",
        "nl": "nederlands nld dut",
        "ar": "العربية ara",
        "vi": "vie",
        "tr": "tur",
        "pl": "pol",
        "uk": "ukr",
        "fa": "fas per farsi",
    }.items()
    for name in names.split()
}
_UNKNOWN = frozenset({"", "unknown", "nolang", "und", "none"})
_SCRIPT_TAG = re.compile(r"[-_](?:hans|hant)\b|^zh[-_](?:tw|hk|mo)$|繁|简体|簡體|traditional|simplified", re.I)
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9_-]+)?")


def parse_languages(names: Iterable[str]) -> frozenset[str]:
    """Return the codes of languages given by name or code.

    Raises:
        BadInputError: an unknown language, or a script (zh-Hant), which prompts are not told apart by.
    """
    return frozenset(_parse(name) for name in names)


def _parse(name: str) -> str:
    if _SCRIPT_TAG.search(name):
        raise BadInputError(f"--language {name}: languages are detected without their script; use zh")
    code = language_code(name)
    if code is None or (len(code) != 2 and code not in _CODES.values()):
        raise BadInputError(f"--language {name}: needs a code such as en or zh, or a name such as Chinese or 中文")
    return code


def language_code(name: str | None) -> str | None:
    """`Chinese`, `zh`, `zh-CN` or `zh_Hans` -> `zh`; a name without a code in lower case; None if unknown."""
    plain = (name or "").strip().lower()
    if plain in _UNKNOWN:
        return None
    if plain in _CODES:
        return _CODES[plain]
    tag = _TAG.fullmatch(plain)
    return _CODES.get(tag[1], tag[1]) if tag else plain
