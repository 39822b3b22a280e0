"""The judge of the miniature world: measures a text against its request and answers like a language model as a judge.

The grade is a product: the weighted sum of coverage, names, length and order is scaled down if the text is not fluent,
misses events or repeats itself. A weighted sum alone could be maximized by a bare list of the required words or by echoing
the request. Noise and position bias imitate the errors of a model; they are functions of the texts, so the same question
always gets the same answer.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from longform.judging.answers import read_fences
from longform.miniature.fluency import grammar_model, tokenize
from longform.miniature.grammar import EVENT_OF, EVENTS
from longform.miniature.request_answers import answer_about_request
from longform.miniature.world import CLASS_OF, POOLS, StoryRequest, parse_request

_NORMAL = NormalDist()
_DIMENSIONS = re.compile(r'"scores"\s*:\s*\{(.*?)\}', re.DOTALL)
_NAME = re.compile(r'"([^"]+)"\s*:')


class Measures(NamedTuple):
    """Measures of a text for a request, each from 0 (worst) to 1."""

    coverage: float
    """Required words that are used; each counts less if other words of its class are used as well."""
    names: float
    """Fraction of the mentions of hero, place and object that match the request."""
    length: float
    """1 within the requested range, decreasing to 0 at 40% outside."""
    order: float
    """Fraction of the told events that are in order (longest increasing subsequence)."""
    events: float
    """Fraction of the events that are told."""
    freshness: float
    """1 without repetition, 0 if half of the word 4-grams are repeats."""
    fluency: float
    """From the n-gram model: near 1 for text of the grammar, near 0 for lists and scrambled words."""


class JudgeStyle(NamedTuple):
    """Weights and errors of a judge."""

    coverage: float
    names: float
    length: float
    order: float
    fluency_exponent: float = 1.0
    noise: float = 0.0
    """Standard deviation of the error of a grade (scale 1 to 10)."""
    position_bias: float = 0.0
    """Grade points added to the first of two texts."""
    tie_band: float = 0.15
    """Grades that differ by less than this are a tie."""
    seed: int = 0


JUDGE = JudgeStyle(coverage=0.40, names=0.25, length=0.20, order=0.15, noise=0.4, position_bias=0.1)
EXAMINER = JudgeStyle(coverage=0.35, names=0.30, length=0.15, order=0.20, fluency_exponent=1.5)


@lru_cache(maxsize=20_000)
def measure(request: StoryRequest, text: str) -> Measures:
    """Measure a text against a request, in about 0.1 ms per story."""
    tokens = tokenize(text)
    words = [token for token in tokens if token.isalnum()]
    mentions = {name: [word for word in words if CLASS_OF.get(word) == name] for name in POOLS}
    told_events = _event_sequence(words)
    told = len(set(told_events))
    return Measures(
        coverage=sum(_covered(word, mentions[CLASS_OF[word]]) for word in request.words) / len(request.words),
        names=sum(_purity(request.entities[name], mentions[name]) for name in ("hero", "place", "object")) / 3,
        length=_length_points(len(words), request.length_range),
        order=_longest_increasing(told_events) / told if told else 0.0,
        events=told / len(EVENTS),
        freshness=_freshness(words),
        fluency=_fluency(tokens),
    )


def grade(measures: Measures, style: JudgeStyle) -> float:
    """Return the grade, 1 to 10, without noise."""
    weighed = (
        style.coverage * measures.coverage
        + style.names * measures.names
        + style.length * measures.length
        + style.order * measures.order
    )
    trust = measures.fluency**style.fluency_exponent * measures.events * measures.freshness
    return 1.0 + 9.0 * trust * weighed


def pointwise_score(request: StoryRequest, text: str, style: JudgeStyle, *, dimension: str = "") -> float:
    """Return the judge's noisy grade on one dimension: the text's grade plus an error of the text and, with half its
    standard deviation, an error of the dimension.
    """
    about_text = _gauss(style.seed, "pointwise", request.text, text)
    about_dimension = _gauss(style.seed, "dimension", dimension, request.text, text)
    noise = style.noise * (about_text + 0.5 * about_dimension)
    return min(10.0, max(1.0, grade(measure(request, text), style) + noise))


def pairwise_verdict(request: StoryRequest, first: str, second: str, style: JudgeStyle) -> str:
    """Return `A` if the first text is better, `B` if the second is, and `C` for a tie."""
    margin = grade(measure(request, first), style) - grade(measure(request, second), style) + style.position_bias
    margin += math.sqrt(2) * style.noise * _gauss(style.seed, "pairwise", request.text, first, second)
    if abs(margin) < style.tie_band:
        return "C"
    return "A" if margin > 0 else "B"


def answer(message: str, style: JudgeStyle, *, sample: int = 0) -> str:
    """Answer a message of `longform.judging`: pairwise if it contains two fenced texts, pointwise if it contains one, else
    about the request alone (see `request_answers`).

    Args:
        message: The message.
        style: Weights and errors of the judge.
        sample: The seed of the call; only a reduced request depends on it.

    Raises:
        ValueError: the message contains no fenced text, or the texts' request is not from this world.
    """
    fenced = read_fences(message)
    if fenced.keys() == {"REQUEST"}:
        return answer_about_request(message, fenced["REQUEST"], sample=sample)
    request = parse_request(fenced.get("REQUEST", ""))
    if "TEXT A" in fenced and "TEXT B" in fenced:
        verdict = pairwise_verdict(request, fenced["TEXT A"], fenced["TEXT B"], style)
        return f"I weighed words, names, length and the order of events. [[{verdict}]]"
    if "TEXT" not in fenced:
        raise ValueError("the message contains no fenced text to judge")
    dimensions = asked_dimensions(message)
    scores = {name: round(pointwise_score(request, fenced["TEXT"], style, dimension=name), 2) for name in dimensions}
    return json.dumps({"scores": scores})


def asked_dimensions(message: str) -> list[str]:
    """Return the dimensions that a pointwise message asks for: the keys of its last example of an answer.

    Raises:
        ValueError: the message contains no example.
    """
    examples = _DIMENSIONS.findall(message)
    if not examples:
        raise ValueError('the message contains no {"scores": {...}} example')
    return _NAME.findall(examples[-1])


def _covered(word: str, mentioned: Sequence[str]) -> float:
    return 1 / len(set(mentioned)) if word in mentioned else 0.0


def _purity(word: str, mentioned: Sequence[str]) -> float:
    return mentioned.count(word) / len(mentioned) if mentioned else 0.0


def _length_points(words: int, length_range: tuple[int, int]) -> float:
    lo, hi = length_range
    outside = max(lo - words, 0) / lo + max(words - hi, 0) / hi
    return max(0.0, 1 - outside / 0.4)


def _event_sequence(words: Sequence[str]) -> list[int]:
    """Return the indices of the told events, in the order in which they are first told."""
    return list(dict.fromkeys(EVENT_OF[word] for word in words if word in EVENT_OF))


def _longest_increasing(sequence: Sequence[int]) -> int:
    lengths: list[int] = []
    for index, value in enumerate(sequence):
        lengths.append(1 + max((lengths[i] for i in range(index) if sequence[i] < value), default=0))
    return max(lengths, default=0)


def _freshness(words: Sequence[str]) -> float:
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    if not grams:
        return 0.0
    return max(0.0, 1 - 2 * (1 - len(set(grams)) / len(grams)))


def _fluency(tokens: Sequence[str]) -> float:
    """Return a logistic of the mean log-probability; the master's stories have about -0.6, lists about -8."""
    return 1 / (1 + math.exp(-3.0 * (grammar_model().mean_log_prob(tokens) + 2.2)))


def _gauss(seed: int, *parts: str) -> float:
    """Return a standard normal value that is a deterministic function of the arguments."""
    digest = hashlib.blake2b("\0".join((str(seed), *parts)).encode(), digest_size=8).digest()
    return _NORMAL.inv_cdf((int.from_bytes(digest) + 0.5) / 2**64)
