"""Paragraphs and sentences of English and Chinese prose, in linear time.

Sentences are found by their end marks alone, which is fast and good enough to count and compare them; a short list of
abbreviations guards against the commonest false ends. A line break ends a sentence only where it ends a paragraph.
"""

import re

_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n\s*+")
_CLOSERS = "\"'”’)\\]）】」』》"
# A run of marks is matched whole and judged by what follows it, since a lookahead inside would rescan long runs.
_MARKS = re.compile(rf"[.!?…。！？][.!?…。！？{_CLOSERS}]*+")
_CHINESE_END = re.compile("[。！？]")
_NEW_START = re.compile(r"\s++[^a-z]")
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Mt|Gen|Col|Lt|Capt|Sgt|Rev|Hon|Gov|vs|cf|e\.g|i\.e|No|Vol|[A-HJ-Z])\Z"
)
_LONGEST_ABBREVIATION = 6


def paragraphs(text: str) -> list[str]:
    """Paragraphs, stripped, none empty: parted by blank lines or, in a text without blank lines, by line breaks."""
    text = text.replace("\r\n", "\n").strip()
    parts = _BLANK_LINE.split(text) if _BLANK_LINE.search(text) else text.split("\n")
    return [part.strip() for part in parts if part.strip()]


def sentences(text: str) -> list[str]:
    """Sentences, stripped, none empty; each within one paragraph, with its closing quotation marks."""
    return [sentence for group in sentences_by_paragraph(text) for sentence in group]


def sentences_by_paragraph(text: str) -> list[list[str]]:
    """The sentences of each of `paragraphs`."""
    return [_split(paragraph) for paragraph in paragraphs(text)]


def _split(paragraph: str) -> list[str]:
    found = []
    start = 0
    for marks in _MARKS.finditer(paragraph):
        if _ends_sentence(paragraph, start, marks):
            found.append(paragraph[start : marks.end()].strip())
            start = marks.end()
    found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def _ends_sentence(paragraph: str, start: int, marks: re.Match[str]) -> bool:
    """Chinese marks end a sentence at once; Western ones only before white space and anything but a small letter.

    So "3.14", "e.g. this" and '"Stop!" he said' hold together.
    """
    if _CHINESE_END.search(marks[0]):
        return True
    if not _NEW_START.match(paragraph, marks.end()):
        return False
    before = paragraph[max(start, marks.start() - _LONGEST_ABBREVIATION) : marks.start()]
    return marks[0] != "." or not _ABBREVIATION.search(before)
