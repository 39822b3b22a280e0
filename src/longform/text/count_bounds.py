"""Which side of a stated count is open: "at least 800 words", "must not go over 800", 别超过800字, ≤ 800, 800字+.

A phrase that compares ("more than", 少于) is turned by a negation before it in its clause: "do not write more than" is an
upper bound. The turn is certain only if nothing but modal and writing verbs stand between the two; a negation further away
makes the bound `UNCLEAR`. Phrases that are bounds by themselves ("at least", 最多) are never turned.
"""

import re
from typing import Literal

OpenSide = Literal["low", "high", "unclear"]
"""`low`: the count is a minimum; `high`: a maximum; `unclear`: a bound whose side cannot be told."""


def _compile(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.I)


FILL = (
    r"(?:[\s:()\[\]~*\"'“”–—约为是在到至达写用有得大需要限且的了莫]|大约|大概|左右|等于|或等于|过|字数|篇幅|长度|差不多|也就|,\ssay\b,?"
    r"|\b(?:of|to|a|an|the|in|be|is|are|at|or|equal|total|length|about|around|approximately|approx\.?|roughly"
    r"|circa|ca\.?"
    r"|say|some|only|just|exactly|word count|word limit|word length|words?|number|limit|count|set|than)\b)*$"
)
"""Allowed text between a phrase and its number."""

_MORE = _compile(
    r"(?:\b(?:more|greater|longer|larger|higher|bigger) than|\b(?:over|above|beyond|past|surpass\w*|exceed\w*|exceding"
    r"|in excess of|upwards? of|north of|topping)\b|\bgo(?:es|ing)? over\b)" + FILL,
    r"(?:超过|超出|超越|越过|突破|多于|多过|大于|高于|长于|(?<!不)[超逾]|≮|(?<![-=<])(?:>=|=>|>|≥|≧|⩾))" + FILL,
)
_LESS = _compile(
    r"(?:\b(?:less|fewer|shorter|smaller|lower) than|\b(?:under|below|beneath|short of|sub)\b-?)" + FILL,
    r"(?:少于|少过|低于|小于|短于|不足|不到|不满|未满|未达|没到|不够|≯|<=|=<|<|≤|≦|⩽)" + FILL,
)
_LOW = _compile(
    r"\b(?:at (?:the )?(?:very )?(?:least|leas[et]|lease|minimum)|min(?:imum|imal|imun|\.)?|lower (?:limit|bound))"
    + FILL,
    r"\bat (?:an? |the )?(?:very |bare )?(?:minimum|least),\s" + FILL,
    "(?:至少|最少|少说也?|起码|最低|最短|下限|底线|不止|保底|不下于?|多达|[须需要应]达到?|(?:写|凑)?[够满])" + FILL,
    r"\b(?:no|not)(?: any)? (?:less|fewer|shorter|smaller|lower)(?: than)?" + FILL,
    r"不(?:少|低)(?![于过])" + FILL,
)
_HIGH = _compile(
    r"\b(?:at (?:the )?(?:very )?(?:most|maximum|max)|up[- ]?to(?: and including)?|within|max(?:imum|imal|imun|\.)?"
    r"|cap(?:ped)?(?:\s\w+){0,3} at|capped|cap|ceiling|upper (?:limit|bound)"
    r"|limit(?:\w*\b[^,]{0,30}\bto|ed|s)?|restrict\w*\b[^,]{0,30}\bto)" + FILL,
    "(?:最多|至多|顶多|最高|最长|上限|最大|极限|撑死|限[制定于]?)" + FILL,
    r"\b(?:no|not)(?: any)? (?:more|longer|greater|larger|higher)(?: than)?" + FILL,
    r"(?<!差)不(?:超|多|逾)(?![于过出])" + FILL,
)
_TAG = re.compile(r"<[a-z/][^<>\n]{0,30}>\s*$", re.I)
"""The end of <SEED> is no sign of comparison."""
_ARROW = re.compile(r"(?:->|>>)\s*$")

