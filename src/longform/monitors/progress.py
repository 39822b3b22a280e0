"""Signatures in a run's progress: a curriculum that stalls, and gains that only the training judge confirms."""

from itertools import pairwise
from math import inf, sqrt
from statistics import fmean
from typing import NamedTuple

from longform.monitors.series import VERDICTS, Finding, Series, Window, pooled_share, values

PLATEAU_STEPS = 32
"""Number of steps without progress that make a plateau, four times the window of other findings."""
PLATEAU_VERDICTS = 512
"""Minimum number of verdicts in these steps."""
BALANCED = (0.2, 0.8)
"""Range of the win rate in which the policy is neither far below its references nor far above them."""
FEW_PROMOTIONS = 0.02
"""Maximum promotions per win. With one win per promotion and groups of 32 of which half win, there are 0.06."""
FLAT_RUNG = 0.1
"""Maximum rise of the mean rung."""
MAX_AT_TOP = 0.9
"""Maximum fraction of prompts on their last rung; above it, promotions end because ladders do."""


def plateau_between_rungs(series: Series) -> Finding | None:
    """The policy wins a balanced share of its comparisons, but hardly any prompt is promoted for many steps."""
    counts = series.get(VERDICTS, ())[-PLATEAU_STEPS:]
    rungs = dict(series.get("curriculum/mean_rung", ())[-PLATEAU_STEPS:])
    at_top = series.get("curriculum/at_top", ())
    if len(counts) < PLATEAU_STEPS or not at_top or at_top[-1][1] > MAX_AT_TOP:
        return None
    window = Window(counts[0][0], counts[-1][0], len(counts), int(sum(count for _, count in counts)))
    share = pooled_share(series, "outcome/win", window)
    before, now = rungs.get(window.first), rungs.get(window.last)
    if window.cases < PLATEAU_VERDICTS or share is None or before is None or now is None:
        return None
    promotions = sum(values(series, "curriculum/promotions", window))
    is_flat = now - before < FLAT_RUNG and promotions <= FEW_PROMOTIONS * share * window.cases
    if not BALANCED[0] <= share <= BALANCED[1] or not is_flat:
        return None
    return Finding(
        "plateau-between-rungs",
        window.first,
        window.last,
        f"{share:.0%} of {window.cases} verdicts in {window} are wins, but only {promotions:.0f} prompts were promoted: the "
        f"mean rung went from {before:.2f} to {now:.2f}",
        "Lower curriculum.wins, or add references between the rungs (more competitors); check the order of the rungs with "
        "`longform ladders check`.",
    )


EXAMINER_ERRORS = 4.0
"""Minimum fall of the examiner's grade, in standard errors. The comparison is with the best of all earlier validations, and
choosing the best costs about one standard error."""
PROGRESS = 0.2
"""Minimum rise according to the training judge, in rungs: about three standard errors of 64 verdicts. Where no prompt
climbs, three standard errors of the rewards are enough if that is less: scores vary less than verdicts."""


def judge_examiner_apart(series: Series) -> Finding | None:
    """The training judge sees progress while the examiner's grade falls, or has not risen since the beginning."""
    return _grade_fell(series) or _gain_unconfirmed(series)


