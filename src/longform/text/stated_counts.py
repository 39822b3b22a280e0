"""Find the number of words that a request states for its whole text, in English and Chinese.

Precision matters more than recall, because the result is used for validation. Ignored are counts of a part ("500 words
each", "每章500字"), of an existing text ("this 2,000-word essay") or of an addition, and counts that contradict each other.
The search matches fixed phrases around a number.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from longform.text.number_words import NUMBER, read_number, read_scale

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
    r"\s?个?(?:汉字|英文单词|单词|字(?![节符母段典号体诀方真经头句形线成令箴口眼幕里])|词(?![汇语组条根频典性库牌]))",
)
_NO_MORE = _any_of(
    "no more than", "not more than", "at most", "less than", "fewer than", "不超过", "不多于", "至多", "最多"
)
_JOINT = (
    r"\s{0,3}(?:words?|字|-(?=\s))?\s{0,3}"
    rf"(?:-(?![a-z])|[–—~至到或与和]|\b(?:to|or|and)\b|,?\s?(?:\b(?:and|but)\b|且)?\s?{_NO_MORE})\s{{0,3}}"
)
_COUNT = (
    r"(?<![\d.$€£¥百千万几])(?<![^字]数)(?<!\d,)"
    rf"(?:(?P<low>{NUMBER})(?P<joint>{_JOINT}))?(?P<high>{NUMBER})(?P<more>\+|多|余)?"
)
_COUNT_OF_WORDS = _compile(_COUNT + _WORDS)
_LABELLED_COUNT = _compile(
    r"(?:字数|\bword (?:count|limit|length)\b|\bnumber of words\b)[^\d\n.;。!?]{0,25}?"
    + _COUNT
    + r"(?=\s*(?:$|[\n,;。!?()]|\.(?!\d)|左右|上下|以上|以内|以下|之间|max|min))"
)
_RANGE_OPENING = _compile(r"(?:between|from|介于|在)\s*$")
_SENTENCE_END = re.compile(r"\.(?!\d)|[!?;。\n]")

# Phrases that make a count a bound. The order matters: "no less than" contains "less than".
_FILL = (
    r"(?:[\s:(~*约为是在到写用]|大约|大概|左右"
    r"|\b(?:of|to|a|an|the|in|be|is|at|total|length|about|around|approximately|approx\.?|roughly|some|word count)\b)*$"
)
"""Allowed text between a phrase and its number."""
_NOT_CHINESE = "不(?:得|能|可|可以|应|要)?"
_BOUNDS_BEFORE = {
    _compile(phrases + _FILL): side
    for phrases, side in (
        (_any_of(r"\b(?:no|not)(?: be)? (?:less|fewer|shorter) than", f"{_NOT_CHINESE}(?:少于|低于|小于|下)"), "low"),
        (_any_of(r"\b(?:no|not)(?: be)? (?:more|longer|greater) than", r"(?:\bnot |n't )(?:to )?exceed\w*"), "high"),
        (f"{_NOT_CHINESE}(?:超过|超出|多于|大于|高于)", "high"),
        (_any_of(r"\bat lea(?:st|se)", r"\bmin(?:imum|\.)?", r"\b(?:more|greater|longer) than"), "low"),
        (_any_of(r"\b(?:over|above|exceed\w*|upwards of)", "至少|最少|起码|超过|多于|大于|高于"), "low"),
        (_any_of(r"\b(?:at most|up to|under|below|within|max(?:imum|\.)?)", r"\b(?:less|fewer|shorter) than"), "high"),
        (_any_of(r"\blimit(?:\w*\b[^,]{0,30}\bto)?", "最多|至多|少于|低于|小于|上限"), "high"),
    )
}
_BOUNDS_AFTER = {
    _compile(r"\s*\(?(?:or more|(?:and|or) above|min(?:imum)?\b|at (?:the )?(?:least|minimum))"): "low",
    _compile("及?以上|往上|起"): "low",
    _compile(r"[\s-]*\(?(?:or (?:less|fewer|under)|max(?:imum)?\b|limit|at (?:the )?most|tops)"): "high",
    _compile(r"\s*(?:[以之]内|以下|内(?!容)|为限|封顶)"): "high",
}

# The subject of a count.
_TOTAL_BEFORE = _compile(
    r"\b(?:total\w*|overall|altogether|entire|whole)\b", "[全通]篇|全文|总字数|总共|合计|一?共计?|总计|整体|总长|总篇幅"
)
_TOTAL_AFTER = _compile(r"\s*\(?(?:in total|total|overall|altogether|in all)\b")
_SECTION = (
    r"(?:introduction|intro|conclusion|abstract|summary|(?:sub)?title|headline|slogan|caption|section|chapter|paragraph"
    r"|stanza|scene|part|opening|ending|comment|review|question|answer|bio)s?\b"
)
_SEVERAL = r"\b(?:two|three|four|five|six|seven|eight|nine|ten|several|multiple|many|some|few|\d{1,2})\s"
_PART_BEFORE = _compile(
    r"\b(?:each|every|per|apiece|respectively|worth)\b",
    r"\b(?:this|these|those|that|following|above|attached|first|last|next|opening|final|another|additional|extra|by)"
    + _FILL,
    r"\b(?:learn|memori[sz]e|(?:list|vocabulary) of|(?:of|in|from|on|for|to|into) (?:the|my|your|our|an?))" + _FILL,
    rf"\b{_SECTION}(?:\slengths?)?\s*(?:[:(-]|should|must|shall|needs?|has to|is|are|to be|will|can)[^,]{{0,30}}$",
    rf"\b{_SECTION}\s(?:about|approximately|around|roughly|at least|no (?:less|more) than)\s$",
    rf"\b(?:includ\w+|with|plus|and|contain\w*)\s(?:an?\s)?{_SECTION}\sof\s{_FILL}",
    rf"{_SEVERAL}(?:(?:[\w'-]+\s){{0,3}}[a-z]+s,?\s(?:of|at|in|with)\s(?:[a-z]+\s){{0,3}})?{_FILL}",
    r"\b(?:my|our|his|her|their|this|i|we|the (?:original|existing|current|attached))\b[^,]{0,30}"
    r"\b(?:is|was|has|have|had|wrote|contains?)\b[^,]{0,15}$",
    "每|分别|各[写自为约占]?" + _FILL,
    r"[两三四五六七八九十几多\d]\s?(?:篇|个|段|条|封|首|份|则|章|部分)[^,。]{0,6}$",
    "(?:标题|题目|摘要|开头|结尾|开篇|引言|前言|结论|导语|口号|标语|评[论语价]|中间|部分|章节|段落|其中|包括|包含|附)[^,。]{0,8}$",
    "(?:这[篇段个份]|该|此|上述|[上下]面|(?!^)以[上下]|那篇|原[文稿]|我的|写了|已有|现有)[^,。]{0,2}$",
    "(?:增加|添加|再写|补充|扩充|删减|减少|缩减|删掉|删去)" + _FILL,
)
_PART_AFTER = _compile(
    r"[^,]{0,25}?\b(?:each|every|per|apiece|respectively)\b|\s*/|\s*a (?:day|week|minute|page|chapter|piece)\b",
    r"\s*(?:that|which|beginning|starting|so far|already)\b",
    rf"\s*for (?:an? |the )?(?:[\w'-]+\s){{0,3}}{_SECTION}",
    r"[^,。]{0,3}每|[^,。]{0,3}\d+\s*[元块]",
    "的?[^,。的]{1,8}的(?:提纲|大纲|摘要|标题|题目|目录|思路|结构)",
)
# Requests to transform an existing text. The determiner must follow the verb: "turn it into 500 words" and "把它改到500字"
# state the length of the new text.
_CHANGE = _any_of(
    r"shorten\w*|condens\w+|compress\w*|abridg\w+|cut(?:ting)?|trim\w*|reduc\w+|summari[sz]\w+|boil\w*|distil\w*",
    r"expand\w*|extend\w*|lengthen\w*|enlarg\w+|elaborat\w+|flesh\w*|continu\w+|finish\w*",
    r"turn\w*|convert\w*|transform\w*|adapt\w*|rewrit\w+|rework\w*|reword\w*|rephras\w+|paraphras\w+|translat\w+",
    r"edit(?:ing)?|revis\w+|proof-?read\w*|polish\w*|improv\w+|correct(?:ing)?|fix(?:ing)?|format(?:ting)?|split\w*|break\w*",
    r"critiqu\w+|critici[sz]\w+|review(?:ing)?|evaluat\w+|assess\w*|grad(?:e|ing)|mark(?:ing)?|rat(?:e|ing)|judg(?:e|ing)",
    r"analy[sz]\w+|read(?:ing)?|check(?:ing)?|outlin(?:e|ing)|tak(?:e|ing)|given|(?:here|attached)(?:'s|\sis)|got",
)
_OWNER = r"(?:my|our|your|his|her|their|its|the|this|that)"
_GAP = (
    r"(?:(?!(?:in|into|to|as|at|by|with|about|around|under|over|below|within|for|from|on|of|and|or|then|but|so|an?|write"
    r"|compose|create|make)\b)[\w'’-]+\s){0,3}"
)
_ABOUT_CHINESE = r"\s?(?:大?约)?$"
_THE_CHINESE = _any_of("[我你他她]们?写?的?[一这那]?[篇份段部个]?", "[一这那该某原]?[篇份段部个]") + _ABOUT_CHINESE
_TRANSFORMED = _compile(
    rf"\b{_CHANGE}\s(?:(?:on|upon|up|down|out)\s)?(?:{_OWNER}|an?|one)\s{_GAP}$",
    rf"\b(?:make|making)\s{_OWNER}\s{_GAP}$",
    rf"(?:概括|总结|归纳|点评|评[价析]|分析|翻译|阅读)(?:一下)?{_THE_CHINESE}",
    r"(?:缩[写短减]|压缩|精简|浓缩|扩[写展充]|改[写编]|重写|润色|修[改订]|校[对正]|批改|编辑|优化|提炼|[把将对])(?:一下)?"
    rf"(?:{_ABOUT_CHINESE}|{_THE_CHINESE})",
    rf"[我你他她]们?(?:这里|手上)?有一?[篇份段部个]{_ABOUT_CHINESE}",
)
_TRANSFORMED_OF = _compile(rf"\b{_CHANGE}\s(?:{_OWNER}|an?)\s{_GAP}of\s{_FILL}")
_GIVEN_AFTER = _compile(
    r"\s(?:(?!(?:of|on|about|for|using|based|from|with|in|to|and)\b)[\w'-]+\s){1,3}"
    r"(?:(?:below|above|attached)\b(?!\s\w)|(?:i|we|he|she|they)(?:(?:'ve|\shave|\shas|\shad)\s|\s)"
    r"(?:just\s)?(?:gave|given|wrote|written|sent|pasted?|provided|attached|shared|submitted|made|drafted)\b)"
)
_LIMIT_AFTER = _compile(r"[\s-]*\(?(?:limit|max|min|count|length|target|budget|cap|requirement)")
_TEXT_AFTER = _compile(
    r"\s(?:essay|article|report|paper|text|story|draft|letter|speech|document|blog|post|chapter|thesis|statement)s?\b",
    "的",
)
_LIST_ITEM = re.compile(r"(?:^|\n)\s*(?:[-•*]|\(?\d{1,2}[.)、])[^\n]{2,}\([^()\n]*$")
_BESIDE = _compile(r"\b(?:includ\w+|with|plus|and|contain\w*)" + _FILL)
_SECTION_AFTER = _compile(r"\s*" + _SECTION)
_ABOUT_A_TEXT = _compile(
    r"\bhow (?:to|do|can|should|would|does|long|many)\b",
    r"\b(?:outline|plan|titles?|headline|summary|abstract|critique|feedback|introduction|opening|ideas?|topics?|tips|advice)"
    r"\s(?:for|of|to|on|about)\s(?:writing\s)?(?:an?|my|the|this|your)\s(?:[\w'-]+\s){0,3}$",
)


class StatedCount(NamedTuple):
    """The number of words that a request asks for: `low` equals `high` for "2,000 words"; None for an open side."""

    low: int | None
    high: int | None

    @property
    def largest(self) -> int:
        """The larger of the two numbers."""
        return max(self.low or 0, self.high or 0)


class _Mention(NamedTuple):
    """A count of a whole text in a request, and whether it is called a total."""

    stated: StatedCount
    is_total: bool


def find_stated_count(request: str) -> StatedCount | None:
    """Return the count that `request` states for its whole text; None if there is none or it is ambiguous.

    Of several counts, the one that is called a total is used, unless another is larger. "At least 800 words" and "at most
    1,000 words" are combined into a range. Any other combination of different counts is ambiguous.
    """
    mentions = list(_read_mentions(unicodedata.normalize("NFKC", request)))
    totals = {mention.stated for mention in mentions if mention.is_total}
    count = _agree(totals or {mention.stated for mention in mentions})
    if count is None or any(mention.stated.largest > count.largest for mention in mentions):
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


def _read_mentions(text: str) -> Iterator[_Mention]:
    """Yield the counts of a whole text in the order of their occurrence."""
    patterns = (_LABELLED_COUNT, _COUNT_OF_WORDS)
    matches = {match.start("high"): match for pattern in patterns for match in pattern.finditer(text)}
    end = 0
    for _, match in sorted(matches.items()):
        start = match.start("low" if match["low"] else "high")
        before = _SENTENCE_END.split(text[max(end, start - _REACH) : start])[-1]
        after = _SENTENCE_END.split(text[match.end() : match.end() + 40])[0]
        in_list = _LIST_ITEM.search(text[max(0, start - _REACH) : start])
        end = match.end()
        *totals, near = _TOTAL_BEFORE.split(before)
        count = _read_count(match, near, after)
        if count is None or in_list or _is_of_a_given_text(match, before, after):
            continue
        if not _is_of_something_else(match, near, after):
            yield _Mention(count, bool(totals or _TOTAL_AFTER.match(after)))


def _is_of_something_else(match: re.Match[str], before: str, after: str) -> bool:
    """Whether a count refers to a part, to another text, or to a text that is only mentioned."""
    if _PART_BEFORE.search(before) or _PART_AFTER.match(after):
        return True
    if _BESIDE.search(before) and _SECTION_AFTER.match(after):
        return True
    is_attribute = match[0].lower().endswith("word")
    return is_attribute and _ABOUT_A_TEXT.search(before) is not None


def _is_of_a_given_text(match: re.Match[str], before: str, after: str) -> bool:
    """Whether a count refers to a given text that is to be changed or reviewed: "shorten my 1,500-word essay"."""
    if _TRANSFORMED_OF.search(before):
        return True
    if _LIMIT_AFTER.match(after) or not (match[0].lower().endswith("word") or _TEXT_AFTER.match(after)):
        return False
    return bool(_TRANSFORMED.search(before) or _GIVEN_AFTER.match(after))


def _read_count(match: re.Match[str], before: str, after: str) -> StatedCount | None:
    high = read_number(match["high"])
    if high is None or not FEWEST <= high <= MOST:
        return None
    if match["low"]:
        return _read_range(match, before, high)
    sides = [side for phrases, side in _BOUNDS_BEFORE.items() if phrases.search(before)]
    sides += [side for phrases, side in _BOUNDS_AFTER.items() if phrases.match(after)]
    side = sides[0] if sides else "low" if match["more"] else "both"
    if side == "both" and 1900 < high < 2100 and high % 50:  # a year: "in 2020 words changed"
        return None
    return StatedCount(None if side == "high" else high, None if side == "low" else high)


def _read_range(match: re.Match[str], before: str, high: int) -> StatedCount | None:
    """Parse both ends of "800-1,000 words"; 3-5千字 and "3-4k words" state the scale once."""
    low, scale = read_number(match["low"]), read_scale(match["high"])
    if low is not None and match["low"].isdecimal() and low * scale < high:
        low *= scale
    if low is None or not high / 20 < low < high:
        return None
    joins_anything = match["joint"].strip().lower() in ("and", "与", "和")
    if joins_anything and not _RANGE_OPENING.search(before):
        return None
    return StatedCount(low, high)
