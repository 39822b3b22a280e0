"""Signatures in what the policy writes: texts that the reward likes and a reader does not."""

from itertools import pairwise
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from longform.monitors.finding import Finding
from longform.monitors.series import TEXTS, Series, ends, latest_window, values

MAX_CUT_OFF = 0.5
"""Share of texts that end at the token limit: beyond it the judge compares fragments, and length teaches nothing."""
LONGER = 1.25
"""Words against the beginning. Half a window holds 128 texts or more: a standard error of about 0.06 for the ratio, where
lengths spread by half their mean."""
MORE_REPETITION = 0.1
"""Share of four-word sequences, or of sentences, that have been read before, above that of the beginning. Longer texts
repeat a little more by themselves; one in ten is padding."""
EXAMINER_ERRORS = 4.0
"""Standard errors by which the examiner's grade has to fall. It is held against the best of all earlier validations, whose
luck costs about one of them."""
PROGRESS = 0.2
"""What counts as a rise in the training judge's eyes, in rungs: about three standard errors of 64 verdicts."""


def cut_off(series: Series) -> Finding | None:
    """Most texts end at the token limit: mean share over the window."""
    window = latest_window(series, count=TEXTS)
    shares = values(series, "text/cut_off", window) if window else []
    if window is None or not shares or fmean(shares) <= MAX_CUT_OFF:
        return None
    return Finding(
        "cut-off",
        window.first,
        window.last,
        f"{fmean(shares):.0%} of {window.cases} texts in {window} end at the token limit",
        "Raise generation.max_tokens, or ask for shorter texts in the prompts.",
    )


def length_by_repetition(series: Series) -> Finding | None:
    """Texts grow and repeat themselves more: medians over half a window, now against the beginning of the run."""
    window = latest_window(series, count=TEXTS)
    words = series.get("text/words", ())
    if window is None or not words:
        return None
    half = window.steps // 2
    before, now = ends(words, half)
    if now < LONGER * before:
        return None
    for name, what in (("text/repetition", "four-word sequences"), ("text/repeated_sentences", "sentences")):
        first, last = ends(series.get(name, ()), half)
        if last > first + MORE_REPETITION:
            return Finding(
                "length-by-repetition",
                words[-half][0],
                words[-1][0],
                f"texts have grown from {before:.0f} to {now:.0f} words, and {last:.0%} of their {what} have been read "
                f"before, where it was {first:.0%}",
                "The reward pays for padding: change rewards.judge, or give the prompts a length_range.",
            )
    return None


def judge_examiner_apart(series: Series) -> Finding | None:
    """The training judge sees progress while the examiner's grade falls.

    Two validations in a row are averaged, and the last two are held against the best two before them. The grade has to fall
    by four standard errors (validation/grade_error, as if the texts of two validations had nothing in common, which is
    cautious); over the same time mean rung plus mean reward has to rise.
    """
    pairs = _validation_pairs(series)
    if len(pairs) < 3:  # the last two validations, and two that are not among them
        return None
    now, best = pairs[-1], max(pairs[:-2], key=lambda pair: pair.grade)
    error = sqrt(now.error**2 + best.error**2)
    if best.grade - now.grade <= EXAMINER_ERRORS * error or now.progress - best.progress <= PROGRESS:
        return None
    return Finding(
        "judge-examiner-apart",
        best.step,
        now.step,
        f"from step {best.step} to {now.step} the examiner's grade fell from {best.grade:.2f} ± {best.error:.2f} to "
        f"{now.grade:.2f} ± {now.error:.2f}, while mean rung plus mean reward rose from {best.progress:.2f} to "
        f"{now.progress:.2f}",
        "The policy has learned to please rewards.judge alone: take the checkpoint of the best grade, and train with "
        "another judge or a panel.",
    )


class _Pair(NamedTuple):
    """Two validations in a row."""

    step: int
    """Of the second."""
    grade: float
    error: float
    """Standard error of `grade`."""
    progress: float
    """Mean rung faced plus mean reward in the steps of these validations: a rung more is worth as much as all reward."""


def _validation_pairs(series: Series) -> list[_Pair]:
    grades, errors = series.get("validation/grade", ()), dict(series.get("validation/grade_error", ()))
    rewards, rungs = dict(series.get("reward/mean", ())), dict(series.get("curriculum/mean_rung_faced", ()))
    pairs = []
    for (first, one), (second, other) in pairwise(grades):
        progress = [rewards[step] + rungs.get(step, 0.0) for step in (first, second) if step in rewards]
        if progress and first in errors and second in errors:
            error = sqrt(errors[first] ** 2 + errors[second] ** 2) / 2
            pairs.append(_Pair(second, (one + other) / 2, error, fmean(progress)))
    return pairs
