"""What a count in a request is a count of: the whole text, a part of it, or another text that is given or mentioned.

The patterns are fixed phrases around the number. Precision matters more than recall: a count that may be of a part is one.
"""

import re

from longform.text.count_parts import is_for_each


def _any_of(*phrases: str) -> str:
    return f"(?:{'|'.join(phrases)})"


def _compile(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.I)


_FILL = (
    r"(?:[\s:(~*约为是在到写用]|大约|大概|左右"
    r"|\b(?:of|to|a|an|the|in|be|is|at|total|length|about|around|approximately|approx\.?|roughly|some|word count)\b)*$"
)
"""Allowed text between a phrase and its number."""
_TOTAL_BEFORE = _compile(
    r"\b(?:total\w*|overall|altogether|entire|whole)\b", "[全通]篇|全文|总字数|总共|合计|一?共计?|总计|整体|总长|总篇幅"
)
_TOTAL_AFTER = _compile(r"\s*\(?(?:in total|total|overall|altogether|in all)\b")
_SECTION = (
    r"(?:introduction|intro|conclusion|abstract|summary|(?:sub)?title|headline|slogan|caption|section|chapter|paragraph"
    r"|stanza|scene|part|opening|ending|comment|review|question|answer|bio"
    r"|method|methodology|result|discussion|finding|background|literature review)s?\b"
)
_SEVERAL = (
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|several|multiple|many|few|\d{1,2}|some(?!\s$)|dozen"
    r"|(?:pair|series|trilogy|collection|couple|handful|batch) of)\s"
)
_TEXTS = (
    r"(?:stories|essays|articles|posts|poems|letters|reviews|scenes|chapters|paragraphs|descriptions|emails|summaries"
    r"|answers|responses|speeches|blogs|tweets|entries|bios|profiles|reports|pieces|monologues|dialogues|sections"
    r"|parts|vignettes|episodes|fables|texts)"
)
_PART_BEFORE = _compile(
    rf"\bper\s(?:{_SECTION}|day|week|month|page|person|topic|item|entry|post|piece)[^,]{{0,20}}$|\b(?:apiece"
    rf"|respectively)\b",
    r"\b(?:worth|per|(?:here|there) are)" + _FILL,
    r"\b(?:pay|pays|paid|cents?|dollars?|euros?|charged?|costs?)\b[^,]{0,20}\bfor\s$",
    r"\bpicture (?:is|says|tells|paints|speaks)\b[^,]{0,20}$",
    r"\b(?:twice|thrice|double|triple|half|times)(?:\s(?:as (?:long|much|many) as|of|the|an?|those|these)\b){0,3}\s*$",
    r"\b(?:exclud\w+|not (?:counting|including)|without counting|besides|except(?: for)?|apart from|ignor\w+"
    r"|forget(?: about)?|disregard)\s(?:[\w'-]+\s){0,3}$",
    r"\b(?:after|before|every|until|till)\s(?:the\s|about\s)?$",
    r"\b(?:before|until|till|once|when)\s(?:\w+\s){1,3}?(?:reach\w*|hits?|get to|pass\w*)\s$",
    r"\b(?:add|adding|insert|remov\w+|delet\w+|trim\w*|cut(?:ting)?|shav\w+)\s(?:(?:off|out|away)\s)?"
    r"(?:at (?:least|most)|no (?:more|less|fewer) than|up to|about|around|some)?\s?$",
    rf"\b(?:write|create|compose|draft|generate|produce)\s(?:[\w'-]+\s){{0,3}}{_TEXTS}\s?(?:of\s|at\s|with\s|\()"
    rf"{_FILL}",
    r"\b(?:paragraphs|sentences|sections|chapters|scenes|stanzas)\s(?:of|with|under|over|at|below)\b[^,]{0,20}$",
    rf"\bboth\s(?:[\w'-]+\s){{0,2}}{_TEXTS}\s(?:should|must|need|have|are|to)\b[^,]{{0,20}}$",
    r"\d{2,5}\s?[,、]\s?\d{2,5}\s?(?:[,、]\s?)?(?:(?:and|&)\s|和)?$",
    r"(?:/|\d\s?[x×*])\s*$|^\s?(?:per|each|every)\b",
    r"\b(?:this|these|those|that|following|the above|attached|first|last|next|opening|final|another|additional|extra|by)"
    + _FILL,
    r"\b(?:learn|memori[sz]e"
    r"|(?:list|vocabulary|dictionary|glossary|lexicon) of|(?:of|in|from|on|for|to|into) (?:the|my|your|our|an?))"
    + _FILL,
    rf"(?<!\byour )\b{_SECTION}(?:\slengths?)?\s*(?:[:(-]|should|must|shall|needs?|has to|is|are|to be|will"
    rf"|can)[^,]{{0,30}}$",
    rf"\b{_SECTION}\s(?:about|approximately|around|roughly|at least|no (?:less|more) than)\s$",
    rf"\b(?:includ\w+|with|plus|and|contain\w*)\s(?:an?\s)?{_SECTION}\sof\s{_FILL}",
    rf"{_SEVERAL}(?:(?:[\w'-]+\s){{0,3}}[a-z]+s,?\s(?:of|at|in|with)\s(?:[a-z]+\s){{0,3}})?{_FILL}",
    r"\b(?:my|our|his|her|their|this|i|we|the (?:original|existing|current|attached))\b"
    r"(?!(?:\s[\w'-]+){0,3}\s(?:limit|target|goal|budget|want|need)\b)"
    r"[^,]{0,30}\b(?:is|was|has|have|had|wrote|contains?)\b[^,]{0,15}$",
    r"\b(?:current|existing|the (?:original|present))\s"
    r"(?:(?:word count|length|size|count|draft|version|text|total)\s(?:of|is|at)\s)?" + _FILL,
    r"\b(?:at present|currently|right now)\b[^,]{0,25}$",
    "(?:分别|各[写自为约占]?)" + _FILL,
    r"(?:[两三四五六七八九十几多2-9]|\d\d)\s?(?:篇|个|段|条|封|首|份|则|章|部分)[^,。]{0,6}$",
    "(?:一组|系列|单[章集篇节]|[章集篇节]均)[^,。]{0,6}$|(?<!写)(?<!创作)一[章节集回]\\s?$",
    "(?<![之以读学观今往])[前后]\\s?$|(?<![相对好])比\\s?$|稿[酬费][^,。]{0,4}$",
    "(?:取消|没有|不设|不受|忽略|无视|识字量?|词汇量|掌握|认识|常用)\\s?(?:大?约)?\\s?$",
    "(?:标题|题目|摘要|开头|结尾|开篇|引言|前言|结论|导语|口号|标语|评[论语价]|中间|部分|章节|段落|其中|包括"
    "|包含|附)[^,。]{0,8}$",
    "(?:这[篇段个份]|该|(?<!以)此|上述|[上下]面|(?!^)以[上下]|那篇|原[文稿]|我的|写了|已有|现有)[^,。]{0,2}$",
    r"\(?含[^,。]{0,2}$",
    "(?:增加|添加|再写|补充|扩充|删减|减少|缩减|删掉|删去|(?<![最至顶])[多少]写)(?!到|至|为)" + _FILL,
)
_PART_AFTER = _compile(
    r"(?:\s(?:long|in length|max|min|minimum|maximum|or so|or (?:less|more|fewer)|of \w+|dedicated))?\s*[(,]?\s?"
    r"(?:(?:for|in|on|to|about|under|of|as|with)\s)?(?:each|every|per|apiece|respectively)\b",
    r"\s(?:more|longer|shorter|fewer|less|extra)\b(?! or less| than)",
    r"\s(?:to (?:know|learn|avoid|use|memori[sz]e|remember)|of (?:wisdom|advice|which|it|them|dialogue|description"
    r"|quot\w+|code|verse))\b",
    r"\s*/(?!\s?\d{1,2}\s?p)|\s*a (?:day|week|minute|page|chapter|piece)\b|\s?[x×*]\s?\d",
    r"\s*(?:that|which|beginning|starting|so far|already)\b",
    rf"\s*for (?:an? |the )?(?:[\w'-]+\s){{0,3}}{_SECTION}",
    r"的?[^,。\d]{0,6}(?:[两二三四五六七八九十]|\d{1,2})[篇个则条封首份](?=[,。;!?\s]|$)",
    r"\s?(?:以[上内下]|左右)?一[篇章节集回](?=[,。;!?\s]|$)",
    "的?(?:一半|[两二三四五六七八九十几\\d]倍|三分之)",
    r"[^,。]{0,3}每|[^,。]{0,3}[\d一二三四五六七八九十百]+\s*[元块]|的?稿[费酬]",
    "的?[^,。的]{0,4}(?:词汇|单词表|描写.{0,4}部分)",
    "的?[^,。的]{1,8}的(?:提纲|大纲(?!式)|摘要|标题|题目|目录|思路|结构)",
)
# Requests to transform an existing text. The determiner must follow the verb: "turn it into 500 words" and "把它改到500字"
# state the length of the new text.
_CHANGE = _any_of(
    r"shorten\w*|condens\w+|compress\w*|abridg\w+|cut(?:ting)?|trim\w*|reduc\w+|summari[sz]\w+|boil\w*|distil\w*",
    r"expand\w*|extend\w*|lengthen\w*|enlarg\w+|elaborat\w+|flesh\w*|continu\w+|finish\w*",
    r"turn\w*|convert\w*|transform\w*|adapt\w*|rewrit\w+|rework\w*|reword\w*|rephras\w+|paraphras\w+|translat\w+",
    r"edit(?:ing)?|revis\w+|proof-?read\w*|polish\w*|improv\w+|correct(?:ing)?|fix(?:ing)?|format(?:ting)?"
    r"|split\w*|break\w*",
    r"critiqu\w+|critici[sz]\w+|review(?:ing)?|evaluat\w+|assess\w*|grad(?:e|ing)|mark(?:ing)?|rat(?:e|ing)"
    r"|judg(?:e|ing)",
    r"analy[sz]\w+|read(?:ing)?|check(?:ing)?|outlin(?:e|ing)|tak(?:e|ing)|given|(?:here|attached)(?:'s|\sis)|got",
)
_OWNER = r"(?:my|our|your|his|her|their|its|the|this|that)"
_GAP = (
    r"(?:(?!(?:in|into|to|as|at|by|with|about|around|under|over|below|within|for|from|on|of|and|or|then|but"
    r"|so|an?|write"
    r"|compose|create|make)\b)[\w'’-]+\s){0,3}"
)
_ABOUT_CHINESE = r"\s?(?:大?约)?$"
_THE_CHINESE = _any_of("[我你他她]们?写?的?[一这那]?[篇份段部个]?", "[一这那该某原]?[篇份段部个]") + _ABOUT_CHINESE
_TRANSFORMED = _compile(
    rf"\b{_CHANGE}\s(?:(?:on|upon|up|down|out)\s)?(?:{_OWNER}|an?|one)\s{_GAP}$",
    rf"\b(?:make|making)\s{_OWNER}\s{_GAP}$",
    rf"(?:概括|总结|归纳|点评|评[价析]|分析|翻译|阅读)(?:一下)?{_THE_CHINESE}",
    r"(?:缩[写短减]|压缩|精简|浓缩|扩[写展充]|改[写编]|重写|润色|修[改订]|校[对正]|批改|编辑|优化|提炼"
    r"|[把将对])(?:一下)?"
    rf"(?:{_ABOUT_CHINESE}|{_THE_CHINESE})",
    rf"[我你他她]们?(?:这里|手上)?有一?[篇份段部个]{_ABOUT_CHINESE}",
)
_TRANSFORMED_OF = _compile(
    rf"\b{_CHANGE}\s(?:{_OWNER}|an?)\s{_GAP}of\s{_FILL}",
    rf"\b(?:here|attached|below)(?:'s|\sis)\s(?:{_OWNER}|an?)\s{_GAP}\({_FILL}",
)
_CHANGED_FROM = (
    re.compile(r"[从由]\s?(?:原来的|现在的)?$"),
    re.compile(r"[左右上下]{0,2}(?:[缩扩增减压改变降提删]|精简)[^,。]{0,3}[到至成为]"),
)
"""从1000字缩减到500字: the first count is that of the given text."""
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
_TEXTS_AFTER = re.compile(rf"\s{_GAP}{_TEXTS}\b", re.I)
_TOPIC_BEFORE = re.compile(r"\b(?:about|on|of|for|to|from|in response to)\s(?:an?|the)\s(?:[\w'-]+\s){0,2}$", re.I)
_ABOUT_A_TEXT = _compile(
    r"\bhow (?:to|do|can|should|would|does|long|many)\b",
    r"\b(?:outline|plan|titles?|headline|summary|abstract|critique|feedback|introduction|opening|ideas?"
    r"|topics?|tips|advice)"
    r"\s(?:for|of|to|on|about)\s(?:writing\s)?(?:an?|my|the|this|your)\s(?:[\w'-]+\s){0,3}$",
)


