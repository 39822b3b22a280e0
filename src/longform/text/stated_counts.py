"""Find the number of words that a request states for its whole text, in English and Chinese.

Precision matters more than recall, because the result is used for validation. Ignored are counts of a part ("500 words
each", "每章500字"), of an existing text ("this 2,000-word essay") or of an addition, and counts that contradict each other.
The search matches fixed phrases around a number.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from longform.text.chinese import to_simplified
from longform.text.count_bounds import OpenSide, find_side, negations, side_before
from longform.text.count_parts import MAIN_PART, TextPart, find_part, is_whole
from longform.text.count_subjects import (
    is_in_list,
    is_of_a_given_text,
    is_of_something_else,
    is_total_after,
    may_be_of_a_topic,
    split_at_total,
)
from longform.text.number_words import NUMBER, read_low, read_number, read_span, simplify_numerals

FEWEST = 100
"""Minimum count: fewer words are a title, a slogan or a name (四字成语), and below one step of a length range."""
MOST = 50_000
"""Maximum count: more words are usually the length of a book that the request mentions."""
_REACH = 120
"""Maximum number of characters searched before a number, back to the last end of a sentence."""


def _any_of(*phrases: str) -> str:
    return f"(?:{'|'.join(phrases)})"


def _compile(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.I)


# The form of a count.
_WORDS = _any_of(
    r"[\s-]{0,2}(?:english\s|chinese\s)?words?\b(?!\s(?:documents?|processor|files?|templates?|vocabular\w+)\b)",
    r"\schinese characters?\b",
    r"\s?个?(?:中文字|汉字|英文单词|单词|字(?![节符母段典号体诀方真经头句形线成令箴口眼幕里])"
    r"|词(?![汇语组条根频典性库牌]))",
)
_MODAL = "(?:(?:must|should|may|can|do|does) )?"
_UPPER = r"(?:an?\s|the\s)?" + _any_of(
    _MODAL + "(?:no|not|never|cannot)(?: be)?(?: any)? (?:more|longer|greater|larger) than",
    r"(?:not|never|without) (?:to )?exceed\w*",
    "(?:not|never) (?:over|above|beyond)",
    r"at (?:the )?(?:very )?most|max(?:imum|\.)?(?: of|:)?|up to",
    "less than|fewer than|shorter than|under|below",
    "<=|=<|[<≤≦⩽]",
    "[不别勿](?:得|能|可|要|应|许|准)?(?:超过|多于|大于|高于|超出|超)|至多|最多|最高|上限|少于|小于|低于",
)
_LOWER = r"(?:an?\s|the\s)?" + _any_of(
    _MODAL + "(?:no|not|never)(?: be)?(?: any)? (?:less|fewer|shorter) than",
    "(?:not|never) (?:under|below)",
    r"at (?:the )?(?:very )?least|min(?:imum|\.)?(?: of)?|more than|over",
    ">=|=>|[>≥≧⩾]",
    "[不别勿](?:得|能|可|要|应|许|准)?(?:少于|低于|小于|短于)|至少|最少|起码|最低|下限|多于|大于|高于|超过",
)
_AND = r"(?:[,/]|\b(?:and|but|or|nor|to)\b|且|并且|并|同时|或者?|但|又)"
_BETWEEN = r"\s{0,3}(?:words?|字|-(?=\s|to-))?\s{0,3}"
_JOINT = (
    _BETWEEN + r"(?:-{1,2}(?![a-z])|[–—―]{1,2}|~{1,2}|[至到或与和]|、(?=[\d一两二三四五六七八九]{1,2}[千百万kw])"
    rf"|\bto-|\b(?:to|thru|through|or|and)\b|(?P<upper>{_AND}?\s?{_AND}?\s?(?:{_UPPER}))"
    rf"|(?P<lower>{_AND}?\s?{_AND}?\s?(?:{_LOWER})))\s{{0,3}}"
)
_BEFORE_A_NUMBER = r"(?<![\d.$€£¥百千万几第])(?<!\dx)(?<![^字词]数)(?<!\d,)(?<!\D\d )"
_SAME = rf"(?:\s?\(\s?(?P<same>{NUMBER})\s?\))?"
_ERROR = r"(?:\s?(?:±|\+/-|\+-)\s?(?P<error>\d{1,4})(?P<percent>\s?%)?)?"
_COUNT = (
    rf"{_BEFORE_A_NUMBER}(?:(?P<low>{NUMBER})(?P<joint>{_JOINT}))?(?P<high>{NUMBER}){_SAME}{_ERROR}"
    r"(?P<more>\s?\+|多|余|[\s-]plus\b(?! or|/)|\sor (?:more|above|over)\b)?(?P<fewer>\sor (?:fewer|less|under)\b)?[来把]?"
)
_COUNT_OF_WORDS = _compile(_COUNT + _WORDS)
_BARE_COUNT = re.compile(
    r"(?P<before>[上近小快])?(?<![\d一二两三四五六七八九十百千万几数成好若半多来余])(?<![几数]\s)"
    r"(?P<scale>[百千万])(?:(?P<more>[余多])|[来把])?字(?![节符母段典号体诀方真经头句形线成令箴口眼幕里])"
)
"""千字长文 and 万字报告: a scale without a digit."""
_LABEL = (
    r"(?:字数|词数|篇幅|\bword[ _-]?(?:count|limit|length|target|budget|range)\b|(?:\bnumber|\bno\.|#) of words\b"
    r"|\b(?:max|min)(?:imum|\.)? words?\s?(?=[:=])|(?:^|[\n.;,(])\s?words?\s?(?=[:=]))"
)
_LABELLED_COUNT = _compile(
    _LABEL
    + r"(?:[^\d\n.;。!?]|\b(?:max|min|approx|ca)\.){0,25}?"
    + _COUNT
    + r"(?=\s*(?:$|[\n,;。!?()\]】》”\"<>≤≥、]|\.(?!\d)|左右|上下|以上|以内|以下|之间|之内|为[宜佳好限]|max|min|or\b|and\b))"
)
_SIGN = r"\s?(?:<=|=<|[<≤≦⩽])\s?"
_SIGN_BACK = r"\s?(?:>=|=>|[>≥≧⩾])\s?"
_UNIT_OR_NOT = r"\s?(?:words?|字)?"
_NAME = r"\s?(?:[总]?字数|篇幅|全文|正文|总?长度|文章|words?|word ?count|length|n|x){1,2}\s?"
_CHAIN = _compile(
    rf"(?P<a>{NUMBER}){_UNIT_OR_NOT}(?:(?P<up>{_SIGN})|{_SIGN_BACK}){_NAME}(?:{_SIGN}"
    rf"|{_SIGN_BACK})(?P<b>{NUMBER}){_UNIT_OR_NOT}",
    rf"{_LABEL}[^\d\n.;。!?]{{0,10}}?\[\s?(?P<c>{NUMBER})\s?[,、-]\s?(?P<d>{NUMBER})\s?\]",
)
"""800字≤字数≤1000字, and an interval in brackets."""
_BOUND_BEHIND = r"\s?\(?(?:(?:min|max)(?:imum|\.)?|at (?:least|most))(?![a-z])\)?"
_CEILING = r"(?:以内|以下|之内|封顶|max(?:imum)?\b|at (?:the )?most\b)"
_FLOOR = r"(?:以上|起(?!来)|min(?:imum)?\b|at (?:the )?least\b)"
_SECOND_BOUND = _compile(
    rf"(?P<mark>以[上下内]|{_BOUND_BEHIND})?(?:\s?[,;(]\s?(?:(?:and|but)\s|但)?|\s(?:and|but)\s)"
    rf"(?:(?:(?P<upper>{_UPPER})|(?P<lower>{_LOWER}))\s?(?P<number>{NUMBER})"
    rf"|(?P<first>{NUMBER})\s?(?:{_CEILING}|(?P<floor>{_FLOOR})))"
    r"\s?(?=$|[,;)}\]。!\n]|\.(?!\d))",
)
"""A second bound of a count, without a unit."""
_OWN_BOUND = _compile(_BOUND_BEHIND)
"""A bound behind a count, which says nothing of the next one: "300 words (min) to 500 words (max)"."""
_VAGUE = re.compile("[几数][百千万]字?(?:[都也均]|左右)")
_OUTSIDE = re.compile(r"\b(?:outside|except)\s*$", re.I)
_RANGE_OPENING = _compile(r"(?:between|from|介于|在)\s*$")
_SENTENCE_END = re.compile(r"(?<!\bmax)(?<!\bmin)(?<!\bapprox)(?<!\bca)\.(?!\d)|[!?;。\n]", re.I)
_BARE = {"百": 100, "千": 1000, "万": 10_000}
_THOUSAND_CHARACTER_CLASSIC = re.compile("文(?!章)")
_NUMBERED = re.compile(
    r"(?:第|\b(?:chapter|part|section|day|week|act|scene|no\.?|level|grade|year|question|task|item|step"
    r"|option|page|volume"
    r"|book|unit|act))\s?$",
    re.I,
)
"""Before "1 500 words": the first number is a label, not thousands."""
_ERROR_AFTER = re.compile(
    r"\s*(?:左右|上下)?\s?[,(]?\s?(?:±|\+/-|\+-|give or take|plus(?:/| or )minus|(?:上下|允许)?(?:浮动|误差|出入)[在为]?"
    r"(?:不超过)?±?)\s*(\d{1,4})\s*(%)?(?!\d)",
    re.I,
)
_WRITTEN_PART = re.compile(r"(?:写|创作|撰写)[^,。]*第|\b(?:write|draft|compose)\b[^,]*$", re.I)
_ALTERNATIVE = re.compile(r"\s*(?:,\s*)?(?:or|nor|或)", re.I)
_COMPARISON = _compile(
    r"(?<!no )(?<!not )\b(?:more|less|fewer|longer|shorter) than|\b(?:or|nor) (?:over|under|above|below)",
    "(?<!不)(?:多于|少于|大于|小于|超过|低于|高于)",
)
_DENIED = re.compile(r"\b(?:not|no|never|neither)\b|n['’]t\b|[不别勿]", re.I)
_EXACT = re.compile(
    r"\bno more,? (?:and |or |but )?no less than\b|不多不少"
    r"|\b(?:no|not)(?: a word)? (?:more,? (?:and |or |nor |but )?(?:(?:no|not) )?less|less,? (?:and |or |nor |but )?"
    r"(?:(?:no|not) )?more)\b(?! than)",
    re.I,
)
_EMPHASIS = re.compile(r"(?<![\d*])(\*{1,3})(?=[^\s*])([^*\n]{1,60})(?<=[^\s*])\1(?![\d*])")
_TITLE = re.compile(
    r"《[^《》\n]{1,60}》"
    r"|\b(?:titled|entitled|called|named|headline[ds]?|题为|题目[是为:]?|标题[是为:]?)\s?[\"“「『][^\"“”「」『』\n]{1,80}[\"”」』]"
    r"|[\"“「『][^\"“”「」『』\n]{1,80}[\"”」』](?=为(?:题|主题|话题|标题))",
    re.I,
)
"""A title, whose numbers are no counts: 《一千字》, an article called "1,000 Words for Snow"."""
_DIGITS = re.compile(rf"{NUMBER}(?=\s?[-字词w])", re.I)
_LIST_NUMBER = re.compile("[①-⒛❶-➓]")


class StatedCount(NamedTuple):
    """The number of words that a request asks for: `low` equals `high` for "2,000 words"; None for an open side."""

    low: int | None
    high: int | None

    @property
    def largest(self) -> int:
        """The larger of the two numbers."""
        return max(self.low or 0, self.high or 0)


class _Mention(NamedTuple):
    """A count of a whole text in a request, and whether it is called a total; or of a named part of it."""

    stated: StatedCount
    is_total: bool = False
    part: TextPart | None = None
    may_be_whole: bool = True


class _Number(NamedTuple):
    """A number of words in a request, from `start` to `end`; 0 and 0 for one that cannot be read."""

    start: int
    end: int
    low: int
    high: int
    side: OpenSide | None = None
    """The side that a mark between the number and its unit states: "800+ words", 800多字."""
    is_attribute: bool = False
    """Whether it describes a text, as in "a 500-word essay"."""
    is_range: bool = False
    joint: str | None = None
    """What joins the two ends of a range."""
    upper: str | None = None
    lower: str | None = None
    """The phrase of a second bound: "800 but no more than 1,000 words"."""


def find_stated_count(request: str) -> StatedCount | None:
    """Return the count that `request` states for its whole text; None if there is none or it is ambiguous.

    Of several counts, the one that is called a total is used, unless another is larger. "At least 800 words" and "at most
    1,000 words" are combined into a range, and the counts of parts are added if the parts make up the whole. Any other
    combination of different counts is ambiguous.
    """
    text = _LIST_NUMBER.sub(";", request) if not request.isascii() else request
    text = simplify_numerals(to_simplified(unicodedata.normalize("NFKC", text)))
    text = _TITLE.sub(lambda title: _DIGITS.sub("", title[0]), _EMPHASIS.sub(r"\2", text))
    mentions = list(_read_mentions(_EXACT.sub("exactly", text)))
    wholes = [mention for mention in mentions if mention.part is None]
    certain = [mention for mention in wholes if mention.may_be_whole]
    if certain and len(certain) < len(wholes):
        mentions = [mention for mention in mentions if mention.part is not None or mention.may_be_whole]
        wholes = certain
    if not wholes:
        return _add_parts(mentions, text)
    totals = {mention.stated for mention in wholes if mention.is_total}
    count = _agree(totals or {mention.stated for mention in wholes})
    if count is None or any(mention.stated.largest > count.largest for mention in mentions) or _VAGUE.search(text):
        return None
    return count


def _agree(counts: Iterable[StatedCount]) -> StatedCount | None:
    """Return the only count, or combine a lower and an upper bound."""
    match sorted(counts, key=lambda count: count.largest):
        case [count]:
            return count
        case [StatedCount(int(low), None), StatedCount(None, int(high))] if low < high:
            return StatedCount(low, high)
    return None


def _add_parts(mentions: Sequence[_Mention], text: str) -> StatedCount | None:
    """Add the counts of parts if they make up the whole and their bounds are on the same side."""
    parts = [mention.part for mention in mentions if mention.part is not None]
    if parts == [MAIN_PART] and mentions[0].may_be_whole:
        return mentions[0].stated
    if not is_whole(parts, text):
        return None
    lows, highs = ([getattr(mention.stated, side) for mention in mentions] for side in ("low", "high"))
    low, high = (None if None in ends else sum(ends) for ends in (lows, highs))
    is_mixed = (low is None and any(lows)) or (high is None and any(highs))
    total = StatedCount(low, high)
    return None if is_mixed or not FEWEST <= total.largest <= MOST else total


def _read_mentions(text: str) -> Iterator[_Mention]:
    """Yield the counts of a text and of its named parts in the order of their occurrence."""
    end = 0
    for number in _find_numbers(text):
        if number.start < end:
            continue
        before = _SENTENCE_END.split(text[max(end, number.start - _REACH) : number.start])[-1]
        after = _SENTENCE_END.split(text[number.end : number.end + 40])[0]
        listed = is_in_list(text[max(0, number.start - _REACH) : number.start])
        end = own.end() if (own := _OWN_BOUND.match(text, number.end)) else number.end
        is_total, near = split_at_total(before)
        if second := _SECOND_BOUND.match(text, number.end):
            count = _with_bound(_read_count(number, before, second["mark"] or ""), second)
        else:
            count = _read_count(number, before, after)
        if count is None or is_of_a_given_text(number.is_attribute, before, after):
            continue
        is_other = listed or is_of_something_else(number.is_attribute, near, after)
        part = None if is_total and "," not in near else find_part(near)
        if part is not None and not (part.scheme == "ordinal" and _WRITTEN_PART.search(near) and not is_other):
            yield _Mention(count, part=part, may_be_whole=not is_other)
        elif not is_other and count.largest >= FEWEST:
            is_topic = may_be_of_a_topic(number.is_attribute, before)
            yield _Mention(count, is_total=is_total or is_total_after(after), may_be_whole=not is_topic)


def _with_bound(count: StatedCount | None, second: re.Match[str]) -> StatedCount | None:
    """Combine a count with the bound that follows without a unit: "500 words, but more than 300", 3000字以上，不超5000."""
    bound = read_number(second["number"] or second["first"])
    if count is None or bound is None or bound < FEWEST:
        return count
    is_lower = second["lower"] or second["floor"]
    low, high = (bound, count.high) if is_lower else (count.low, bound)
    is_open = count.low is None if is_lower else count.high in (None, count.low)
    return StatedCount(low, high) if is_open and low and high and low < high else None


def _find_numbers(text: str) -> list[_Number]:
    """Return the numbers that count words, in order; of two that overlap, the more telling form first."""
    found: dict[int, _Number] = {}
    for match in _BARE_COUNT.finditer(text):
        if not (match["scale"] == "千" and _THOUSAND_CHARACTER_CLASSIC.match(text, match.end())):
            size = _BARE[match["scale"]]
            found[match.start()] = _Number(
                match.start(), match.end(), size, size, side="low" if match["before"] == "上" or match["more"] else None
            )
    for pattern in (_LABELLED_COUNT, _COUNT_OF_WORDS):
        for match in pattern.finditer(text):
            start = match.start("low" if match["low"] else "high")
            number = _read_match(match, text, start)
            if number.high or start not in found:
                found[number.start] = number
    for match in _CHAIN.finditer(text):
        ends = [read_span(match[group]) for group in (("a", "b") if match["a"] else ("c", "d"))]
        if ends[0] and ends[1] and ends[0] != ends[1]:
            low, high = sorted((ends[0][0], ends[1][1]))
            found[match.start()] = _Number(match.start(), match.end(), low, high, is_range=True)
    return [found[start] for start in sorted(found)]


def _read_match(match: re.Match[str], text: str, start: int) -> _Number:
    span = read_span(match["high"])
    if span is None or (match["same"] and read_span(match["same"]) != span):
        return _Number(start, match.end(), 0, 0)
    low, high = span
    number = _Number(
        start,
        match.end(),
        low,
        high,
        side="low" if match["more"] else "high" if match["fewer"] else None,
        is_attribute=match[0].lower().endswith("word"),
        is_range=low < high,
    )
    if match["error"]:
        return number._replace(**_within(high, match["error"], is_percent=match["percent"] is not None))
    if match["low"]:
        spaced = " " in match["low"]
        ends = read_span(match["low"])
        lowest = ends[0] if ends and ends[0] < ends[1] else read_low(match["low"], match["high"])
        is_bound = (match["upper"] or match["lower"]) and not _ALTERNATIVE.match(match["joint"])
        if is_bound and (not high / 20 < (lowest or 0) <= MOST or (match["upper"] and (lowest or 0) >= high)):
            # "chapter 2, no more than 800 words"
            return number._replace(start=match.start("high"))
        if not is_bound and _NUMBERED.search(text[max(0, start - 20) : start]):
            # "chapter 1 - 1,000 words"
            return number._replace(start=match.start("high"))
        number = number._replace(low=lowest or 0, joint=match["joint"], upper=match["upper"], lower=match["lower"])
    else:
        spaced = " " in match["high"] and match["high"][0].isdecimal()
    if spaced and _NUMBERED.search(text[max(0, start - 20) : start]):
        return number._replace(low=0, high=0)
    return number


def _within(count: int, error: str, *, is_percent: bool) -> dict[str, Any]:
    """Return both ends of 1000±100 and 1000±10%."""
    off = round(count * int(error) / 100) if is_percent else int(error)
    return {"low": count - off, "high": count + off, "is_range": True}


def _read_count(number: _Number, before: str, after: str) -> StatedCount | None:
    if not 0 < max(number.low, number.high) <= MOST or (number.joint is None and number.low > number.high):
        return None
    if number.joint is not None:
        return _read_range(number, before)
    if (error := _ERROR_AFTER.match(after)) and number.low == number.high:
        ends = _within(number.high, error[1], is_percent=error[2] is not None)
        return StatedCount(ends["low"], ends["high"])
    side = find_side(before, after) or number.side
    if side == "unclear":
        return None
    if side is None and not number.is_range and _is_year(number.high):
        return None
    return StatedCount(None if side == "high" else number.low, None if side == "low" else number.high)


def _is_year(number: int) -> bool:
    """Whether a number is more likely a year: "in 2020 words changed"."""
    return 1900 < number < 2100 and number % 50 != 0


def _read_range(number: _Number, before: str) -> StatedCount | None:
    """Parse both ends of "800-1,000 words"; 3-5千字 and "3-4k words" state the scale once."""
    low, high = number.low, number.high
    if number.upper is None and number.lower is None:
        if negations(_RANGE_OPENING.sub("", before)) or _OUTSIDE.search(before) or (_is_year(low) and _is_year(high)):
            return None
        joins_anything = (number.joint or "").strip().lower() in ("and", "与", "和")
        if joins_anything and not _RANGE_OPENING.search(before):
            return None
        return StatedCount(low, high) if high / 20 < low < high else None
    first, second = side_before(before), "high" if number.upper else "low"
    phrase = number.upper or number.lower or ""
    if _ALTERNATIVE.match(phrase) and _COMPARISON.search(phrase) and _DENIED.search(before):
        second = "low" if second == "high" else "high"  # "not less than 800 or more than 1,000"
    if second == "high" and first in (None, "low") and 0 < low < high:
        return StatedCount(low, high)
    if second == "low" and first == "high" and 0 < high < low <= MOST:
        return StatedCount(high, low)
    return None
