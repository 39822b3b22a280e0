"""The results of a study: means of arms, paired differences between them, and conclusions about its hypotheses.

Everything is read from the folder of the study; nothing is asked or trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt
from longform.statistics.power import detectable_difference, t_test_power
from longform.statistics.seeds import SeedMean, mean_over_seeds
from longform.studies.examine import VALUES, read_values
from longform.studies.settings import Hypothesis
from longform.studies.tasks import Measurement, StudyPlan

SeedValues = dict[int, dict[str, float]]
"""Seed -> prompt -> value."""
WHOLE_RUN = "run"
"""The prompt id under which a metric of a whole run is kept."""


class PairedOutcome(StrEnum):
    """The sign of a paired difference, by its interval."""

    HIGHER = "higher"
    LOWER = "lower"
    UNDECIDED = "undecided"
    """The interval contains 0."""
    UNKNOWN = "no interval"


class Conclusion(StrEnum):
    """The conclusion about a hypothesis."""

    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    """The interval contains 0."""
    CONTRADICTED = "contradicted"
    MISSING = "not measured"


class PairedDifference(NamedTuple):
    """An arm minus another one, over the seeds and prompts that both have."""

    mean: SeedMean
    detectable: float
    """The true difference that would have been found with a probability of .8."""

    @property
    def outcome(self) -> PairedOutcome:
        """Its sign, by the interval."""
        _, low, high = self.mean.interval
        if not low <= high:
            return PairedOutcome.UNKNOWN
        return PairedOutcome.HIGHER if low > 0 else PairedOutcome.LOWER if high < 0 else PairedOutcome.UNDECIDED


class TestedHypothesis(NamedTuple):
    """A hypothesis with the difference that was measured."""

    hypothesis: Hypothesis
    difference: PairedDifference | None
    power: float | None
    """Probability that the study detects the hypothesis' smallest relevant difference; None if it names none."""

    @property
    def finding(self) -> Conclusion:
        """The conclusion."""
        if self.difference is None or self.difference.outcome == PairedOutcome.UNKNOWN:
            return Conclusion.MISSING
        outcomes = {PairedOutcome.HIGHER: Conclusion.SHOWN, PairedOutcome.LOWER: Conclusion.CONTRADICTED}
        return outcomes.get(self.difference.outcome, Conclusion.NOT_SHOWN)


@dataclass(slots=True)
class StudyResults:
    """All values that a study has measured so far."""

    plan: StudyPlan
    at: dict[tuple[str, str, int], SeedValues] = field(default_factory=dict)
    """By column, arm and step."""
    last: dict[tuple[str, str], SeedValues] = field(default_factory=dict)
    """By column and arm, after the last step."""
    missing: list[Measurement] = field(default_factory=list)

    def mean(self, column: str, arm: str) -> SeedMean | None:
        """The mean of an arm after its last step; None if it was not measured."""
        values = self.last.get((column, arm))
        return mean_over_seeds(values) if values else None

    def difference(self, column: str, arm: str, other: str) -> PairedDifference | None:
        """An arm minus another one after their last steps; None if no seed has both."""
        return difference_of(self.last.get((column, arm), {}), self.last.get((column, other), {}))

    def interaction(self, hypothesis: Hypothesis) -> PairedDifference | None:
        """The difference in the hypothesis' column minus the difference in `beyond`, paired by seed.

        The two columns have different prompts, so each seed gives one value.
        """
        assert hypothesis.beyond is not None, "of an interaction"
        means: list[dict[int, float]] = []
        for column in (hypothesis.column, hypothesis.beyond):
            for arm in (hypothesis.larger, hypothesis.smaller):
                by_seed = self.last.get((column, arm), {})
                means.append({seed: fmean(values.values()) for seed, values in by_seed.items()})
        shared_seeds = set.intersection(*map(set, means))
        larger, smaller, larger_beyond, smaller_beyond = means
        values = {
            seed: {WHOLE_RUN: (larger[seed] - smaller[seed]) - (larger_beyond[seed] - smaller_beyond[seed])}
            for seed in sorted(shared_seeds)
        }
        return _paired(values) if values else None

    def curve(self, column: str, arm: str) -> dict[int, SeedMean]:
        """The means of an arm by step, ascending."""
        steps = sorted(step for name, of_arm, step in self.at if (name, of_arm) == (column, arm))
        return {step: mean_over_seeds(self.at[column, arm, step]) for step in steps}

    def verdicts(self) -> list[TestedHypothesis]:
        """Each hypothesis with its measured difference and power."""
        tested = []
        for hypothesis in self.plan.study.hypotheses:
            if hypothesis.beyond is None:
                measured = self.difference(hypothesis.column, hypothesis.larger, hypothesis.smaller)
            else:
                measured = self.interaction(hypothesis)
            power, smallest = None, hypothesis.difference
            if measured is not None and smallest is not None and measured.mean.freedom > 0:
                power = t_test_power(smallest, measured.mean.standard_error, measured.mean.freedom)
            tested.append(TestedHypothesis(hypothesis, measured, power))
        return tested


