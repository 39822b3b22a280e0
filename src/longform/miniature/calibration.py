"""How a judge errs: figures of real judges, and the same figures of a style of the miniature's judge.

The figures of real scores come from `benchmarks/judge_calibration.py`, which computes them from GPT-4o's checklist scores of
HelloBench (23 models) and from people's scores of WritingPreferenceBench (19 models); the accuracy in pairs is the one that
the best zero-shot judge reaches on pairs of stories that people compared (LitBench, arXiv 2507.00769).
"""

from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import fmean
from typing import NamedTuple

import numpy as np

from longform.judging.pointwise import DIMENSIONS
from longform.miniature.judge import EXAMINER, JudgeStyle, grade, measure, pairwise_verdict, pointwise_score
from longform.miniature.world import StoryRequest

_SIZES = (0.0, 0.5, 1.0, 2.0, 4.0, 9.0)
"""Limits of the bins by the true difference of two texts, in grade points."""


class CalibrationFigures(NamedTuple):
    """Figures of a judge's scores and comparisons."""

    correlation: float
    """Of its score of a text with the truth; of people, of the scores of two people. Over all prompts and writers."""
    prompt_share: float
    """Fraction of the variance of its scores that belongs to the prompt, beyond what the other parts explain."""
    equal_scores: float
    """Fraction of equal scores among the pairs of texts of one prompt."""
    low: float
    """5th percentile of its scores, on the scale from 1 to 10."""
    high: float
    """95th percentile of its scores, on the scale from 1 to 10."""
    accuracy: float
    """Fraction of pairs whose better text it prefers; ties are left out."""


TARGETS = CalibrationFigures(correlation=0.62, prompt_share=0.16, equal_scores=0.23, low=6.4, high=10.0, accuracy=0.73)
"""Figures of real scores; see above."""


class SizedAccuracy(NamedTuple):
    """Verdicts on pairs whose true difference lies in one bin."""

    smallest: float
    largest: float
    pairs: int
    ties: float
    """Fraction of ties."""
    accuracy: float
    """Fraction of right verdicts among the others; NaN without any."""


def prompt_share(scores: np.ndarray) -> float:
    """Return the fraction of the variance of scores that belongs to the prompt: the variance component of the rows in a
    two-way layout without interaction (Searle et al., Variance Components, section 4.3), over the sum of the three.

    Args:
        scores: [prompts, writers], at least two of each.
    """
    prompts, writers = scores.shape
    rows, columns = scores.mean(1), scores.mean(0)
    rest = scores - rows[:, None] - columns[None] + scores.mean()
    residual = (rest**2).sum() / ((prompts - 1) * (writers - 1))
    by_prompt = max(0.0, rows.var(ddof=1) - residual / writers)
    by_writer = max(0.0, columns.var(ddof=1) - residual / prompts)
    total = by_prompt + by_writer + residual
    return float(by_prompt / total) if total else 0.0


def equal_scores(scores: np.ndarray) -> float:
    """Return the fraction of equal scores among the pairs of texts of one prompt.

    Args:
        scores: [prompts, writers].
    """
    return float(
        np.mean([scores[:, one] == scores[:, other] for one, other in combinations(range(scores.shape[1]), 2)])
    )


def judge_figures(
    requests: Sequence[StoryRequest], texts: Sequence[Sequence[str]], style: JudgeStyle
) -> tuple[CalibrationFigures, list[SizedAccuracy]]:
    """Have a style of the miniature's judge score texts and compare each pair of a prompt, in a balanced order.

    The truth is the examiner's grade, which has no error.

    Args:
        requests: [prompts].
        texts: [prompts][writers], at least two of each.
        style: Weights and errors of the judge.

    Returns:
        The figures, and the verdicts by the size of the true difference.
    """
    rows = list(zip(requests, texts, strict=True))
    truth = np.array([[grade(measure(request, it), EXAMINER) for it in row] for request, row in rows])
    scores = np.array([[_mean_score(request, it, style) for it in row] for request, row in rows])
    verdicts = [
        _compared(request, row, truth[index], pair, style, turned=(index + sum(pair)) % 2 == 1)
        for index, (request, row) in enumerate(rows)
        for pair in combinations(range(len(row)), 2)
    ]
    low, high = (float(limit) for limit in np.percentile(scores, [5, 95]))
    figures = CalibrationFigures(
        correlation=float(np.corrcoef(scores.ravel(), truth.ravel())[0, 1]),
        prompt_share=prompt_share(scores),
        equal_scores=equal_scores(scores),
        low=low,
        high=high,
        accuracy=_accuracy([right for size, right in verdicts if size]),
    )
    return figures, [_bin(verdicts, smallest, largest) for smallest, largest in pairwise(_SIZES)]


def _mean_score(request: StoryRequest, text: str, style: JudgeStyle) -> float:
    return round(fmean(pointwise_score(request, text, style, dimension=name) for name in DIMENSIONS), 9)


def _compared(
    request: StoryRequest,
    texts: Sequence[str],
    truth: np.ndarray,
    pair: tuple[int, int],
    style: JudgeStyle,
    *,
    turned: bool,
) -> tuple[float, bool | None]:
    """Return the size of the true difference, and whether the verdict is right; None for a tie."""
    first, second = reversed(pair) if turned else pair
    verdict = pairwise_verdict(request, texts[first], texts[second], style)
    difference = float(truth[first] - truth[second])
    return abs(difference), None if verdict == "C" else (verdict == "A") == (difference > 0)


def _accuracy(verdicts: Sequence[bool | None]) -> float:
    decided = [it for it in verdicts if it is not None]
    return fmean(decided) if decided else float("nan")


def _bin(verdicts: Sequence[tuple[float, bool | None]], smallest: float, largest: float) -> SizedAccuracy:
    inside = [right for size, right in verdicts if size and smallest <= size < largest]
    ties = inside.count(None) / len(inside) if inside else 0.0
    return SizedAccuracy(smallest, largest, len(inside), ties, _accuracy(inside))
