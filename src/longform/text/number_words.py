"""Parse numbers in running text: 2,000, 2k, two thousand five hundred, 1.5万, 两千五百, 一万二, 1万5千, 两三千.

Traditional and financial numerals (兩, 萬, 壹仟) are understood after `simplify_numerals`.
"""

import re
from itertools import pairwise

_ONES = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ENGLISH = {word: number for number, word in enumerate(_ONES.split(), 1)}
_ENGLISH |= {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
_ENGLISH_SCALES = {"hundred": 100, "thousand": 1000}
_HAN_DIGITS = {sign: number for number, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_SCALES = {"k": 1000, "w": 10_000, "十": 10, "百": 100, "千": 1000, "万": 10_000}
_FINANCIAL = str.maketrans("壹贰貳叁參参肆伍陆陸柒捌玖拾佰仟萬兩弍弐", "一二二三三三四五六六七八九十百千万两二二")
_FINANCIAL_RUN = re.compile("[零壹贰貳叁參参肆伍陆陸柒捌玖拾佰仟萬万两兩一二三四五六七八九十百千弍弐]{2,12}")
_FINANCIAL_SCALE = re.compile("[拾佰仟萬十百千万]")
_SPELLED = rf"\b(?:{'|'.join(_ENGLISH)}|a(?=[\s-](?:hundred|thousand))|hundred|thousand)\b"
_DIGIT = "(?:one|two|three|four|five|six|seven|eight|nine)"
_AND_SPELLED = (
    rf"and\s(?!{_SPELLED}[\s-]thousand)(?:(?<=thousand\sand\s)(?={_DIGIT}[\s-]hundred)|(?!{_SPELLED}[\s-]hundred))"
)
"""Within a number, as in "two thousand and five hundred"; not between two, as in "five hundred and seven hundred"."""
_NEXT_SPELLED = rf"(?:(?:(?<=thousand),\s|[\s-]{{1,2}})(?:{_AND_SPELLED})?{_SPELLED})"
_HALF = r"\sand\sa\shalf\s(?:hundred|thousand)\b"

NUMBER = (
    r"(?:(?:\d{1,2}(?:\.\d)?[万千wk]\d{1,4}[千百]?(?!\d)"
    rf"|\d{{1,2}}{_HALF}"
    r"|(?:\d{1,3}(?:[,'’]\d{3}){1,3}|\d{1,3}(?: \d{3}){1,2}(?![\d,])|\d{1,7}(?:\.\d{1,3})?)"
    r"(?:\s?(?:k(?![a-z])|[百千万]|thousand\b|hundred\b)|w(?![a-z]))?)"
    r"|[零〇一二两三四五六七八九十百千万]{1,12}"
    rf"|{_SPELLED}(?:{_HALF}|{_NEXT_SPELLED}{{0,6}}(?!{_NEXT_SPELLED})))"
)
"""Regular expression of the numbers that `read_number` parses, of bounded length and without groups. Use re.IGNORECASE."""

_NEIGHBOURS = re.compile("([一两二三四五六七八九])([二两三四五六七八九])([十百千万])$")
_FEWEST_UNSCALED = 100
"""The lower end of a range below this number takes over the scale of the upper end."""
_MIXED_PART = re.compile(r"(\d+(?:\.\d+)?)([百千万kw]?)")


def simplify_numerals(text: str) -> str:
    """Replace traditional and financial numerals by simplified ones, character by character: 壹仟 becomes 一千.

    The characters of 大陆 or 队伍 stay: financial numerals count only beside each other and with a scale among them.
    """
    text = _FINANCIAL_RUN.sub(
        lambda run: run[0].translate(_FINANCIAL) if _FINANCIAL_SCALE.search(run[0]) else run[0], text
    )
    return text.replace("兩", "两").replace("萬", "万")


def read_number(written: str) -> int | None:
    """Parse a match of `NUMBER`; None if it is not one number, such as 千 alone or 两三千 (2-3,000)."""
    value = _read_value(written)
    return None if value is None else round(value)


def read_span(written: str) -> tuple[int, int] | None:
    """Parse a match of `NUMBER` as both ends: 两三千 is (2000, 3000), 2000 is (2000, 2000); None for no number."""
    if neighbours := _NEIGHBOURS.search(written):
        first, second = (_HAN_DIGITS[neighbours[group]] for group in (1, 2))
        before, scale = written[: neighbours.start()], _SCALES[neighbours[3]]
        base = 0 if not before else _read_han(before, complete=True)
        follows = second == first + 1 or (first, second) == (3, 5)
        if base is None or base % (10 * scale) or not follows:
            return None
        return base + first * scale, base + second * scale
    number = read_number(written)
    return None if number is None else (number, number)


def read_low(written: str, high: str) -> int | None:
    """Parse the lower end of a range; 3-5千 and "three to five hundred" state the scale once, with the upper end."""
    low, upper = _read_value(written), _read_value(high)
    if low is None or upper is None:
        return None
    scaled = low * _scale(high)
    return round(scaled if low < _FEWEST_UNSCALED and scaled < upper else low)


def _scale(written: str) -> int:
    """Return the multiplier of a number's last character or word: 1000 in 3k, 3千, 三千 and "three thousand", else 1."""
    written = written.lower().rstrip()
    for word, scale in _ENGLISH_SCALES.items():
        if written.endswith(word):
            return scale
    if re.fullmatch(r"[\d.,]+\s?[kw十百千万]|[零〇一二两三四五六七八九十]+[百千万]", written):
        return _SCALES[written[-1]]
    return 1


def _read_value(written: str) -> float | None:
    written = re.sub(r"(?<=\d)[,'’ ](?=\d{3})", "", written.lower())
    if not written[0].isdecimal():
        return _read_english(written) if written.isascii() else _read_han(written)
    if written.endswith(("hundred", "thousand")):
        digits, _, half = written.partition(" and a half")
        scale = _ENGLISH_SCALES[re.split(r"[^a-z]", written)[-1] if half else re.sub(r"[\d.\s]", "", digits)]
        return (float(re.sub(r"[^\d.]", "", digits)) + (0.5 if half else 0)) * scale
    total, last = 0.0, 1
    for digits, scale in _MIXED_PART.findall(written.replace(" ", "")):
        if scale and last > 1 and _SCALES[scale] >= last:
            return None
        if scale or last == 1 or len(digits) > 1:
            total += float(digits) * _SCALES.get(scale, 1)
        else:  # 1万5 is 15,000
            total += float(digits) * last / 10
        last = _SCALES.get(scale, 1)
    return total


def _read_english(written: str) -> float | None:
    written, _, half = written.partition(" and a half ")
    total = part = 0.0
    for word in re.split(r"[\s,-]+", written):
        if word == "thousand":
            total, part = total + part * 1000, 0
        elif word == "hundred":
            part *= 100
        elif word != "and":
            part += 1 if word == "a" else _ENGLISH[word]
    if half:
        part = (part + 0.5) * _ENGLISH_SCALES[half]
    return total + part or None


def _read_han(signs: str, *, complete: bool = False) -> int | None:
    """Parse Chinese numerals: 两千五百, 二〇〇〇, and 一万二 as 12,000 unless `complete`."""
    if len(signs) > 2 and all(sign in _HAN_DIGITS for sign in signs):
        is_positional = signs[0] not in "零〇" and "两" not in signs
        return int("".join(str(_HAN_DIGITS[sign]) for sign in signs)) if is_positional else None
    total = part = digit = 0
    for sign in signs:
        if sign in _HAN_DIGITS:
            if digit:
                return None
            digit = _HAN_DIGITS[sign]
        elif sign == "万":
            total, part, digit = total + (part + digit) * 10_000, 0, 0
            if not total:
                return None
        elif digit or sign == "十":
            part, digit = part + (digit or 1) * _SCALES[sign], 0
        else:
            return None
    scales = [_SCALES[sign] for sign in signs if sign in _SCALES]
    below = scales[scales.index(10_000) + 1 :] if 10_000 in scales else scales
    if any(one <= other for one, other in pairwise(below)):
        return None  # 七百八百
    if digit and not complete and len(signs) > 1 and signs[-2] in "百千万":
        digit *= _SCALES[signs[-2]] // 10
    return total + part + digit or None
