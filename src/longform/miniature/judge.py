"""The judge of the miniature world: measures a text against its request and answers like a language model as a judge.

The grade is a product: the weighted sum of coverage, names, length and order is scaled down if the text is not fluent,
misses events or repeats itself. A weighted sum alone could be maximized by a bare list of the required words or by echoing
the request. Noise and position bias imitate the errors of a model; they are functions of the texts, so the same question
always gets the same answer.
"""

import hashlib
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

from longform.judging.answers import read_fences
from longform.judging.criteria import CRITERION
from longform.judging.probe import PROBED
from longform.miniature.criteria import MEASURE_OF, asks_for_criteria, write_criteria
from longform.miniature.fluency import grammar_model, tokenize
from longform.miniature.grammar import EVENT_OF, EVENTS, FEWEST_WORDS
from longform.miniature.request_answers import answer_about_request
from longform.miniature.trails import OPENING_WORDS, split_opening
from longform.miniature.world import CLASS_OF, POOLS, StoryRequest, draw_request, parse_request

_NORMAL = NormalDist()
WRONG_END = 0.4
"""What is left of the points of a story that does not begin with the end of its trail."""
LIST_MARK = "[[X > Y = Z]]"
"""Example of an answer in a question about a list, which no fenced text can hold."""
_DIMENSIONS = re.compile(r'"scores"\s*:\s*\{(.*?)\}', re.DOTALL)
_WORD = re.compile(r"\w+")
_NAME = re.compile(r'"([^"]+)"\s*:')
_STAND_IN = draw_request(random.Random("probe"), split="train")
"""The request that `longform probe` is taken to ask about, and with it `longform train --dry-run`."""


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
    limit: float = 1.0
    """`length` again if the request asks for fewer words than its events need, else 1 (see `miniature/kinds.py`)."""
    end_of_trail: float = 1.0
    """`WRONG_END` if the request has a trail and the story does not begin with its end, else 1."""


class JudgeStyle(NamedTuple):
    """Weights and errors of a judge."""

    coverage: float
    names: float
    length: float
    order: float
    fluency_exponent: float = 1.0
    noise: float = 0.0
    """Standard deviation of the error of a grade (scale 1 to 10)."""
    prompt_offset: float = 0.0
    """Standard deviation of an error that all grades of a prompt share. It cancels in a comparison."""
    squeeze: tuple[float, float] | None = None
    """Range onto which grades with their errors, 1 to 10, are mapped linearly, as by a judge that says 6 to 9."""
    integers: bool = False
    """Whether the score of a dimension is rounded to an integer."""
    pairwise_noise: float | None = None
    """Standard deviation of the error of each of two texts in a comparison; None: the same as `noise`."""
    word_bonus: float = 0.0
    """Bias towards long texts: grade points added for every ten words above the middle of the requested range, and taken
    for every ten below."""
    position_bias: float = 0.0
    """Grade points added to the first of two texts."""
    tie_band: float = 0.15
    """Grades that differ by less than this are a tie."""
    seed: int = 0


JUDGE = JudgeStyle(coverage=0.40, names=0.25, length=0.20, order=0.15, noise=0.4, position_bias=0.1)
CALIBRATED = JUDGE._replace(noise=2.3, prompt_offset=1.5, squeeze=(6.3, 9.4), integers=True, pairwise_noise=3.0)
JUDGES = {"mild": JUDGE, "calibrated": CALIBRATED}
"""Styles of the training judge by name. `benchmarks/judge_calibration.py` states how well `calibrated` fits real scores."""
WORD_BONUS = 1.2
"""Bias of the second judge, in grade points for ten words."""
EXAMINER = JudgeStyle(coverage=0.35, names=0.30, length=0.15, order=0.20, fluency_exponent=1.5)


@lru_cache(maxsize=20_000)
def measure(request: StoryRequest, text: str) -> Measures:
    """Measure a text against a request, in about 0.1 ms per story."""
    end, story = (None, text) if request.trail is None else split_opening(text)
    tokens = tokenize(story)
    words = [token for token in tokens if token.isalnum()]
    mentions = {name: [word for word in words if CLASS_OF.get(word) == name] for name in POOLS}
    told_events = _event_sequence(words)
    told = len(set(told_events))
    length = _length_points(len(words) + (0 if end is None else OPENING_WORDS), request.length_range)
    return Measures(
        coverage=sum(_covered(word, mentions[CLASS_OF[word]]) for word in request.words) / len(request.words),
        names=sum(_purity(request.entities[name], mentions[name]) for name in ("hero", "place", "object")) / 3,
        length=length,
        order=_longest_increasing(told_events) / told if told else 0.0,
        events=told / len(EVENTS),
        freshness=_freshness(words),
        fluency=_fluency(tokens),
        limit=length if request.length_range[1] < FEWEST_WORDS else 1.0,
        end_of_trail=1.0 if request.trail is None or end == request.way[-1] else WRONG_END,
    )


def grade(measures: Measures, style: JudgeStyle) -> float:
    """Return the grade, 1 to 10, without noise."""
    weighed = (
        style.coverage * measures.coverage
        + style.names * measures.names
        + style.length * measures.length
        + style.order * measures.order
    )
    return 1.0 + 9.0 * _trust(measures, style) * weighed


