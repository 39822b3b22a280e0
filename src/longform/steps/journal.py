"""The journal of a run: every engine commits a step's promotions, puts it on record and watches it in the same way."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from longform.curriculum.rules import Climb
from longform.curriculum.schedule import Curriculum
from longform.monitors.finding import Finding
from longform.monitors.keywords import JudgedText, KeywordTally
from longform.monitors.watch import Watch
from longform.records.calls import CallTotals
from longform.records.database import RunDatabase
from longform.records.rollouts import Promotion, Rollout, ValidationText
from longform.steps.metrics import judged_texts
from longform.text.structure import Thinking


class StepReport(NamedTuple):
    """What a step tells the outside."""

    step: int
    steps: int
    metrics: dict[str, float]
    warnings: list[Finding]
    """Failures that begin with this step."""

    @property
    def note(self) -> str:
        """How it goes, in a few words."""
        reward, structure = self.metrics.get("reward/mean"), self.metrics.get("text/structure")
        shown = "no verdict" if reward is None else f"reward {reward:.2f}"
        kept = "" if structure is None else f"  structure {structure:.2f}"
        return f"{shown}{kept}  mean rung {self.metrics['curriculum/mean_rung']:.2f}"


class RunResult(NamedTuple):
    """A finished run."""

    path: Path
    policy_path: Path
    """The trained writer, in Hugging Face format."""
    steps: int
    seconds: float
    """Spent in its steps."""
    calls: CallTotals


class Journal:
    """The records of a run as it goes on, from the step that its database ends with.

    Args:
        database: of the run; the only thing that is written to.
        curriculum: promotions are committed to.
        id_at: the id of the prompt at an index.
        request_of: what a prompt asks for, by its id.
        thinking: what structure responses are asked to have.
        steps: of the run.
    """

    def __init__(
        self,
        database: RunDatabase,
        curriculum: Curriculum,
        *,
        id_at: Callable[[int], str],
        request_of: Callable[[str], str],
        thinking: Thinking,
        steps: int,
    ) -> None:
        self._database, self._curriculum = database, curriculum
        self._id_at, self._request_of = id_at, request_of
        self._thinking: Thinking = thinking
        self._steps = steps
        series = {name: database.metric(name) for name in database.metric_names()}
        self._watch = Watch.over(series)
        self._keywords = KeywordTally.over(
            lambda step: self._judged(database.rollouts(step=step)), series, last=database.last_step()
        )

    def commit(self, step: int, climbs: Sequence[Climb]) -> list[Promotion]:
        """Write the climbs of an updated step into the curriculum; the promotions that took effect."""
        committed = self._curriculum.commit(climbs)
        return [Promotion(step, self._id_at(it.prompt_index), it.rung) for it in committed]

    def record(
        self,
        step: int,
        *,
        seconds: float,
        metrics: dict[str, float],
        rollouts: Sequence[Rollout],
        promotions: Sequence[Promotion],
        validations: Sequence[ValidationText] = (),
    ) -> dict[str, float]:
        """Put a step on record, whole or not at all; its metrics, with those of its promotions and keywords.

        Args:
            step: whose promotions are committed.
            seconds: that it took.
            metrics: of its rollouts, its update and its validation.
            rollouts: of the step.
            promotions: that `commit` found.
            validations: texts that were graded after it.

        Raises:
            StoppedError: the disk is full.
        """
        metrics = {
            **metrics,
            **self._keywords.see(self._judged(rollouts)),
            "curriculum/mean_rung": float(self._curriculum.rungs.mean()),
            "curriculum/promotions": float(len(promotions)),
        }
        self._database.record_step(
            step, seconds=seconds, metrics=metrics, rollouts=rollouts, promotions=promotions, validations=validations
        )
        return metrics

    def report(self, step: int, metrics: dict[str, float]) -> StepReport:
        """What to tell of a step that is on record with all its metrics, each step once."""
        return StepReport(step, self._steps, metrics, self._watch.see(step, metrics))

    def _judged(self, rollouts: Iterable[Rollout]) -> list[JudgedText]:
        return judged_texts(rollouts, self._request_of, thinking=self._thinking)
