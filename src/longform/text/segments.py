"""Paragraphs and sentences of English and Chinese prose, in linear time.

Sentences are found by their end marks alone, which is fast and good enough to count and compare them; a short list of
abbreviations guards against the commonest false ends. A line break ends a sentence only where it ends a paragraph.
"""

import re

_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n\s*+")
_CLOSERS = "\"'”’)\\]）】」』》"
# Chinese marks end a sentence at once; Western ones only before white space and anything but a small letter, so that
# "3.14", "e.g. this" and '"Stop!" he said' hold together.
_SENTENCE_END = re.compile(rf"[。！？][。！？…{_CLOSERS}]*+|[.!?…][.!?…{_CLOSERS}]*+(?=\s++[^a-z])")
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
    return [sentence for paragraph in paragraphs(text) for sentence in _split(paragraph)]


def _split(paragraph: str) -> list[str]:
    found = []
    start = 0
    for mark in _SENTENCE_END.finditer(paragraph):
        before = paragraph[max(start, mark.start() - _LONGEST_ABBREVIATION) : mark.start()]
        if mark[0] == "." and _ABBREVIATION.search(before):
            continue
        found.append(paragraph[start : mark.end()].strip())
        start = mark.end()
    found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]