def _grade_fell(series: Series) -> Finding | None:
    """The examiner's grade falls from its best.

    Pairs of consecutive validations are averaged, and the latest pair is compared with the best earlier one. The grade must
    fall by four standard errors (validation/grade_error, treating validations as independent, which is conservative) while
    mean rung plus mean reward rises by more than noise. Scores relative to a group do not measure progress, so with a group
    reward and without promotions the fall alone is enough.
    """
    pairs = _validation_pairs(series)
    if len(pairs) < 3:  # the latest pair must not overlap with an earlier one
        return None
    now, best = pairs[-1], max(pairs[:-2], key=lambda pair: pair.grade)
    error = sqrt(now.error**2 + best.error**2)
    climbs = any(rung for _, rung in series.get("curriculum/mean_rung_faced", ()))
    is_relative = "group/judged" in series and not climbs
    rise = PROGRESS if climbs else min(PROGRESS, SURE * sqrt(now.progress_error**2 + best.progress_error**2))
    if best.grade - now.grade <= EXAMINER_ERRORS * error or (not is_relative and now.progress - best.progress <= rise):
        return None
    progress = (
        "while responses are rewarded for being better than others of their group"
        if is_relative
        else f"while mean rung plus mean reward rose from {best.progress:.2f} to {now.progress:.2f}"
    )
    return Finding(
        "judge-examiner-apart",
        best.step,
        now.step,
        f"from step {best.step} to {now.step} the examiner's grade fell from {best.grade:.2f} ± {best.error:.2f} to "
        f"{now.grade:.2f} ± {now.error:.2f}, {progress}",
        "The policy has learned to exploit rewards.judge: use the checkpoint with the best grade, and train with another "
        "judge or a panel.",
    )


class _ValidationPair(NamedTuple):
    """The mean of two consecutive validations."""

    step: int
    """Step of the second validation."""
    grade: float
    error: float
    """Standard error of `grade`."""
    progress: float
    """Mean rung plus mean reward at these steps; one rung counts as much as the full reward."""
    progress_error: float
    """Standard error of the mean reward; infinite if the spread was not recorded."""


def _validation_pairs(series: Series) -> list[_ValidationPair]:
    grades, errors = series.get("validation/grade", ()), dict(series.get("validation/grade_error", ()))
    rewards, rungs = dict(series.get("reward/mean", ())), dict(series.get("curriculum/mean_rung_faced", ()))
    spreads, counts = dict(series.get("reward/spread", ())), dict(series.get(VERDICTS, ()))
    pairs = []
    for (first, one), (second, other) in pairwise(grades):
        steps = [step for step in (first, second) if step in rewards]
        if steps and first in errors and second in errors:
            error = sqrt(errors[first] ** 2 + errors[second] ** 2) / 2
            progress = fmean(rewards[step] + rungs.get(step, 0.0) for step in steps)
            squares = [spreads[step] ** 2 / counts[step] for step in steps if step in spreads and counts.get(step)]
            noise = sqrt(sum(squares)) / len(steps) if len(squares) == len(steps) else inf
            pairs.append(_ValidationPair(second, (one + other) / 2, error, progress, noise))
    return pairs


MIN_VALIDATIONS = 4
"""Minimum number of validations: two at the beginning and two now."""
MIN_RUNGS = 1.0
"""Minimum progress in rungs plus reward after which the examiner's grade should have risen."""
MIN_REWARD = 0.3
"""The same where no prompt climbs and the reward alone can rise."""
UNCONFIRMED = 0.25
"""Upper bound of the examiner's gain, in grade points, below which its grade has not risen. The check needs three standard
errors below this value, which takes about 300 validation texts."""
SURE = 3.0
"""Number of standard errors between the examiner's gain and its upper bound, or that a rise of rewards must exceed."""


class ExaminedGain(NamedTuple):
    """The gain of a run according to the training judge and to the examiner, from its first to its latest validations."""

    first: int
    """Step of the first validation."""
    last: int
    progress: tuple[float, float]
    """Mean rung plus mean reward, before and now."""
    grade: tuple[float, float]
    """The examiner's mean grade, before and now."""
    error: float | None
    """Standard error of the grade's gain; None if it was not recorded."""
    validations: int

    def __str__(self) -> str:
        (low, high), (before, now) = self.progress, self.grade
        error = "" if self.error is None else f" ± {self.error:.2f}"
        return (
            f"from step {self.first} to {self.last} mean rung plus mean reward went from {low:.2f} to {high:.2f}, the "
            f"examiner's grade from {before:.2f} to {now:.2f} ({now - before:+.2f}{error})"
        )


