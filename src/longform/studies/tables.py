"""The tables of a study."""

from collections.abc import Sequence

from longform.evaluation.tables import Cell, Column, NoInterval, Table
from longform.statistics.bootstrap import Interval
from longform.statistics.seeds import SeedMean
from longform.studies.history import count_changes
from longform.studies.results import StudyResults
from longform.studies.settings import StudyTable
from longform.studies.tasks import FinishedTask

_DIGITS = 3


def study_tables(results: StudyResults) -> list[Table]:
    """All tables: the means of the arms, the paired differences that are asked for, and the hypotheses."""
    study = results.plan.study
    tables = [
        table
        for asked in study.tables or [StudyTable()]  # an empty list asks for no other tables than the means
        for table in (
            mean_table(results, asked.columns or list(study.columns)),
            *difference_tables(results, asked),
        )
    ]
    if study.hypotheses:
        tables.append(hypothesis_table(results))
    first, *others = tables
    notes = [*first.notes, *_notes(results)]
    return [Table(first.title, first.columns, first.rows, notes), *others]


def mean_table(results: StudyResults, columns: Sequence[str]) -> Table:
    """The mean of every arm after its last step, in every column."""
    study = results.plan.study
    rows: list[list[Cell]] = []
    for arm in study.arms:
        means = [results.mean(column, arm) for column in columns]
        seeds = max((it.seeds for it in means if it is not None), default=0)
        rows.append([arm, *(None if it is None else _cell(it) for it in means), seeds])
    heads = [Column("arm", is_text=True), *(Column(it, _DIGITS) for it in columns), Column("seeds")]
    return Table(f"{study.study}: after the last step", heads, rows)


def difference_tables(results: StudyResults, asked: StudyTable) -> list[Table]:
    """For every column, the paired difference of every arm from one of them."""
    study, other = results.plan.study, asked.paired_with
    if other is None:
        return []
    heads = [
        Column("arm", is_text=True),
        Column("difference", _DIGITS),
        Column("outcome", is_text=True),
        Column("seeds"),
        Column("prompts"),
        Column("detectable", _DIGITS),
    ]
    tables = []
    for column in asked.columns or list(study.columns):
        rows: list[list[Cell]] = []
        for arm in study.arms:
            found = None if arm == other else results.difference(column, arm, other)
            if found is not None:
                mean = found.mean
                rows.append([arm, _cell(mean), str(found.outcome), mean.seeds, mean.prompts, found.detectable])
        if rows:
            notes = ["detectable: the true difference that this many seeds and prompts find 8 times out of 10"]
            tables.append(Table(f"{column}: difference from {other}, paired by seed and prompt", heads, rows, notes))
    return tables


def hypothesis_table(results: StudyResults) -> Table:
    """The conclusion about every hypothesis."""
    heads = [
        Column("hypothesis", is_text=True),
        Column("difference", _DIGITS),
        Column("conclusion", is_text=True),
        Column("smallest that matters", 2),
        Column("power", 2),
    ]
    rows: list[list[Cell]] = []
    for it in results.verdicts():
        difference = None if it.difference is None else _cell(it.difference.mean)
        named = f"{it.hypothesis.claim}: {it.hypothesis.larger} above {it.hypothesis.smaller} in {it.hypothesis.column}"
        if it.hypothesis.beyond is not None:
            named += f", more than in {it.hypothesis.beyond}"
        rows.append([named, difference, str(it.finding), it.hypothesis.difference, it.power])
    notes = ["power: the probability with which these seeds and prompts find the smallest difference that matters"]
    return Table("Hypotheses", heads, rows, notes + _changes(results))


def _cell(mean: SeedMean) -> Interval | NoInterval:
    if mean.interval.low <= mean.interval.high:
        return mean.interval
    return NoInterval(mean.interval.estimate, "a single value")


def _notes(results: StudyResults) -> list[str]:
    plan = results.plan
    notes = ["95% intervals over seeds and prompts (t; with shared prompts both vary)"]
    if len(plan.study.seeds) == 1:
        notes.append("one seed: the intervals say nothing about other seeds")
    unrecorded = [it for it in results.missing if it.metric is not None and FinishedTask.read(plan.folder, it.task)]
    if unfinished := len(results.missing) - len(unrecorded):
        notes.append(f"{unfinished} of {len(plan.measurements)} measurements are missing: the study is not finished")
    for metric in sorted({it.metric for it in unrecorded if it.metric is not None}):
        steps = sorted({it.step for it in unrecorded if it.metric == metric})
        notes.append(f"finished runs have no metric {metric} at step {', '.join(map(str, steps))}")
    return notes + _changes(results)


def _changes(results: StudyResults) -> list[str]:
    changes = count_changes(results.plan)
    return [f"the study file was changed {changes} time{'s' * (changes > 1)} after its first run"] if changes else []
