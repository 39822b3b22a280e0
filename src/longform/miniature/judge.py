"""The judge of the miniature world: measures a text against its request and answers like a language model asked to judge.

The grade is a product: what the text tells (coverage, names, length, order) counts only as far as it is fluent, tells the
events, and does not repeat itself. A weighted sum alone can be won by a bare list of the required words or by an echo of
the request. Noise and position bias make the judge wrong the way a model is; they are functions of the texts, so that
the same question always gets the same answer.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from longform.judging.fences import read_fences
from longform.miniature.fluency import grammar_model, tokenize
from longform.miniature.grammar import EVENT_OF, EVENTS
from longform.miniature.world import CLASS_OF, POOLS, StoryRequest, parse_request

_NORMAL = NormalDist()
_DIMENSIONS = re.compile(r'"scores"\s*:\s*\{(.*?)\}', re.DOTALL)
_NAME = re.compile(r'"([^"]+)"\s*:')


class Measures(NamedTuple):
    """What can be said of a text for a request, each from 0 (worst) to 1."""

    coverage: float
    """Required words that appear, each shared with others of its class that appear too."""
    names: float
    """Mentions of hero, place and object that are the right ones."""
    length: float
    """1 within the range asked for, falling to 0 at 40% outside."""
    order: float
    """Told events that stand in order (longest increasing run over those told)."""
    events: float
    """Events that are told."""
    freshness: float
    """1 without repetition, 0 where half of the four-word sequences have been read before."""
    fluency: float
    """From the n-gram model: near 1 for the grammar's own text, near 0 for lists and scrambled words."""


class JudgeStyle(NamedTuple):
    """How a judge weighs what it measures, and how it errs."""

    coverage: float
    names: float
    length: float
    order: float
    fluency_exponent: float = 1.0
    noise: float = 0.0
    """Standard deviation of the error on one text's grade (scale 1 to 10)."""
    position_bias: float = 0.0
    """What the first of two texts gains."""
    tie_band: float = 0.15
    """Two grades closer than this are a tie."""
    seed: int = 0


JUDGE = JudgeStyle(coverage=0.40, names=0.25, length=0.20, order=0.15, noise=0.4, position_bias=0.1)
EXAMINER = JudgeStyle(coverage=0.35, names=0.30, length=0.15, order=0.20, fluency_exponent=1.5)


@lru_cache(maxsize=20_000)
def measure(request: StoryRequest, text: str) -> Measures:
    """Measure a text against a request. Pure; about 0.1 ms for a story."""
    tokens = tokenize(text)
    words = [token for token in tokens if token.isalnum()]
    mentions = {name: [word for word in words if CLASS_OF.get(word) == name] for name in POOLS}
    places = _event_sequence(words)
    told = len(set(places))
    return Measures(
        coverage=sum(_covered(word, mentions[CLASS_OF[word]]) for word in request.words) / len(request.words),
        names=sum(_purity(request.entities[name], mentions[name]) for name in ("hero", "place", "object")) / 3,
        length=_length_score(len(words), request.length_range),
        order=_longest_increasing(places) / told if told else 0.0,
        events=told / len(EVENTS),
        freshness=_freshness(words),
        fluency=_fluency(tokens),
    )


def grade(measures: Measures, style: JudgeStyle) -> float:
    """The grade, 1 to 10, without noise."""
    weighed = (
        style.coverage * measures.coverage
        + style.names * measures.names
        + style.length * measures.length
        + style.order * measures.order
    )
    trust = measures.fluency**style.fluency_exponent * measures.events * measures.freshness
    return 1.0 + 9.0 * trust * weighed


def pointwise_score(request: StoryRequest, text: str, style: JudgeStyle, *, dimension: str = "") -> float:
    """The grade that a judge gives to one dimension: its grade of the text, its error on the text, and half as much again
    on the dimension.
    """
    about_text = _gauss(style.seed, "pointwise", request.text, text)
    about_dimension = _gauss(style.seed, "dimension", dimension, request.text, text)
    noise = style.noise * (about_text + 0.5 * about_dimension)
    return min(10.0, max(1.0, grade(measure(request, text), style) + noise))


def pairwise_verdict(request: StoryRequest, first: str, second: str, style: JudgeStyle) -> str:
    """`A` where the first text is better, `B` where the second is, `C` for a tie."""
    margin = grade(measure(request, first), style) - grade(measure(request, second), style) + style.position_bias
    margin += math.sqrt(2) * style.noise * _gauss(style.seed, "pairwise", request.text, first, second)
    if abs(margin) < style.tie_band:
        return "C"
    return "A" if margin > 0 else "B"


def answer(message: str, style: JudgeStyle) -> str:
    """What the judge says to a judging message of `longform.judging`: pairwise where two texts are fenced, else pointwise.

    Raises:
        ValueError: nothing to judge is fenced in the message, or the request is none of this world.
    """
    fenced = read_fences(message)
    request = parse_request(fenced.get("REQUEST", ""))
    if "TEXT A" in fenced and "TEXT B" in fenced:
        verdict = pairwise_verdict(request, fenced["TEXT A"], fenced["TEXT B"], style)
        return f"I weighed words, names, length and the order of events. [[{verdict}]]"
    if "TEXT" not in fenced:
        raise ValueError("the message fences no text to judge")
    dimensions = asked_dimensions(message)
    scores = {name: round(pointwise_score(request, fenced["TEXT"], style, dimension=name), 2) for name in dimensions}
    return json.dumps({"scores": scores})


def asked_dimensions(message: str) -> list[str]:
    """The dimensions that a pointwise message asks for: the keys of the last example of an answer in it.

    Raises:
        ValueError: the message shows no example.
    """
    examples = _DIMENSIONS.findall(message)
    if not examples:
        raise ValueError('the message shows no {"scores": {...}} to fill in')
    return _NAME.findall(examples[-1])


def _covered(word: str, mentioned: Sequence[str]) -> float:
    return 1 / len(set(mentioned)) if word in mentioned else 0.0


def _purity(word: str, mentioned: Sequence[str]) -> float:
    return mentioned.count(word) / len(mentioned) if mentioned else 0.0


def _length_score(words: int, length_range: tuple[int, int]) -> float:
    lo, hi = length_range
    outside = max(lo - words, 0) / lo + max(words - hi, 0) / hi
    return max(0.0, 1 - outside / 0.4)


def _event_sequence(words: Sequence[str]) -> list[int]:
    """Index of each told event, in the order in which they are first told."""
    return list(dict.fromkeys(EVENT_OF[word] for word in words if word in EVENT_OF))


def _longest_increasing(sequence: Sequence[int]) -> int:
    lengths: list[int] = []
    for place, value in enumerate(sequence):
        lengths.append(1 + max((lengths[i] for i in range(place) if sequence[i] < value), default=0))
    return max(lengths, default=0)


def _freshness(words: Sequence[str]) -> float:
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    if not grams:
        return 0.0
    return max(0.0, 1 - 2 * (1 - len(set(grams)) / len(grams)))


def _fluency(tokens: Sequence[str]) -> float:
    """The mean log-probability through a logistic: the master's stories lie near -0.6, lists near -8."""
    return 1 / (1 + math.exp(-3.0 * (grammar_model().mean_log_prob(tokens) + 2.2)))


def _gauss(seed: int, *parts: str) -> float:
    """A standard normal number that is a function of its arguments."""
    digest = hashlib.blake2b("\0".join((str(seed), *parts)).encode(), digest_size=8).digest()
    return _NORMAL.inv_cdf((int.from_bytes(digest) + 0.5) / 2**64)