def examined_gain(series: Series) -> ExaminedGain | None:
    """Return the gain under both judges, from the first and the latest two validations (one of each if there are fewer than
    four); None without two validations, or without rewards.
    """
    grades, errors = series.get("validation/grade", ()), dict(series.get("validation/grade_error", ()))
    rewards, rungs = series.get("reward/mean", ()), dict(series.get("curriculum/mean_rung_faced", ()))
    if len(grades) < 2 or not rewards:
        return None
    count = min(2, len(grades) // 2)
    by_step = dict(rewards)
    # The initial policy is validated before the first step, whose rewards are its own.
    by_step.setdefault(0, rewards[0][1])
    rungs.setdefault(0, rungs.get(rewards[0][0], 0.0))
    ends = grades[:count], grades[-count:]
    progress = [[by_step[step] + rungs.get(step, 0.0) for step, _ in end if step in by_step] for end in ends]
    if not all(progress):
        return None
    squares = [errors[step] ** 2 for end in ends for step, _ in end if step in errors]
    error = sqrt(sum(squares)) / count if len(squares) == 2 * count else None
    low, high = (fmean(it) for it in progress)
    before, now = (fmean(grade for _, grade in end) for end in ends)
    return ExaminedGain(grades[0][0], grades[-1][0], (low, high), (before, now), error, len(grades))


class GradedGain(NamedTuple):
    """The gain of a run according to an examiner with and without criteria, from its first to its latest validations."""

    first: int
    """Step of the first validation."""
    last: int
    with_criteria: tuple[float, float]
    """Mean grade, before and now."""
    without: tuple[float, float]
    error: float | None
    """Standard error of the gain without criteria; None if it was not recorded."""

    def __str__(self) -> str:
        (low, high), (before, now) = self.with_criteria, self.without
        error = "" if self.error is None else f" ± {self.error:.2f}"
        return (
            f"from step {self.first} to {self.last} the examiner's grade by criteria went from {low:.2f} to {high:.2f} "
            f"({high - low:+.2f}), without them from {before:.2f} to {now:.2f} ({now - before:+.2f}{error})"
        )


def criteria_gain(series: Series) -> GradedGain | None:
    """Return the gain with and without criteria, from the first and the latest two validations (one of each if there are
    fewer than four); None without two validations that graded in both ways (`validation.without_criteria`).
    """
    by_criteria, without = dict(series.get("validation/grade", ())), dict(series.get("validation/bare_grade", ()))
    errors = dict(series.get("validation/bare_grade_error", ()))
    steps = sorted(by_criteria.keys() & without.keys())
    if len(steps) < 2:
        return None
    count = min(2, len(steps) // 2)
    ends = steps[:count], steps[-count:]
    squares = [errors[step] ** 2 for end in ends for step in end if step in errors]
    low, high = (fmean(by_criteria[step] for step in end) for end in ends)
    before, now = (fmean(without[step] for step in end) for end in ends)
    error = sqrt(sum(squares)) / count if len(squares) == 2 * count else None
    return GradedGain(steps[0], steps[-1], (low, high), (before, now), error)


def _gain_unconfirmed(series: Series) -> Finding | None:
    """Clear progress since the beginning according to the training judge, while the examiner's grade has not risen."""
    gain = examined_gain(series)
    if gain is None or gain.validations < MIN_VALIDATIONS or gain.error is None or SURE * gain.error > UNCONFIRMED:
        return None
    best = max(_validation_pairs(series), key=lambda pair: pair.grade)
    if best.grade - gain.grade[0] > SURE * gain.error:
        return None  # the grade has risen; `_grade_fell` checks whether it falls again
    climbs = any(rung for _, rung in series.get("curriculum/mean_rung_faced", ()))
    rise = gain.progress[1] - gain.progress[0]
    at_most = gain.grade[1] - gain.grade[0] + SURE * gain.error
    if rise < (MIN_RUNGS if climbs else MIN_REWARD) or at_most >= UNCONFIRMED:
        return None
    return Finding(
        "judge-examiner-apart",
        best.step,
        gain.last,
        str(gain),
        "Only the training judge confirms the gain: read texts next to their verdicts, compare with further judges "
        "(`longform compare RUN@0 RUN --judge A B`), and train with another judge or a panel.",
    )