def is_of_something_else(is_attribute: bool, before: str, after: str) -> bool:
    """Whether a count refers to a part, to another text, or to a text that is only mentioned."""
    if _PART_BEFORE.search(before) or _PART_AFTER.match(after) or is_for_each(before):
        return True
    if _BESIDE.search(before) and _SECTION_AFTER.match(after):
        return True
    return is_attribute and bool(_ABOUT_A_TEXT.search(before) or _TEXTS_AFTER.match(after))


def may_be_of_a_topic(is_attribute: bool, before: str) -> bool:
    """Whether a count may be that of the text that is written about: "an essay about a 1,000-word novel"."""
    return is_attribute and _TOPIC_BEFORE.search(before) is not None


def is_of_a_given_text(is_attribute: bool, before: str, after: str) -> bool:
    """Whether a count refers to a given text that is to be changed or reviewed: "shorten my 1,500-word essay"."""
    if _TRANSFORMED_OF.search(before) or (_CHANGED_FROM[0].search(before) and _CHANGED_FROM[1].match(after)):
        return True
    if _LIMIT_AFTER.match(after) or not (is_attribute or _TEXT_AFTER.match(after)):
        return False
    return bool(_TRANSFORMED.search(before) or _GIVEN_AFTER.match(after))


def split_at_total(before: str) -> tuple[bool, str]:
    """Return whether the text before a count calls it a total, and the text after those words."""
    *totals, near = _TOTAL_BEFORE.split(before)
    return bool(totals), near


def is_total_after(after: str) -> bool:
    """Whether the text after a count calls it a total."""
    return _TOTAL_AFTER.match(after) is not None


def is_in_list(before: str) -> bool:
    """Whether a count is in brackets of a list item, which is a part: "- Main review (200 words)"."""
    return _LIST_ITEM.search(before) is not None
