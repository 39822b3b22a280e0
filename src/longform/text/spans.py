"""Where in a text the measures of `text.repetition` find something, and where two texts differ; for pages that mark it.

All places are in characters of the text as given, end exclusive, in order and without overlap.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from rapidfuzz.distance import Indel

from longform.text.repetition import copied_units, near_copies, repeated_ngram_units, stuffed_units, units
from longform.text.words import sentences

MIN_EQUAL = 3
"""Shortest passage in words that counts as common to two texts; shorter ones between differences are chance."""
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]")
_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


class Span(NamedTuple):
    """A passage of a text."""

    start: int
    end: int


class Differences(NamedTuple):
    """The passages in which two texts differ."""

    one: list[Span]
    """Of the first text."""
    other: list[Span]
    common: float
    """Share of the words of both texts that lie in common passages, 0 to 1."""


def unit_spans(text: str) -> list[Span]:
    """The place of each unit of `text.repetition.units`, in the same order."""
    if len(text.lower()) == len(text):  # true of nearly all texts, and several times faster
        return [Span(*it.span()) for it in _UNIT.finditer(text.lower())]
    lower = [sign.lower() for sign in text]
    places = list(chain.from_iterable([index] * len(sign) for index, sign in enumerate(lower)))
    return [Span(places[it.start()], places[it.end() - 1] + 1) for it in _UNIT.finditer("".join(lower))]


def copied_spans(answer: str, source: str) -> list[Span]:
    """Passages of `answer` that `source` has word for word (`copied_share`)."""
    flags = copied_units(units(answer), units(source)).tolist()
    return _joined(flags, unit_spans(answer))


def stuffed_spans(text: str) -> list[Span]:
    """Words used beyond natural use (`stuffed_share`)."""
    places = unit_spans(text)
    return [places[index] for index in sorted(stuffed_units(units(text)))]


def repeated_sentence_spans(text: str) -> list[Span]:
    """Sentences that are near copies of an earlier one (`repeated_sentence_share`)."""
    found = sentences(text)
    copies = near_copies(found)
    return [span for index, span in enumerate(_places(text, found)) if index in copies]


def repeated_ngram_spans(text: str) -> list[Span]:
    """Passages that repeat an earlier sequence of four words (`repeated_ngram_share`)."""
    return flagged_spans(text, repeated_ngram_units(units(text)))


def flagged_spans(text: str, flags: Iterable[bool]) -> list[Span]:
    """The passages of the units that have a flag.

    Args:
        text: The text.
        flags: For each unit of `text.repetition.units`.
    """
    return _joined(flags, unit_spans(text))


def differences(one: str, other: str) -> Differences:
    """The passages in which two texts differ, by words and punctuation (longest common subsequence)."""
    ones, others = list(_TOKEN.finditer(one)), list(_TOKEN.finditer(other))
    if not ones or not others:
        return Differences(_whole(one), _whole(other), 0.0)
    is_common = [False] * len(ones), [False] * len(others)
    for code in Indel.opcodes([it[0] for it in ones], [it[0] for it in others]):
        if code.tag == "equal" and (code.src_end - code.src_start >= MIN_EQUAL or one == other):
            is_common[0][code.src_start : code.src_end] = [True] * (code.src_end - code.src_start)
            is_common[1][code.dest_start : code.dest_end] = [True] * (code.dest_end - code.dest_start)
    differing = [
        _joined([not it for it in flags], [Span(*it.span()) for it in tokens])
        for flags, tokens in zip(is_common, (ones, others), strict=True)
    ]
    return Differences(*differing, common=sum(map(sum, is_common)) / (len(ones) + len(others)))


def _joined(flags: Iterable[bool], places: Sequence[Span]) -> list[Span]:
    """The places with a flag; neighbours become one."""
    found: list[Span] = []
    last = False
    for flag, place in zip(flags, places, strict=True):
        if flag and last:
            found[-1] = Span(found[-1].start, place.end)
        elif flag:
            found.append(place)
        last = flag
    return found


def _places(text: str, parts: Iterable[str]) -> Iterator[Span]:
    """The places of parts that follow one another in a text; line breaks may be written differently."""
    end = 0
    for part in parts:
        start = text.find(part, end)
        if start < 0:
            pattern = r"\r?\n".join(map(re.escape, part.split("\n")))
            found = re.compile(pattern).search(text, end)
            if found is None:
                yield Span(end, end)
                continue
            start, end = found.span()
        else:
            end = start + len(part)
        yield Span(start, end)


def _whole(text: str) -> list[Span]:
    return [Span(0, len(text))] if text.strip() else []