def read_results(plan: StudyPlan) -> StudyResults:
    """Read what was measured so far.

    Raises:
        BadInputError: a file of the study is damaged.
    """
    results = StudyResults(plan)
    series: dict[tuple[Path, str], dict[int, float]] = {}
    for it in plan.measurements:
        values = _read_examination(plan, it) if it.metric is None else _read_metric(plan, it, it.metric, series)
        if not values:
            results.missing.append(it)
            continue
        results.at.setdefault((it.column, it.arm, it.step), {})[it.seed] = values
        if it.is_last:
            results.last.setdefault((it.column, it.arm), {})[it.seed] = values
    return results


def difference_of(
    one: Mapping[int, Mapping[str, float]], other: Mapping[int, Mapping[str, float]]
) -> PairedDifference | None:
    """The paired difference of two arms' values, by seed and prompt; None if they have no seed and prompt in common."""
    differences = {
        seed: {prompt: values[prompt] - other[seed][prompt] for prompt in values.keys() & other[seed].keys()}
        for seed, values in one.items()
        if seed in other
    }
    differences = {seed: values for seed, values in differences.items() if values}
    return _paired(differences) if differences else None


def _paired(differences: SeedValues) -> PairedDifference:
    mean = mean_over_seeds(differences)
    return PairedDifference(mean, detectable_difference(mean.standard_error, mean.freedom))


def _read_examination(plan: StudyPlan, measurement: Measurement) -> dict[str, float]:
    """The values of an examination by prompt; empty if it is not done."""
    folder, prompts = plan.tasks[measurement.task].folder, measurement.prompts
    if not (folder / VALUES).exists():
        return {}
    try:
        values = read_values(folder)
    except BadInputError as error:
        raise BadInputError(f"{error}; delete this file and run the study again") from None
    if prompts is None:
        return values
    chosen = prompts_of_part(prompts, measurement.where, column=measurement.column)
    return {name: value for name, value in values.items() if name in chosen}


def prompts_of_part(prompts: Path, where: Mapping[str, Any], *, column: str) -> set[str]:
    """The ids of the prompts with these values of `meta`.

    Raises:
        BadInputError: there is none; names the column.
    """
    fields = {name.removeprefix("meta."): value for name, value in where.items()}
    chosen = {
        row.id
        for row in read_rows(prompts, Prompt)
        if all(row.meta.get(name) == value for name, value in fields.items())
    }
    if not chosen:
        wanted = ", ".join(f"{name}: {value}" for name, value in where.items())
        raise BadInputError(f"{prompts}: no prompt has {wanted}; change `where` of the column {column!r}")
    return chosen


def _read_metric(
    plan: StudyPlan, measurement: Measurement, metric: str, series: dict[tuple[Path, str], dict[int, float]]
) -> dict[str, float]:
    """The value of a run's metric at a step, empty if there is none; whole series are read once, into `series`."""
    folder = plan.tasks[measurement.task].folder
    if (folder, metric) not in series:
        if not (folder / "run.sqlite").exists():
            return {}
        with RunDirectory.read(folder) as run:
            series[folder, metric] = dict(run.database.metric(metric))
    value = series[folder, metric].get(measurement.step)
    return {} if value is None else {WHOLE_RUN: value}