_CLAUSE_END = re.compile(r"[,;:、]|\b(?:and|but|so|then|while|although|because)\b|但是?|而且|并且|且|所以|然后")
_NEGATION = _compile(
    r"\b(?:not|no|never|without|avoid\w*|cannot|nor|neither|refrain\w*|prohibit\w*|forbid\w*|forbidden"
    r"|nothing|none|stop"
    r"|prevent\w*|instead of|rather than|nowhere|keep\w*\s(?:\w+\s){0,3}from|[a-z]{2,7}n['’]t|(?:do|ca|wo|should|must"
    r"|does|is|need|are|could|would)nt|hardly|nobody)\b",
    "(?<![从差特分区个级性鉴告派类辨识识])别(?![墅人的致具样处名称离])",
    "不得不|不是不",
    "(?<![差要而])不(?![仅但断同错管论光只单妨久过安知禁由幸朽])",
    "勿|(?<!约)莫(?![名非大])|甭|休想|毋|忌(?!日)|严禁|禁止|避免|防止|杜绝|拒绝|无(?=[须需法得])|没必要"
    "|没有必要|用不着",
)
_DOUBLE = ("不得不", "不是不")
_LINKS = "|".join(
    """
    be been being is are do does me us must should can could will would may go goes going come run running fall
    falls falling drop dropping dip dipping sink extend stretch stand stay turn end get getting take give have
    has having let letting make making use using used write writing writes written produce submit contain
    contains spend include read see accept expect permit allow permitted allowed supposed meant want wants
    like need think exceed exceeds ever any anything anywhere anyone even please way much far significantly
    slightly well too just only merely simply necessarily one single time the this that your my a an it you we
    i people text texts essays? article articles story stories paper piece answer answers response responses
    report speech letter post draft work entries submissions result output total length word words count limit
    all in of at to from by for with as if up out circumstances?
    """.split()  # noqa: SIM905
)
_BETWEEN_NEGATION_AND_PHRASE = _compile(
    rf"^(?:[\s\"'*(]|\b(?:{_LINKS}|under any circumstances|on any account|you['’](?:d|ll))\b)*$",
    r"^[\s\"“”得能可以应该当要许准宜用让使写成篇幅字数总全文整体章的长度会必须需定只仅有把它控制在出现轻易随便任意请再建议太明显大"
    r"量幅是非这本答案内容结果想敢愿意希望允一个之便就们被给做搞弄低少多超过到达至于高小]*$",
)
"""What may stand between a negation and the phrase that it turns: modal and writing verbs, and names of the text."""
_ALLOWED = _compile(
    r"\b(?:(?:may|might|can|could)(?! you\b)|feel free|free to|welcome|(?<=\bs )fine|fine (?:to|if|with)"
    r"|ok(?:ay)?|all right"
    r"|no problem|mind|allowed)\b",
    "可(?!能)(?!以?(?:请|帮|给|为))|允许|不介意",
)
"""What permits more or fewer words without asking for them: "you may exceed 800 words"."""
_ALLOWED_AFTER = _compile(
    r"\s*[,;(]?\s?(?:but|though|although|and)\s(?:please\s)?(?:feel free|you (?:can|may|could)|it(?:['’]s| is| can| may))"
    r"[^.;]{0,20}\b(?:over|exceed|longer|more|beyond|under|shorter|less)\b",
    r"[^,。;!?\d]{0,4}也(?:行|可|没|无|好|成|不要紧|不妨)",
)
_NOT_ASKED_AFTER = _compile(
    r"\s(?:is|are|was|were|seems?|would be|will be|sounds?|feels?)(?:n['’]t| not\b| (?:\w+ ){0,2}too\b)"
    r"|\s(?:(?:is|are|was|were)\s)?too (?:long|short|much|many|few|little)\b"
    r"|[^.;]{0,30}\bwhichever\b",
    "字?(?:的话)?(?:都|也|实在|显然|远远|还是)?(?:太[长短多少]|过[长短]|不够|不行|嫌)",
)
"""What says that a count is not the one to write: "800 words is not enough", 800字太短."""
_SHARED_BOUND = _compile(
    r"\b(?:at (?:least|most)|(?:no|not) (?:more|less|fewer) than|up to|max\w*|min\w*|(?:more|less|fewer) than)\s"
    r"(?:\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten)\s(?:[\w-]+\s){1,2}(?:and|or)\s$",
    "(?:至少|最多|至多|最少|不超过|不少于|不多于|不低于)[^,。;]{1,8}[和与及、]$",
)
"""A bound that may hold for two counts: "at least 3 sources and 1,500 words"."""
_UNSURE = _compile(r"\b(?:hesitate|afraid|mind|worry|fear|only|just|necessarily)\b", "一定|怕|介意|担心|犹豫|吝")
_LOW_AFTER = _compile(
    r"\s*\(?(?:[,;]?\s?(?:or|and|&|if not) (?:\w+ )?(?:more|above|longer|over|greater|up(?:wards?)?|higher|beyond)\b)",
    r"\s*[\s(-]*(?:min(?:imum)?\b|at (?:the )?(?:very )?(?:least|minimum)\b|plus\b(?!\s?(?:or\b|/))|upwards?\b)",
    r"\s?,\s?(?:min(?:imum)?|at (?:the )?(?:very )?least)\b(?!\W*\w)",
    r"\s*,?\s?(?:and )?(?:no|not|never) (?:less|fewer|shorter)\b(?! than (?!th))",
    r"\s*\(?(?:含|不含|包括)?[)本数]*\s*(?:及(?:其)?|或(?:者)?)?(?:以上|往上|起(?![因承源伏草名来点])|之上"
    r"|更多|打底|起步|开外|朝上|保底"
    r"|[为是](?:下限|底线)|(?:至少|最少|的?下限)(?=[,。;!?)]|$))",
    r"[,!]?\s?(?:只多不少|宁多[勿不]少)",
    r"\s?[+↑]",
    r"\s(?:is|as|being)\s(?:the|a|your|my|our)\s(?:\w+\s)?(?:min\w*|lower)",
    r"\s*\((?:min(?:imum)?|至少|最少|下限)\b",
)
_HIGH_AFTER = _compile(
    r"\s*\(?(?:[,;]?\s?(?:or|and|&|if not) (?:\w+ )?(?:less|fewer|under|below|shorter|lower|smaller)\b)",
    r"\s*[\s(-]*(?:max(?:imum)?\b|limit\b|cap\b|ceiling\b|at (?:the )?(?:very )?(?:most|max(?:imum)?)\b|tops\b)",
    r"\s?,\s?(?:max(?:imum)?|tops|at (?:the )?(?:very )?most)\b(?!\W*\w)",
    r"\s*,?\s?(?:and )?(?:no|not|never)(?: a (?:single )?word)? (?:more|longer)\b(?! than (?!th))",
    r"\s*\(?(?:含|不含|包括)?[)本数]*\s*(?:及(?:其)?|或(?:者)?)?(?:[以之]内|以下|之下|内(?![容心部涵在])|为限"
    r"|封顶|不[到足]|更少|打住|[为是]上限|为最|到顶|顶天|(?:至多|最多|顶多|的?上限)(?=[,。;!?)]|$))",
    r"[,!]?\s?(?:只少不多|宁少[勿不]多|(?:一个?字[都也]?)?不[能可许要准]再?多)",
    "字?[,(]?请?(?:[勿别]|不[可得能要许]?)(?:超出|超过|超|多写)(?![\\d一二三四五六七八九两])",
    r"\s(?:is|as|being)\s(?:the|a|your|my|our)\s(?:\w+\s)?(?:max\w*|limit|cap|ceiling|upper|most)",
    r"\s*\((?:max(?:imum)?|最多|至多|上限)\b",
)
_LOSS = (
    "(?:扣|不要(?=[,。;!?]|$)|不行|免谈"
    "|不给分|不得分|不计分|零分|不合格|无效|不予|退回|不及格|重写|不收|作废|判为|太[长短])"
)
_REJECTION = (
    r"(?:\w+\s){0,3}(?:(?:(?:will|is|are|would|may|can|shall)\s(?:not\b|be (?:rejected|penali[sz]ed|ignored|discarded"
    r"|marked down|disqualified|returned|refused)|lose\b|fail\b|(?:unacceptable|too (?:long|short)"
    r"|not (?:acceptable|allowed)))|won['’]t\b)|(?:gets?|earns?|receives?|scores?)\s(?:no|zero|nothing|0)\b)"
)
_PENALTY = _compile(r"\s*" + _REJECTION, rf"[^,。;\d]{{0,6}}?{_LOSS}")
_IF = _compile(r"\b(?:if|when|should it)\b", "如果|[若凡]|一旦|只要")
_PENALTY_OF_A_CONDITION = _compile(r",\s" + _REJECTION, rf",[^,。;\d]{{0,6}}?{_LOSS}")
_FIXED: dict[OpenSide, re.Pattern[str]] = {"low": _LOW, "high": _HIGH}
_COMPARISONS: dict[OpenSide, re.Pattern[str]] = {"low": _MORE, "high": _LESS}
_AFTER: dict[OpenSide, re.Pattern[str]] = {"low": _LOW_AFTER, "high": _HIGH_AFTER}
_FLIPPED: dict[OpenSide, OpenSide] = {"low": "high", "high": "low", "unclear": "unclear"}


