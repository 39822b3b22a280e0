"""Parse numbers in running text: 2,000, 2k, two thousand five hundred, 1.5万, 两千五百."""

import re

_ONES = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ENGLISH = {word: number for number, word in enumerate(_ONES.split(), 1)}
_ENGLISH |= {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
_HAN_DIGITS = {sign: number for number, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_SCALES = {"k": 1000, "十": 10, "百": 100, "千": 1000, "万": 10_000}
_SPELLED = rf"\b(?:{'|'.join(_ENGLISH)}|a(?=[\s-](?:hundred|thousand))|hundred|thousand)\b"

NUMBER = (
    r"(?:(?:\d{1,3}(?:,\d{3}){1,3}|\d{1,7}(?:\.\d{1,3})?)(?:\s?(?:k\b|[百千万]))?"
    r"|[零〇一二两三四五六七八九十百千万]{1,12}"
    rf"|{_SPELLED}(?:[\s-]{{1,2}}(?:and\s)?{_SPELLED}){{0,6}}+)"
)
"""Regular expression of the numbers that `read_number` parses, of bounded length and without groups. Use re.IGNORECASE."""


def read_number(written: str) -> int | None:
    """Parse a match of `NUMBER`; None if it is not one number, such as 千 alone or 两三千 (2-3,000)."""
    written = written.lower().replace(",", "")
    if written[0].isdecimal():
        return round(float(written.rstrip("k百千万 ")) * read_scale(written))
    return _read_english(re.split(r"[\s-]+", written)) if written.isascii() else _read_han(written)


def read_scale(written: str) -> int:
    """Return the multiplier of a number's last character: 1000 in 3k and 3千, 1 in 3."""
    return _SCALES.get(written[-1].lower(), 1) if written[0].isdecimal() else 1


def _read_english(words: list[str]) -> int | None:
    total = part = 0
    for word in words:
        if word == "thousand":
            total, part = total + part * 1000, 0
        elif word == "hundred":
            part *= 100
        elif word != "and":
            part += 1 if word == "a" else _ENGLISH[word]
    return total + part or None


def _read_han(signs: str) -> int | None:
    total = part = digit = 0
    for sign in signs:
        if sign in _HAN_DIGITS:
            if digit:
                return None
            digit = _HAN_DIGITS[sign]
        elif sign == "万":
            total, part, digit = total + (part + digit) * 10_000, 0, 0
        elif digit or sign == "十":
            part, digit = part + (digit or 1) * _SCALES[sign], 0
        else:
            return None
    return total + part + digit or None