def grade_by_criterion(measures: Measures, style: JudgeStyle, *, measure: str) -> float:
    """Return the grade by one criterion, 1 to 10, without noise; a text that is no story meets none."""
    return 1.0 + 9.0 * _trust(measures, style) * getattr(measures, measure)


def _trust(measures: Measures, style: JudgeStyle) -> float:
    trust = measures.fluency**style.fluency_exponent * measures.events * measures.freshness
    return trust * measures.limit * measures.end_of_trail


def second_judge(style: JudgeStyle) -> JudgeStyle:
    """Return a judge with errors of the same size as those of `style`, drawn anew, and with a bias towards long texts."""
    return style._replace(word_bonus=WORD_BONUS, seed=style.seed + 1)


def pointwise_score(request: StoryRequest, text: str, style: JudgeStyle, *, dimension: str = "") -> float:
    """Return the judge's noisy grade on one dimension: the text's grade plus an error of the text, with half its standard
    deviation an error of the dimension, and an error of the prompt; squeezed and rounded as the style says. A dimension that
    is a criterion of this world is graded by its measure.
    """
    about_text = _gauss(style.seed, "pointwise", request.text, text)
    about_dimension = _gauss(style.seed, "dimension", dimension, request.text, text)
    if dimension in MEASURE_OF:
        liking = grade_by_criterion(measure(request, text), style, measure=MEASURE_OF[dimension])
    else:
        liking = _liking(request, text, style)
    score = liking + style.noise * (about_text + 0.5 * about_dimension)
    if style.prompt_offset:
        score += style.prompt_offset * _gauss(style.seed, "prompt", request.text)
    if style.squeeze:
        low, high = style.squeeze
        score = low + (high - low) * (score - 1) / 9
    return min(10.0, max(1.0, float(round(score)) if style.integers else score))


def pairwise_verdict(request: StoryRequest, first: str, second: str, style: JudgeStyle) -> str:
    """Return `A` if the first text is better, `B` if the second is, and `C` for a tie."""
    noise = style.noise if style.pairwise_noise is None else style.pairwise_noise
    margin = _liking(request, first, style) - _liking(request, second, style) + style.position_bias
    margin += math.sqrt(2) * noise * _gauss(style.seed, "pairwise", request.text, first, second)
    if abs(margin) < style.tie_band:
        return "C"
    return "A" if margin > 0 else "B"


def listed_order(request: StoryRequest, texts: Mapping[str, str], style: JudgeStyle) -> str:
    """Return an order of texts by letter, such as `C > A = B`: by grades with an error for each text. A text that is closer
    than the band of ties to the next better one is level with it. The first text read gets all of the position bias, the
    last none, those between a share.
    """
    noise = style.noise if style.pairwise_noise is None else style.pairwise_noise
    last = max(len(texts) - 1, 1)
    liked = {
        letter: _liking(request, text, style)
        + style.position_bias * (1 - place / last)
        + noise * _gauss(style.seed, "list", request.text, *texts.values(), str(place))
        for place, (letter, text) in enumerate(texts.items())
    }
    ranked = sorted(liked, key=lambda letter: -liked[letter])
    order = ranked[0]
    for better, letter in pairwise(ranked):
        order += f" {'=' if liked[better] - liked[letter] < style.tie_band else '>'} {letter}"
    return order


def _liking(request: StoryRequest, text: str, style: JudgeStyle) -> float:
    """Return the grade of a text without noise, with the bias of the style."""
    graded = grade(measure(request, text), style)
    if not style.word_bonus:
        return graded
    return graded + style.word_bonus * (len(_WORD.findall(text)) - sum(request.length_range) / 2) / 10


def answer(message: str, style: JudgeStyle, *, sample: int = 0) -> str:
    """Answer a message of `longform.judging`: the order of a list of texts, pairwise if it contains two, pointwise if it
    contains one, else about the request alone (see `request_answers`).

    Args:
        message: The message.
        style: Weights and errors of the judge.
        sample: The seed of the call; only a reduced request depends on it.

    Raises:
        ValueError: the message contains no fenced text, or the texts' request is not from this world; that of `longform
            probe` is read as if it were.
    """
    fenced = read_fences(message)
    if fenced.keys() == {"REQUEST"} and not asks_for_criteria(message):
        return answer_about_request(message, fenced["REQUEST"], sample=sample)
    asked = fenced.get("REQUEST", "")
    request = _STAND_IN if asked == PROBED.request else parse_request(asked)
    listed = {label.removeprefix("TEXT "): text for label, text in fenced.items() if label.startswith("TEXT ")}
    if len(listed) > 1 and LIST_MARK in message:
        return f"I weighed words, names, length and the order of events. [[{listed_order(request, listed, style)}]]"
    if asks_for_criteria(message):
        return write_criteria(message, request)
    if "TEXT A" in fenced and "TEXT B" in fenced:
        verdict = pairwise_verdict(request, fenced["TEXT A"], fenced["TEXT B"], style)
        return f"I weighed words, names, length and the order of events. [[{verdict}]]"
    if "TEXT" not in fenced:
        raise ValueError("the message contains no fenced text to judge")
    if "CRITERION" in fenced:
        name = fenced["CRITERION"].partition(":")[0]
        return json.dumps(
            {"scores": {CRITERION: round(pointwise_score(request, fenced["TEXT"], style, dimension=name))}}
        )
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