def find_side(before: str, after: str) -> OpenSide | None:
    """Return the side that is stated around a number; None if the number is not a bound.

    Args:
        before: The sentence up to the number.
        after: The sentence after the number and its unit.
    """
    if _SHARED_BOUND.search(before) or _ALLOWED_AFTER.match(after):
        return "unclear"
    earlier, later = side_before(before), _side_after(before, after)
    if earlier is not None and later is not None and earlier != later:
        return "unclear"
    side = earlier or later
    is_penalised = _PENALTY.match(after) or (_IF.search(before) and _PENALTY_OF_A_CONDITION.match(after))
    if side in ("low", "high") and is_penalised:
        return _FLIPPED[side]
    if side is None and (negations(before) or _NOT_ASKED_AFTER.match(after)):
        return "unclear"
    return side


def side_before(before: str) -> OpenSide | None:
    """Return the side that the text before a number states."""
    before = _TAG.sub(" ", before)
    signs = _ARROW.sub(" ", before)
    for side, phrases in _FIXED.items():
        found = phrases.search(before)
        if found and not _holds_a_comparison(before[found.start() :]):
            return "unclear" if negations(before[: found.start()]) % 2 else side
    starts: dict[OpenSide, int] = {
        side: it.start() for side, phrases in _COMPARISONS.items() if (it := phrases.search(signs))
    }
    if not starts:
        return None
    nearest: OpenSide = min(starts, key=lambda side: starts[side])
    return _turn(nearest, signs[: starts[nearest]])


