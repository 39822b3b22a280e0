"""The final answer that a response states, for tasks whose answer can be verified. Pure, linear time, nothing guessed.

An answer is stated in `\\boxed{...}`, or on a line after "answer:", "the answer is" or its Chinese forms, or in a
paragraph of one line below them. The last one that is well-formed for its form counts, wherever it is; a response without
one has none. An answer that lists several choices or numbers is not well-formed.
"""

import re
import unicodedata
from fractions import Fraction
from typing import Literal

AnswerForm = Literal["exact", "choice", "number"]
"""exact: a text; choice: one letter; number: one number."""
MAX_ANSWER = 200
"""Maximum length of an answer in characters; a longer one is not an answer but a text."""
_BOXED = re.compile(r"\\boxed\{((?:[^{}\n]|\{[^{}\n]{0,200}\}){1,200})\}")
_STATED = re.compile(
    r"(?:\banswer(?:[*_]{1,3})?(?:[^\S\n]+is\b(?:[^\S\n]*[:：])?|[^\S\n]*[:：=])|答案[^\S\n]?(?:是|为|选|[:：]))"
    r"(?=(?:[*_\s]{0,8}\n(?=[^\n]{1,400}(?:\n[^\S\n]{0,8}\n|\n?\Z)))?([^\n]{1,400}))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;](?=\s)|[。！？；]|(?:[,，]\s?|\s)(?=(?:because|since)\b|因为|由于)", re.IGNORECASE)
_OPTION = re.compile(r"(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])(?:[).:])?)", re.IGNORECASE)
_OPTION_WITH_TEXT = re.compile(r"(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])[).:])\s+(\S.*)", re.IGNORECASE)
_NAMED_OPTION = re.compile(r"(?:option|choice)\s|选项\s?", re.IGNORECASE)
_OTHER_OPTION = re.compile(r"[(\[]?\b[A-Z][)\].:](?:\s|$)|^(?:or|and)\b|(?:^|\s)[A-Z]$", re.IGNORECASE)
_NEXT_OPTION = re.compile(r"\s*[(\[]?[A-Z](?:[)\].:]|\s*$|\s*(?:,|/|or\b|and\b))|\s*(?:or|and)\b", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\s*(?:or|and)\b", re.IGNORECASE)
_NUMBER = re.compile(
    r"[$€£¥]?\s?([+-]?)[$€£¥]?((?:\d{1,3}(?:,\d{3}){1,12}|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40})(?:[eE]([+-]?\d{1,3}))?"
    r"(?:\s?/\s?(\d{1,40}))?\s?[%°€£¥$]?(?:\s?(?:(?:square|cubic)\s)?(?!(?:or|and|to|is|are|was|not|but)\b)[A-Za-z]{1,20}(?:(?:/|\sper\s)[A-Za-z]{1,20})?"
    r"|\s?(?:个(?:月|小时)?|位|名|人|只|头|条|本|张|件|次|种|岁|天|日|周|月|年|小时|分钟|分|秒|元|美元|块|角|(?:平方|立方)?(?:米|厘米|千米|公里)|毫米"
    r"|克|千克|公斤|斤|吨|升|毫升|度|摄氏度|页|字|行|倍|票|号|辆|棵|台|套|瓶|箱|杯))?",
    re.ASCII,
)
_VARIABLE = re.compile(r"[A-Za-z]\s?=\s?(?=[-+.\d])")
_MATHS_MARKS = re.compile(r"\\[()]")
_SUPERSCRIPT = re.compile(r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}")
"""NFKC would make 103 of 10³."""
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")
_IN_LATEX = (
    (re.compile("\u2212"), "-"),
    (re.compile(r"(?<![\d.])\\[dt]?frac\{([+-]?[\d.]{1,40})\}\{([\d.]{1,40})\}"), r"\1/\2"),
    (re.compile(r"(?<![\d.])\\[dt]?frac(\d)(\d)(?!\d)"), r"\1/\2"),
    (re.compile(r"(?<=\d)\{,\}(?=\d{3})"), ","),
    (re.compile(r"(?<=\d)\\[,!](?=\d{3})"), ""),
    (re.compile(r"\^\{?\\circ\}?"), "°"),
    (re.compile(r"(?<=\d)\s?(?:\\times|\\cdot|×)\s?10\^\{?([+-]?\d{1,3})\}?"), r"e\1"),
    (re.compile(r"(?<=\d)(?:\\[,;: ]|~)(?=[A-Za-z])"), " "),
    (re.compile(r"\\([%$])"), r"\1"),
)
"""Numbers as LaTeX writes them: \\frac{1}{2}, 1{,}234, 50\\%, 90^\\circ, 2\\times 10^3, 5\\,km, and the sign of minus."""
_EDGE = " \t*_`\"'“”‘’$。.,，;；"


def final_answer(text: str, form: AnswerForm) -> str | None:
    """Return the last well-formed answer that `text` states, normalised; None if there is none.

    Answers are equal if their normalised forms are: a lower-case text with single spaces, a capital letter, or a number as a
    fraction such as `1/2`.
    """
    text = _compatible(text)
    stated = [(found.start(), found[1]) for pattern in (_BOXED, _STATED) for found in pattern.finditer(text)]
    for _, answer in sorted(stated, reverse=True):
        if (value := normalise_answer(answer, form)) is not None:
            return value
    return None


def normalise_answer(answer: str, form: AnswerForm) -> str | None:
    """Return the normalised form of an answer by itself; None if it is not well-formed."""
    answer = _MATHS_MARKS.sub("", _WRAPPED.sub(r"\1", _compatible(answer).strip()))
    if form == "exact":
        found = " ".join(answer.strip(_EDGE).casefold().split())
        return found if 0 < len(found) <= MAX_ANSWER else None
    read = _read_choice if form == "choice" else _read_number
    if form == "number":
        for pattern, plain in _IN_LATEX:
            answer = pattern.sub(plain, answer)
    # The rest of the line, or only its first sentence: "The answer is B. It names the river."
    first, *rest = _SENTENCE_END.split(answer, maxsplit=1)
    if rest and (_NEXT_OPTION if form == "choice" else _ALTERNATIVE).match(rest[0]):
        return None
    return read(_trimmed(answer)) or read(_trimmed(first))


def _compatible(text: str) -> str:
    """The text in NFKC, with powers as `^`."""
    return unicodedata.normalize("NFKC", _SUPERSCRIPT.sub(r"^\g<0>", text))


def _trimmed(answer: str) -> str:
    """Leave out marks around an answer; a point before a number is part of it."""
    return answer.lstrip(_EDGE.replace(".", "") + ":=").rstrip(_EDGE)


def _read_choice(answer: str) -> str | None:
    answer = _NAMED_OPTION.sub("", answer, count=1) if _NAMED_OPTION.match(answer) else answer
    if found := _OPTION.fullmatch(answer):
        return next(it for it in found.groups() if it).upper()
    found = _OPTION_WITH_TEXT.fullmatch(answer)
    if found is None or _OTHER_OPTION.search(found[4]):
        return None
    return next(it for it in found.groups()[:3] if it).upper()


def _read_number(answer: str) -> str | None:
    found = _NUMBER.fullmatch(_VARIABLE.sub("", answer, count=1) if _VARIABLE.match(answer) else answer)
    if found is None:
        return None
    sign, digits, exponent, divisor = found.groups()
    if divisor is not None and not int(divisor):
        return None
    value = Fraction(digits.replace(",", "")) * Fraction(10) ** int(exponent or 0) / int(divisor or 1)
    return str(-value if sign == "-" else value)
