"""Paragraphs and sentences of English and Chinese prose, in linear time.

Sentences are split at end marks only, which is fast and accurate enough for counting and comparing; a short list of
abbreviations prevents the most common false splits. A line break ends a sentence only if it ends a paragraph.
"""

import re

_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n\s*+")
_CLOSERS = "\"'”’)\\]）】」』》"
# A run of marks is matched as a whole and checked by what follows it; a lookahead inside would rescan long runs.
_MARKS = re.compile(rf"[.!?…。！？][.!?…。！？{_CLOSERS}]*+")
_CHINESE_END = re.compile("[。！？]")
_NEW_START = re.compile(r"\s++[^a-z]")
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Mt|Gen|Col|Lt|Capt|Sgt|Rev|Hon|Gov|vs|cf|e\.g|i\.e|No|Vol|[A-HJ-Z])\Z"
)
_LONGEST_ABBREVIATION = 6


def paragraphs(text: str) -> list[str]:
    """Split a text into stripped, non-empty paragraphs at blank lines or, if there are none, at line breaks."""
    text = text.replace("\r\n", "\n").strip()
    parts = _BLANK_LINE.split(text) if _BLANK_LINE.search(text) else text.split("\n")
    return [part.strip() for part in parts if part.strip()]


def sentences(text: str) -> list[str]:
    """Split a text into stripped, non-empty sentences with their closing quotation marks; none crosses a paragraph."""
    return [sentence for group in sentences_by_paragraph(text) for sentence in group]


def sentences_by_paragraph(text: str) -> list[list[str]]:
    """Return the sentences of each paragraph."""
    return [_split(paragraph) for paragraph in paragraphs(text)]


def _split(paragraph: str) -> list[str]:
    parts = []
    start = 0
    for marks in _MARKS.finditer(paragraph):
        if _ends_sentence(paragraph, start, marks):
            parts.append(paragraph[start : marks.end()].strip())
            start = marks.end()
    parts.append(paragraph[start:].strip())
    return [sentence for sentence in parts if sentence]


def _ends_sentence(paragraph: str, start: int, marks: re.Match[str]) -> bool:
    """Whether marks end a sentence: Chinese ones always, Western ones only before white space and no lower-case letter.

    "3.14", "e.g. this" and '"Stop!" he said' are therefore not split.
    """
    if _CHINESE_END.search(marks[0]):
        return True
    if not _NEW_START.match(paragraph, marks.end()):
        return False
    before = paragraph[max(start, marks.start() - _LONGEST_ABBREVIATION) : marks.start()]
    return marks[0] != "." or not _ABBREVIATION.search(before)
