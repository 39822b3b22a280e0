"""The parts of a text that have counts of their own, and the total they make: 第一章500字，第二章500字 is 1,000 in all.

Counts are added only if they cover the whole text: ordinals from the first without a gap, 上篇 and 下篇, or an opening, a
middle and an ending.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_HAN_NUMBERS = "零一二三四五六七八九十"
_ENGLISH_NUMBERS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ENGLISH_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_ROMAN = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_UNITS = "(?:个?部分|章节?|节|段落?|篇|幕|卷|回|集|场|部|讲|封|首|则|问|题|天|点)"
_ENGLISH_UNITS = (
    r"(?:parts?|chapters?|sections?|acts?|paragraphs?|scenes?|volumes?|books?|letters?|essays?|half|halves"
    r"|days?|one|episodes?)"
)
_GAP = r"(?:[^,，。;；\d]|\d(?=%)){0,14}$"
_HAN_ORDINAL = re.compile(
    rf"(?:第(?P<number>[一二三四五六七八九十]|\d{{1,2}}){_UNITS}|其(?P<which>[一二三四五六])){_GAP}"
)
_HAN_SIDE = re.compile(rf"(?P<side>[上中下前后])(?:半?(?:部分|篇|卷|册|集|阕|段|部|章|编|辑)|半)(?:{_GAP})")
_ENGLISH_ORDINAL = re.compile(
    r"\b(?:(?:part|chapter|section|act|paragraph|scene|volume|book|letter|essay|day|episode)\s"
    rf"(?P<number>\d{{1,2}}|{'|'.join(_ENGLISH_NUMBERS[1:])}|[ivx]{{1,4}}|[a-d])"
    rf"|(?:the\s|a\s)?(?P<ordinal>{'|'.join(_ENGLISH_ORDINALS[1:])})(?:\s{_ENGLISH_UNITS})?)\b[^,;\n\d]{{0,25}}$",
    re.I,
)
_ROLES = {
    "opening": r"开头|开篇|引言|引子|楔子|序言|前言|导言|引入|引论|绪论|导语|\b(?:introduction|intro|opening|beginning)\b",
    "middle": r"中间|正文|主体|本论|\b(?:body|middle|main (?:part|body|section)|main)\b",
    "ending": r"结尾|结论|结语|尾声|结束语|收尾|总结部分|\b(?:conclusion|ending|closing|end)\b",
}
_ROLE = re.compile(
    "(?:" + "|".join(rf"(?P<{name}>{words})" for name, words in _ROLES.items()) + r")(?:部分)?[^,;。\n\d]{0,16}$",
    re.I,
)
_SIDES = ({"上", "下"}, {"上", "中", "下"}, {"前", "后"})
_MORE_PARTS = re.compile(
    rf"(?P<han>[两三四五六七八九十]|\d{{1,2}})(?:大|小)?个?{_UNITS}"
    rf"|\b(?P<english>{'|'.join(_ENGLISH_NUMBERS[2:])}|\d{{1,2}})[\s-](?:\w+\s)?{_ENGLISH_UNITS}\b",
    re.I,
)


class TextPart(NamedTuple):
    """A part of a text by its scheme (`ordinal`, `side`, `role`) and its name within it (1, 上, opening)."""

    scheme: str
    name: str | int


MAIN_PART = TextPart("role", "middle")
"""The body of a text, which stands for the whole if no other part has a count."""


def find_part(before: str) -> TextPart | None:
    """Return the part whose name ends the text before a count; None if no part is named there."""
    if found := _HAN_ORDINAL.search(before):
        return TextPart("ordinal", _number(found["number"] or found["which"]))
    if found := _HAN_SIDE.search(before):
        return TextPart("side", found["side"])
    if found := _ENGLISH_ORDINAL.search(before):
        return TextPart("ordinal", _number((found["number"] or found["ordinal"]).lower()))
    if found := _ROLE.search(before):
        return TextPart("role", next(name for name in _ROLES if found[name]))
    return None


def is_whole(parts: Sequence[TextPart], text: str) -> bool:
    """Whether named parts make up the whole of a text that is described by `text`."""
    if len({part.scheme for part in parts}) != 1 or len(set(parts)) != len(parts) or len(parts) < 2:
        return False
    names = {part.name for part in parts}
    match parts[0].scheme:
        case "ordinal":
            return names == set(range(1, len(parts) + 1)) and _most_parts(text) <= len(parts)
        case "side":
            return names in _SIDES
    return names == set(_ROLES)


def _most_parts(text: str) -> int:
    """Return the largest number of parts that a request mentions."""
    counts = [_number((found["han"] or found["english"]).lower()) for found in _MORE_PARTS.finditer(text)]
    ordinals = [_number(found) for found in re.findall(rf"第([一二三四五六七八九十]|\d{{1,2}}){_UNITS}", text)]
    return max([*counts, *ordinals], default=0)


def _number(written: str) -> int:
    """Return the number of an ordinal: 三, 3, three, third, iii and c are 3; 0 if there is none."""
    if written.isdecimal():
        return int(written)
    if written == "两":
        return 2
    for names in (_HAN_NUMBERS, _ENGLISH_NUMBERS, _ENGLISH_ORDINALS, _ROMAN, "_abcd"):
        if written in names:
            return names.index(written)
    return 0


_TEXT_UNITS = "篇|章节?|节|小节|段落?|部分|封|首|则|条|回|集|期|幕|卷|题|问|份|页|讲|句"
_EACH_NEAR = re.compile(rf"每(?:一|两|[\d]+)?个?(?:{_TEXT_UNITS}|[^,。;的》”\"]{{0,8}})[^,。;]*$")
_SEVERAL = rf"[两三四五六七八九十几多数\d]\s?个?(?:{_TEXT_UNITS})"
_EACH_UNIT_EARLIER = re.compile(rf"每[天日周月年]?(?:一|两)?个?(?P<unit>{_TEXT_UNITS})")
_TOPIC = re.compile(
    '的(?!字数|长度|篇幅|内容|文字|部分|介绍|正文|描述|描写|分析|要求|每|数量|字)|为题|为主题|为话题|为中心|题目|[》”"』」]'
    "|(?<![每个一篇章段])(?:作文|散文|文章|故事|报告|演讲稿?|小说|论文|议论文|记叙文)"
)
_EACH_ENGLISH = re.compile(r"\b(?:each|every)\b(?P<rest>[^,]*)$", re.I)
_ENGLISH_TEXT_UNIT = re.compile(
    r"\s(?:of (?:the|them|these|which)\s?|single\s|individual\s|(?:\w+\s){0,2}?)?(?:sections?|chapters?"
    r"|parts?|paragraphs?|essays?|stor(?:y|ies)"
    r"|scenes?|poems?|entry|entries|letters?|posts?|reviews?|articles?|answers?|responses?|tweets?"
    r"|descriptions?|episodes?"
    r"|acts?|pieces?|texts?|summar(?:y|ies)|one|points?|items?|topics?|questions?|prompts?|day|week|page"
    r"|profiles?|stanzas?"
    r"|slides?|emails?|bios?|captions?|vignettes?)\b",
    re.I,
)
_ABOUT_BEFORE = re.compile(
    r"\b(?:about|on|why|how|where|when|that|which|whose|whether|because|if)\s(?:[\w'-]+\s){0,4}$", re.I
)


def is_for_each(before: str) -> bool:
    """Whether the text before a count makes it a count of each of several parts: 每章500字, "each chapter of 500 words".

    A 每 of the topic, as in 关于每个人都有梦想的散文，800字, does not.
    """
    clause = before.rpartition(",")[2]
    if (found := _EACH_NEAR.search(clause)) and not _TOPIC.search(clause[found.start() :]):
        return True
    earlier = before[: len(before) - len(clause)]
    if found := list(_EACH_UNIT_EARLIER.finditer(earlier)):
        unit = found[-1]["unit"]
        several = re.search(rf"[两三四五六七八九十几多数\d]\s?个?(?:[^,。;]{{0,3}}){unit}", earlier)
        is_separate = unit in ("篇", "封", "首", "则", "条", "回", "集", "期", "份", "题", "问", "章")
        if (several or is_separate) and not _TOPIC.search(earlier[found[-1].end() :]):
            return True
    return _is_for_each_english(before, clause)


def _is_for_each_english(before: str, clause: str) -> bool:
    if found := _EACH_ENGLISH.search(clause):
        if _ENGLISH_TEXT_UNIT.match(found["rest"]):
            return True
        if not _ABOUT_BEFORE.search(clause[: found.start()]) and len(found["rest"].split()) <= 7:
            return True
    earlier = before[: len(before) - len(clause)]
    return any(
        _ENGLISH_TEXT_UNIT.match(earlier, found.end()) for found in re.finditer(r"\b(?:each|every)\b", earlier, re.I)
    )