def _holds_a_comparison(phrase: str) -> bool:
    """Whether a bound is stated by a comparison nearer to its number: "the limit must not be over 800"."""
    if re.match(r"(?:no|not)\b|不", phrase, re.I):
        return False
    return any((found := phrases.search(phrase)) and found.start() > 0 for phrases in (_MORE, _LESS))


def _turn(side: OpenSide, rest: str) -> OpenSide:
    """Turn the side of a comparison by the negations in the clause before it."""
    clause = _clause(rest)
    found = list(_NEGATION.finditer(clause))
    if not found:
        return "unclear" if _ALLOWED.search(clause) else side
    if _UNSURE.search(clause, found[-1].end()) or not _BETWEEN_NEGATION_AND_PHRASE.match(clause[found[-1].end() :]):
        return "unclear"
    return _FLIPPED[side] if _count(found) % 2 else side


def negations(rest: str) -> int:
    """Count the negations in the last clause of a text if nothing but modal and writing verbs follows them."""
    clause = _clause(rest)
    found = list(_NEGATION.finditer(clause))
    if not found or not _BETWEEN_NEGATION_AND_PHRASE.match(clause[found[-1].end() :]):
        return 0
    return _count(found)


def _count(found: list[re.Match[str]]) -> int:
    return sum(2 if it[0] in _DOUBLE else 1 for it in found)


def _clause(text: str) -> str:
    """Return the last clause; "never, under any circumstances, exceed" is one clause."""
    pieces = _CLAUSE_END.split(text)
    for index in range(len(pieces) - 2, max(-1, len(pieces) - 4), -1):
        negation = list(_NEGATION.finditer(pieces[index]))
        if negation and not pieces[index][negation[-1].end() :].strip():
            return pieces[index] + " " + pieces[-1]
    return pieces[-1]


def _side_after(before: str, after: str) -> OpenSide | None:
    side: OpenSide | None = next((side for side, phrases in _AFTER.items() if phrases.match(after)), None)
    if side is not None and side_before(before) is None and negations(before) % 2:
        return _FLIPPED[side]
    return side
