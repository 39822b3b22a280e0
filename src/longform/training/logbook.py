"""What every loop does around its steps: validate, record, save, watch and report."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from longform.curriculum.rules import Climb
from longform.monitors.finding import Finding
from longform.monitors.keywords import JudgedText, KeywordTally
from longform.monitors.watch import Watch
from longform.recipe.recipe import Recipe
from longform.records.rollouts import Promotion, Rollout, ValidationText
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.training.checkpoint import TrainingState
from longform.training.metrics import grade_error, judged_texts
from longform.training.validation import Validation


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


class Logbook:
    """The records of a run as it goes on.

    Args:
        recipe: of the run.
        run: where everything is written.
        state: what a checkpoint holds.
        validation: measured before the first step, when it is due, and after the last one; None: never.
        prompts: of the run.
        on_step: told of each step once it is on record.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunDirectory,
        state: TrainingState,
        validation: Validation | None,
        *,
        prompts: Sequence[PromptRow],
        on_step: Callable[[StepReport], None],
    ) -> None:
        self._recipe, self._run, self._state = recipe, run, state
        self._validation, self._on_step = validation, on_step
        if validation is not None and state.step == 0:
            metrics, texts = self._validate(0)
            run.database.record_step(0, seconds=0.0, metrics=metrics, validations=texts)
        series = {name: run.database.metric(name) for name in run.database.metric_names()}
        self._watch = Watch.over(series)
        self._requests = {it.id: it.request for it in prompts}
        self._keywords = KeywordTally.over(
            lambda step: self._judged(run.database.rollouts(step=step)), series, last=state.step
        )

    def close_step(
        self,
        step: int,
        *,
        began: float,
        metrics: dict[str, float],
        rollouts: Sequence[Rollout],
        prompts: Sequence[PromptRow],
        climbs: Sequence[Climb],
    ) -> None:
        """Commit the staged climbs, and put the step on record with the promotions among them.

        Args:
            step: that has been updated.
            began: `time.perf_counter` at its beginning.
            metrics: of its rollouts and its update.
            rollouts: of the step.
            prompts: of the run, by index.
            climbs: staged when the rewards came in.

        Raises:
            StoppedError: the disk is full.
        """
        state, last = self._state, self._recipe.run.steps
        promotions = [Promotion(step, prompts[it.prompt_index].id, it.rung) for it in state.curriculum.commit(climbs)]
        state.step = step
        metrics = {
            **metrics,
            **self._keywords.see(self._judged(rollouts)),
            "curriculum/mean_rung": float(state.curriculum.rungs.mean()),
            "curriculum/promotions": float(len(promotions)),
        }
        texts: list[ValidationText] = []
        if self._validation is not None and self._validation.is_due(step, last=last):
            validated, texts = self._validate(step)
            metrics |= validated
        self._run.database.record_step(
            step,
            seconds=time.perf_counter() - began,
            metrics=metrics,
            rollouts=rollouts,
            promotions=promotions,
            validations=texts,
        )
        if step % self._recipe.run.checkpoint_every == 0 or step == last:
            self._run.write_checkpoint(step, state.save, keep=self._recipe.run.keep_checkpoints)
        self._on_step(StepReport(step, last, metrics, self._watch.see(step, metrics)))

    def _judged(self, rollouts: Iterable[Rollout]) -> list[JudgedText]:
        return judged_texts(rollouts, self._requests, thinking=self._recipe.generation.think)

    def _validate(self, step: int) -> tuple[dict[str, float], list[ValidationText]]:
        assert self._validation is not None
        metrics, texts = self._validation.measure(self._state.models, step=step)
        return metrics | grade_error(texts), texts
