"""The progress of a study: tasks done by kind, time so far and remaining, and money."""

from collections.abc import Sequence
from typing import NamedTuple

from longform.evaluation.tables import Cell, Column, Table
from longform.records.calls import CallTotals
from longform.studies.examine import AnswerExam, BenchExam, CompareExam, EloExam, GradeExam
from longform.studies.money import total_calls
from longform.studies.run import missing_tasks
from longform.studies.tasks import FinishedTask, StudyPlan, StudyTask
from longform.studies.work import (
    CriteriaWork,
    GradeWork,
    PoolWork,
    SelectWork,
    SftWork,
    TrainWork,
    WorldWork,
    WriteWork,
)

KINDS = {
    WorldWork: "world",
    PoolWork: "prompts",
    CriteriaWork: "criteria",
    SftWork: "fine-tuning",
    WriteWork: "responses",
    GradeWork: "grades",
    SelectWork: "selection",
    TrainWork: "training",
    GradeExam: "examination",
    CompareExam: "examination",
    EloExam: "examination",
    AnswerExam: "examination",
    BenchExam: "examination",
}


class KindStatus(NamedTuple):
    """The tasks of one kind."""

    kind: str
    done: int
    tasks: int
    seconds: float
    """Of those that are done, together."""

    @property
    def remaining(self) -> float | None:
        """Seconds for the others at the same pace, one after another; None while none is done."""
        if self.done == self.tasks:
            return 0.0
        return self.seconds / self.done * (self.tasks - self.done) if self.done else None


class StudyStatus(NamedTuple):
    """The progress of a study."""

    kinds: Sequence[KindStatus]
    next_task: StudyTask | None
    calls: CallTotals | None
    """Of all judges and writers, in the folder of the study; None without any."""

    @property
    def done(self) -> int:
        """Tasks that are done."""
        return sum(it.done for it in self.kinds)

    @property
    def tasks(self) -> int:
        """All tasks."""
        return sum(it.tasks for it in self.kinds)

    @property
    def table(self) -> Table:
        """The tasks by kind."""
        columns = [
            Column("tasks", is_text=True),
            Column("done"),
            Column("of"),
            Column("hours so far", 2),
            Column("remaining", 2),
        ]
        rows: list[list[Cell]] = [
            [it.kind, it.done, it.tasks, it.seconds / 3600, None if it.remaining is None else it.remaining / 3600]
            for it in self.kinds
        ]
        return Table("Tasks", columns, rows, ["remaining: hours at the same pace, one task after another"])


def study_status(plan: StudyPlan) -> StudyStatus:
    """Read the progress of a study, which may be running."""
    counts: dict[str, list[float]] = {kind: [0, 0, 0.0] for kind in dict.fromkeys(KINDS.values())}
    next_task, missing = None, {it.key for it in missing_tasks(plan)}
    for key, task in plan.tasks.items():
        of_kind = counts[KINDS[type(task.work)]]
        finished = None if key in missing else FinishedTask.read(plan.folder, key)
        of_kind[1] += 1
        if finished is not None:
            of_kind[0] += 1
            of_kind[2] += finished.seconds
        elif next_task is None:
            next_task = task
    kinds = [
        KindStatus(kind, int(done), int(tasks), seconds) for kind, (done, tasks, seconds) in counts.items() if tasks
    ]
    return StudyStatus(kinds, next_task, total_calls(plan.folder))
