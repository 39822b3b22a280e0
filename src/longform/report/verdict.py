"""What came out of a run, before any curve: the examiner's gain with its interval, and the failures that were found."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from longform.monitors.series import MIN_CASES, MIN_STEPS, Finding
from longform.monitors.watch import diagnose, is_too_early, unwatched
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.recorded_calls import find_call_log, model_changes, total_calls
from longform.records.run_directory import RunDirectory
from longform.records.run_list import RunSummary, summarize_run
from longform.statistics.bootstrap import Interval, clustered_interval

Tone = Literal["good", "bad", "open"]
"""`open`: nothing is shown in either direction."""
RunCondition = Literal["running", "stopped", "finished", "damaged", "diverged"]
UNREADABLE = "(cannot be read)"
DIVERGED = "diverged"
"""Name of the signature of a run whose policy fell apart."""
_RECENT = 10
"""Steps whose median time predicts the next ones."""


class ExaminerGain(NamedTuple):
    """The examiner's grades of the policy's texts after the last validation, less those of the initial policy."""

    interval: Interval
    """95%, resampled over prompts."""
    before: float
    after: float
    prompts: int
    first: int
    """Steps of both validations."""
    last: int


class RunVerdict(NamedTuple):
    """A run in short."""

    condition: RunCondition
    step: int
    steps: int | None
    seconds: float
    remaining: float | None
    """Seconds to the last step at the present speed; None if the run is not running or the number of steps is unknown."""
    gain: ExaminerGain | None
    """None without two validations of the same prompts."""
    findings: Sequence[Finding]
    model_changes: Sequence[str]
    unchecked: Mapping[str, str]
    """Signatures that could not be checked, with what they need."""
    cost: str
    """Money of the judge calls, for people."""
    too_early: str
    """Why most signatures cannot be checked yet; empty if they can."""

    @property
    def tone(self) -> Tone:
        """Whether the run looks like a success; a failure in its last steps outweighs a gain."""
        lasting = [it for it in self.findings if it.last >= self.step]
        if self.condition in ("diverged", "damaged") or (self.gain and self.gain.interval.high < 0):
            return "bad"
        if self.gain is None or not self.gain.interval.low > 0 or lasting:
            return "open"
        return "good"

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        if self.condition == "damaged":
            return "The records of this run are damaged."
        if self.gain is None:
            return "It is not known yet whether the texts improved: this takes two validations by an examiner."
        gain, low, high = self.gain.interval
        direction = "rose" if low > 0 else "fell" if high < 0 else "did not change beyond chance"
        interval = f"[{low:+.2f}, {high:+.2f}]"
        if math.isnan(low):
            direction, interval = "changed", "(no interval: too few prompts)"
        return (
            f"The examiner's mean grade {direction}: {gain:+.2f} {interval}, from {self.gain.before:.2f} to "
            f"{self.gain.after:.2f} over {self.gain.prompts} held-out prompts (steps {self.gain.first} to {self.gain.last})."
        )


def judge_path(path: Path) -> RunVerdict:
    """`judge_run` of a run directory that is not open."""
    with RunDirectory.read(path) as run:
        return judge_run(run)


def judge_run(run: RunDirectory) -> RunVerdict:
    """What came out of a run so far."""
    summary = summarize_run(run.path)
    series = run.database.metrics()
    findings = diagnose(series)
    verdicts = int(sum(count for _, count in series.get("reward/count", ())))
    needed = f"most checks need {MIN_STEPS} steps and {MIN_CASES} verdicts; the run has {summary.step} and {verdicts}"
    return RunVerdict(
        condition=_condition(summary, findings),
        step=summary.step,
        steps=summary.steps,
        seconds=summary.seconds,
        remaining=remaining_seconds(run, summary),
        gain=examiner_gain(run),
        findings=findings,
        model_changes=model_changes(find_call_log(run.path)),
        unchecked=unwatched(series),
        cost=total_cost(run),
        too_early=needed if is_too_early(series) else "",
    )


def examiner_gain(run: RunDirectory) -> ExaminerGain | None:
    """The examiner's gain from the first to the last validation, over the prompts that have a grade in both."""
    validated = [step for step, _ in run.database.metric("validation/no_grade")]
    if len(validated) < 2:
        return None
    before, after = (
        {it.prompt_id: it.grade for it in run.database.validations(step) if it.grade is not None}
        for step in (validated[0], validated[-1])
    )
    ids = sorted(before.keys() & after.keys())
    if not ids:
        return None
    interval = clustered_interval([after[it] - before[it] for it in ids], ids)
    means = [sum(grades[it] for it in ids) / len(ids) for grades in (before, after)]
    return ExaminerGain(interval, means[0], means[1], len(ids), validated[0], validated[-1])


def total_cost(run: RunDirectory) -> str:
    """Money of a run's judge calls, for people."""
    return total_calls(run.database_path).shown_cost


def remaining_seconds(run: RunDirectory, summary: RunSummary) -> float | None:
    """Seconds to the last step at the speed of the latest ones; None if the run is not running or cannot tell."""
    if summary.state != "running" or summary.steps is None or not summary.step:
        return None
    return median(run.database.step_seconds()[-_RECENT:]) * (summary.steps - summary.step)


def recipe_text(run: RunDirectory) -> str:
    """A run's recipe as it is stored; empty if there is none."""
    try:
        return run.recipe_path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError:
        return UNREADABLE


def stored_recipe(run: RunDirectory) -> Recipe | None:
    """The recipe of a run; None if it is missing or unreadable, which does not prevent a page about its records."""
    try:
        return load_stored_recipe(run.recipe_path, Recipe)
    except BadInputError:
        return None


def _condition(summary: RunSummary, findings: Sequence[Finding]) -> RunCondition:
    if any(it.name == DIVERGED and it.last >= summary.step for it in findings):
        return "diverged"
    return summary.state
