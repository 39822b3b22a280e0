"""The examiner of the demonstration: measures of a text before and after training. Only its length is also a reward.

The examiner checks requirements by stricter rules than the judge. A required word counts only inside a finished sentence
that is not copied from the request. A greeting and a sign-off need lines of their own. A text in the first person needs "I"
in a third of its sentences.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from longform.demo.encoder import SentenceEncoder
from longform.demo.prompts import Requirement, has_word, length_range_of, requirements_of
from longform.records.schemas import PromptRow, Response
from longform.rewards.measured import MAX_PER_UPPER, length_reward
from longform.text.repetition import copied_share, units
from longform.text.words import count_words, sentences

DISTINCT_WORDS = 30
"""Words at the beginning of each text that `distinct_2` counts, so that longer texts are not at a disadvantage."""
MIN_SENTENCE_WORDS = 5
"""Minimum words of a sentence in which a required word counts."""
MAX_COPIED_SHARE = 0.5
"""Maximum fraction of such a sentence that may be copied from the request."""
MIN_PERSON_SHARE = 1 / 3
"""Minimum fraction of the sentences in the first or second person, if the prompt requires it."""

_CLOSING = "\"'”’)*"
_OPENING_WORDS = {"dear", "hello", "hi", "hey", "greetings", "good"}
_QUOTATION = re.compile(r"[\"“]([^\"“”\n]+)[\"”]")


class TextFigures(NamedTuple):
    """The examiner's measures of one text."""

    words: int
    inside: float
    """1 within the range of its prompt, else 0."""
    length: float
    """The length score: 1 within the range, decreasing with the distance from it."""
    requirements: float
    """Mean over the requirements of the prompt, each 0 to 1."""
    finished: float
    """1 if the writer ended the text by itself, 0 if it was cut off at the token limit."""
    letters_per_word: float
    relevance: float | None
    """Cosine of the embeddings of request and text; None without an encoder."""


def examine(
    prompts: Sequence[PromptRow], responses: Sequence[Response], encoder: SentenceEncoder | None = None
) -> list[TextFigures]:
    """Measure responses, each against the prompt at the same position."""
    relevances = _relevances(prompts, responses, encoder) if encoder is not None else [None] * len(responses)
    return [
        _figures(prompt, response, relevance)
        for prompt, response, relevance in zip(prompts, responses, relevances, strict=True)
    ]


def distinct_2(texts: Sequence[str]) -> float:
    """Distinct pairs of words over all pairs, in the first `DISTINCT_WORDS` words of all texts together."""
    pairs = [pair for text in texts if (found := units(text)[:DISTINCT_WORDS]) for pair in pairwise(found)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def is_met(requirement: Requirement, text: str, *, request: str) -> float:
    """How far a text meets a requirement, 0 to 1; only words and names can be met in part."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return 0.0
    match requirement.rule:
        case "words":
            used = [units(it) for it in _finished_sentences(text, request)]
            return _share([any(has_word(found, word) for found in used) for word in requirement.words])
        case "names":
            used = _finished_sentences(text, request)
            return _share([any(re.search(rf"\b{re.escape(it)}\b", one) for one in used) for it in requirement.words])
        case "letter":
            opening = units(lines[0])
            greets = opening[:1] != [] and opening[0] in _OPENING_WORDS and len(opening) <= 8
            return float(greets and len(lines) >= 3 and len(units(lines[-1])) <= 8)
        case "paragraphs":
            return float(sum(bool(_finished_sentences(line, request)) for line in lines) == requirement.count)
        case "question":
            last = sentences(text)[-1]
            return float(last.rstrip(_CLOSING).endswith("?") and len(units(last)) >= 3)
        case "first_person":
            return _has_person(text, {"i", "my", "me", "mine", "myself"})
        case "second_person":
            return _has_person(text, {"you", "your", "yours", "yourself"})
        case "dialogue":
            spoken = _QUOTATION.findall(text)
            outside = len(units(_QUOTATION.sub(" ", text)))
            return float(any(len(units(speech)) >= 3 for speech in spoken) and outside >= MIN_SENTENCE_WORDS)
        case "start":
            first = units(sentences(text)[0])
            given = [word.lower() for word in requirement.words]
            return float(first[: len(given)] == given and len(first) >= len(given) + 3)


def _figures(prompt: PromptRow, response: Response, relevance: float | None) -> TextFigures:
    text, (low, high) = response.text, length_range_of(prompt)
    words, found = count_words(text), units(text)
    return TextFigures(
        words=words,
        inside=float(low <= words <= high),
        length=length_reward(words, lower=low, upper=high, longest=MAX_PER_UPPER * high),
        requirements=_share([is_met(it, text, request=prompt.request) for it in requirements_of(prompt)]),
        finished=float(response.finish_reason == "stop"),
        letters_per_word=sum(map(len, found)) / len(found) if found else 0.0,
        relevance=relevance,
    )


def _finished_sentences(text: str, request: str) -> list[str]:
    """Sentences with an end mark and enough words that are mostly the writer's own."""
    return [
        it
        for it in sentences(text)
        if it.rstrip(_CLOSING)[-1:] in (".", "!", "?", ",")  # a comma where a line ends, as after a greeting
        and len(units(it)) >= MIN_SENTENCE_WORDS
        and copied_share(it, request) <= MAX_COPIED_SHARE
    ]


def _has_person(text: str, pronouns: set[str]) -> float:
    """1 if enough sentences contain one of the pronouns, else 0."""
    return float(_share([not pronouns.isdisjoint(units(sentence)) for sentence in sentences(text)]) >= MIN_PERSON_SHARE)


def _share(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _relevances(
    prompts: Sequence[PromptRow], responses: Sequence[Response], encoder: SentenceEncoder
) -> list[float | None]:
    requests = np.asarray(encoder.encode([it.request for it in prompts]), dtype=np.float64)
    texts = np.asarray(encoder.encode([it.text for it in responses]), dtype=np.float64)
    norms = np.linalg.norm(requests, axis=1) * np.linalg.norm(texts, axis=1)
    return [float(it) for it in (requests * texts).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)]
