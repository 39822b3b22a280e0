"""The judge of the demonstration: a formula, whose answers have the form of a language model's.

    grade = 1 + 9 * (0.5 requirements + 0.35 length + 0.15 finished sentences) * freshness * own words

Each factor is between 0 and 1. Because of the product, nothing else makes up for repetition or for copying from the request.
Of two texts the one with the higher grade wins; grades that differ by less than `TIE_BAND` are a tie.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from longform.demo.prompts import Requirement, has_word, length_range_of, load_prompts, requirements_of
from longform.judging.answers import MAX_SCORE, MIN_SCORE, defuse, read_fences
from longform.records.schemas import Prompt, PromptRow
from longform.text.repetition import copied_share, repeated_ngram_share, units
from longform.text.words import count_words, paragraphs, sentences

JUDGE = "demo-judge"
TIE_BAND = 0.25
"""Grades that differ by less are a tie."""
LENGTH_MARGIN = 0.5
"""Distance from the range, as a fraction of its nearer end, at which the length score is 0."""
MIN_SENTENCE_WORDS = 4
"""Minimum words of a sentence that counts as finished; shorter ones may be items of a list."""

_GREETING = re.compile(r"(dear|hello|hi|hey|greetings|good (morning|day|evening|afternoon))\b", re.IGNORECASE)
_SIGN_OFF = re.compile(
    r"\b(yours|best|love|sincerely|regards|wishes|warmly|take care|cheers|thank you|thanks|hugs)\b", re.IGNORECASE
)
_QUOTED = re.compile(r"[\"“”]([^\"“”]+)[\"“”]")
_END_MARKS = ".!?"
_CLOSING = "\"'”’)*"
_DIMENSIONS = re.compile(r'"scores"\s*:\s*\{(.*?)\}', re.DOTALL)
_NAME = re.compile(r'"([^"]+)"\s*:')


class Merits(NamedTuple):
    """The judge's measures of a text, each 0 to 1 except `words`."""

    requirements: float
    """Mean over the prompt's requirements."""
    length: float
    """1 within the range, decreasing to 0 at `LENGTH_MARGIN` outside."""
    finished: float
    """Fraction of the words that are in finished sentences."""
    freshness: float
    """1 without repeated sequences of three words, 0 if half of them are repeats."""
    own_words: float
    """Fraction of the words that are not copied from the request."""
    words: int
    """Number of words."""

    @property
    def grade(self) -> float:
        """The grade, 1 to 10."""
        weighed = 0.5 * self.requirements + 0.35 * self.length + 0.15 * self.finished
        return MIN_SCORE + (MAX_SCORE - MIN_SCORE) * weighed * self.freshness * self.own_words


def measure(prompt: PromptRow, text: str) -> Merits:
    """Measure a text against its prompt."""
    asked, words = requirements_of(prompt), count_words(text)
    return Merits(
        requirements=sum(is_met(it, text) for it in asked) / len(asked),
        length=_length(words, length_range_of(prompt)),
        finished=_finished(text),
        freshness=max(0.0, 1 - 2 * repeated_ngram_share(text, n=3)),
        own_words=1 - copied_share(text, prompt.request) if text.strip() else 0.0,
        words=words,
    )


def is_met(requirement: Requirement, text: str) -> float:
    """How far a text meets a requirement, 0 to 1; only words and names can be met in part."""
    found = units(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not found or not lines:
        return 0.0
    match requirement.rule:
        case "words" | "names":
            return sum(has_word(found, word) for word in requirement.words) / len(requirement.words)
        case "letter":
            return float(bool(_GREETING.match(lines[0]) and _SIGN_OFF.search(" ".join(text.split()[-12:]))))
        case "paragraphs":
            return float(len(paragraphs(text)) == requirement.count)
        case "question":
            return float(lines[-1].rstrip(_CLOSING).endswith("?"))
        case "first_person":
            return float(not {"i", "my", "me"}.isdisjoint(found))
        case "second_person":
            return float(not {"you", "your"}.isdisjoint(found))
        case "dialogue":
            return float(bool(_QUOTED.search(text)))
        case "start":
            return float(found[: len(requirement.words)] == [word.lower() for word in requirement.words])


def answer(message: str) -> str:
    """Answer a message of `longform.judging`: pairwise if it contains two fenced texts, else pointwise.

    Raises:
        ValueError: the message contains no fenced text, or the request is not one of the demonstration's.
    """
    fenced = read_fences(message)
    prompt = _by_request().get(fenced.get("REQUEST", ""))
    if prompt is None:
        raise ValueError("the request is not one of the demonstration's")
    if "TEXT A" in fenced and "TEXT B" in fenced:
        first, second = measure(prompt, fenced["TEXT A"]), measure(prompt, fenced["TEXT B"])
        margin = first.grade - second.grade
        letter = "C" if abs(margin) < TIE_BAND else "A" if margin > 0 else "B"
        return f"{_describe('A', first, prompt)} {_describe('B', second, prompt)} [[{letter}]]"
    if "TEXT" not in fenced:
        raise ValueError("the message contains no fenced text to judge")
    merits = measure(prompt, fenced["TEXT"])
    asked = _DIMENSIONS.findall(message)
    if not asked:
        raise ValueError('the message contains no {"scores": {...}} example')
    grades = dict.fromkeys(_NAME.findall(asked[-1]), round(merits.grade, 2))
    return f"{_describe('The text', merits, prompt)} {json.dumps({'scores': grades})}"


def _describe(name: str, merits: Merits, prompt: PromptRow) -> str:
    low, high = length_range_of(prompt)
    return (
        f"{name}: requirements met {merits.requirements:.2f}, {merits.words} words of {low} to {high}, "
        f"finished {merits.finished:.2f}, freshness {merits.freshness:.2f}, own words {merits.own_words:.2f}: "
        f"{merits.grade:.2f}."
    )


@lru_cache(maxsize=1)
def _by_request() -> Mapping[str, Prompt]:
    """The prompts by their requests, as they appear between fences."""
    return {defuse(it.request): it for it in (*load_prompts("training"), *load_prompts("held-out"))}


def _length(words: int, length_range: tuple[int, int]) -> float:
    low, high = length_range
    outside = max(low - words, 0) / low + max(words - high, 0) / high
    return max(0.0, 1 - outside / LENGTH_MARGIN)


def _finished(text: str) -> float:
    """Fraction of the words in finished sentences of at least `MIN_SENTENCE_WORDS` words.

    A sign-off of a few words at the end needs no full stop.
    """
    counted = [(count_words(it), it.rstrip(_CLOSING)[-1:] in _END_MARKS) for it in sentences(text) if it]
    total = sum(words for words, _ in counted)
    if counted and not counted[-1][1] and _SIGN_OFF.search(" ".join(text.split()[-12:])):
        counted[-1] = (counted[-1][0], True)
    return sum(words for words, ended in counted if ended and words >= MIN_SENTENCE_WORDS) / total if total else 0.0
