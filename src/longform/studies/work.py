"""The tasks of a study that come before its examinations: each fills one folder, is done once, and can be resumed."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from longform.endpoints.errors import describe_causes
from longform.engines import train
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, BudgetSpentError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.progress import ProgressDisplay
from longform.records.schemas import Prompt
from longform.selection.criteria import write_criteria
from longform.selection.generate import CollectResult, generate
from longform.selection.grade import grade
from longform.selection.pool import PoolSettings, gather
from longform.selection.select import select
from longform.selection.settings import SelectionSettings
from longform.studies.money import budget_beside, budget_of_log
from longform.training.supervised.sft_recipe import SftRecipe
from longform.writers.settings import Device, GenerationSettings, LocalOptions, Precision

PROMPTS, HELD_OUT, RESPONSES = "prompts.jsonl", "held-out.jsonl", "responses.jsonl"
"""Files of a step that collects prompts."""
MakeWorld = Callable[[Path, Mapping[str, Any], int], None]
"""Writes the miniature world's folder, from its settings and the seed."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task gets from the process that runs it."""

    make_world: MakeWorld | None
    progress: ProgressDisplay
    share: float | None = None
    """What the task may spend on calls from now on, in the currency of models.yaml; None: no budget."""


class Work(Protocol):
    """What a task does: it fills its folder, from where it was interrupted."""

    def do(self, folder: Path, context: TaskContext) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class WorldWork:
    """Writes the miniature world."""

    settings: Mapping[str, Any]
    seed: int

    def do(self, folder: Path, context: TaskContext) -> None:
        """Fill the folder."""
        assert context.make_world is not None, "checked before a study with a world is run"
        context.make_world(folder, self.settings, self.seed)


@dataclass(frozen=True, slots=True)
class PoolWork:
    """Collects prompts: prompts.jsonl, held-out.jsonl, and responses.jsonl if the sources have answers."""

    sources: tuple[str, ...]
    decontaminate: tuple[str, ...]
    settings: PoolSettings
    held_out: int

    def do(self, folder: Path, context: TaskContext) -> None:
        """Collect and split.

        Raises:
            BadInputError: fewer prompts are left than are to be held out.
        """
        with context.progress("collecting prompts") as advance:
            pool = gather(self.sources, self.settings, decontaminate=self.decontaminate, on_progress=advance)
        if len(pool.kept) <= self.held_out:
            raise BadInputError(f"held_out {self.held_out}: only {len(pool.kept)} prompts are left")
        aside = set(random.Random(self.settings.seed).sample(range(len(pool.kept)), self.held_out))
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / HELD_OUT, [it for index, it in enumerate(pool.prompts) if index in aside])
        write_rows(folder / PROMPTS, [it for index, it in enumerate(pool.prompts) if index not in aside])
        trained = {it.prompt.id for index, it in enumerate(pool.kept) if index not in aside}
        write_rows(folder / RESPONSES, [it for it in pool.responses if it.prompt_id in trained])


@dataclass(frozen=True, slots=True)
class CriteriaWork:
    """Writes prompts with criteria to `out`."""

    prompts: Path
    judge: str
    models: Path
    count: int
    out: Path

    def do(self, folder: Path, context: TaskContext) -> None:
        """Request the missing criteria.

        Raises:
            StoppedError: a prompt has no criteria; the next call asks again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        result = write_criteria(
            self.prompts,
            judge=self.judge,
            out=self.out,
            count=self.count,
            models=self.models,
            budget=budget_beside(self.out, context.share),
            progress=context.progress,
        )
        if result.failures:
            raise StoppedError(
                f"{self.out}: {result.failures.total()} prompts have no criteria; run the same command again"
            )


@dataclass(frozen=True, slots=True)
class SftWork:
    """Fine-tunes a model, in as many processes as the recipe is planned for; its `out` is in the folder."""

    recipe: SftRecipe

    def do(self, folder: Path, context: TaskContext) -> None:
        """Train, from where it was interrupted."""
        from longform.training.supervised.launch import launch_sft  # loads torch
        from longform.training.supervised.resumable import is_begun
        from longform.training.supervised.sft_run import run_sft

        if self.recipe.out.exists():
            return
        if self.recipe.devices.count > 1:
            launch_sft(self.recipe, folder)
            return
        folder.mkdir(parents=True, exist_ok=True)
        with context.progress("fine-tuning") as advance:
            run_sft(
                self.recipe,
                resume=is_begun(self.recipe),
                on_progress=lambda step, steps, loss: advance(step, steps),
            )


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that writes responses, with its settings."""

    source: str
    """A model's folder or Hub id, or a name in models.yaml."""
    name: str
    """The field `model` of its responses."""
    is_local: bool
    generation: GenerationSettings
    precision: Precision = "auto"
    device: Device = "auto"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """max_tokens, temperature and top_p; what is missing is left to the command, or to the entry in models.yaml."""

    @property
    def think(self) -> dict[str, Any]:
        """The think settings of a local model; empty for a served one."""
        if not self.is_local:
            return {}
        return {"think": self.generation.think, "think_prompt": self.generation.think_prompt}

    @property
    def options(self) -> LocalOptions | None:
        """How a local model is loaded; None for a served one."""
        if not self.is_local:
            return None
        generation = self.generation
        return LocalOptions(
            batch=generation.batch,
            device=self.device,
            precision=self.precision,
            chat_template=generation.chat_template,
            chat_template_kwargs=generation.chat_template_kwargs,
            stop=tuple(generation.stop),
            engine=generation.engine,
            server=generation.server,
        )


@dataclass(frozen=True, slots=True)
class WriteWork:
    """Writes responses to `out`."""

    writer: Writer
    prompts: Path
    out: Path
    models: Path
    seed: int
    samples: int
    limit: int | None = None
    """Only for the first prompts."""

    def do(self, folder: Path, context: TaskContext) -> None:
        """Write the missing responses."""
        folder.mkdir(parents=True, exist_ok=True)
        prompts = self.prompts
        if self.limit is not None:
            prompts = folder / "prompts.jsonl"
            write_rows(prompts, islice(read_rows(self.prompts, Prompt), self.limit))
        check_complete(
            generate(
                prompts,
                writer=self.writer.source,
                out=self.out,
                samples=self.samples,
                models=self.models,
                name=self.writer.name,
                local=self.writer.options,
                seed=self.seed,
                budget=None if self.writer.is_local else budget_beside(self.out, context.share),
                progress=context.progress,
                **self.writer.sampling,
                **self.writer.think,
            )
        )


@dataclass(frozen=True, slots=True)
class GradeWork:
    """Grades responses, in `out`."""

    responses: tuple[Path, ...]
    prompts: Path
    judge: str
    models: Path
    per_criterion: bool
    out: Path

    def do(self, folder: Path, context: TaskContext) -> None:
        """Request the missing grades."""
        folder.mkdir(parents=True, exist_ok=True)
        result = grade(
            self.responses,
            prompts=self.prompts,
            judge=self.judge,
            out=self.out,
            models=self.models,
            per_criterion=self.per_criterion,
            budget=budget_beside(self.out, context.share),
            progress=context.progress,
        )
        result.check()


@dataclass(frozen=True, slots=True)
class SelectWork:
    """Selects prompts and writes their ladders to `out`."""

    prompts: Path
    responses: tuple[Path, ...]
    grades: Path
    settings: SelectionSettings
    out: Path

    def do(self, folder: Path, context: TaskContext) -> None:  # noqa: ARG002
        """Select."""
        folder.mkdir(parents=True, exist_ok=True)
        select(
            prompts=self.prompts,
            responses=self.responses,
            grades=[self.grades],
            settings=self.settings,
            out=self.out,
        )


@dataclass(frozen=True, slots=True)
class TrainWork:
    """Trains a policy; the folder is the run directory."""

    recipe: Recipe

    def do(self, folder: Path, context: TaskContext) -> None:
        """Train, from the newest checkpoint."""
        limits = [self.recipe.run.budget, budget_of_log(folder / "run.sqlite", context.share)]
        budget = min((it for it in limits if it is not None), default=None)
        try:
            with context.progress("training") as advance:
                train(
                    self.recipe.changed("run.budget", budget),
                    resume=folder.exists(),
                    on_step=lambda report: advance(report.step, report.steps),
                )
        except BudgetSpentError as error:
            if budget == self.recipe.run.budget:
                raise StoppedError(f"run.budget: {error}") from error
            raise


def check_complete(result: CollectResult) -> None:
    """Check that no response is missing: arms compared on different prompts would mislead.

    Raises:
        StoppedError: some are missing; the next call asks for them again.
    """
    if result.failures:
        raise StoppedError(
            f"{result.out}: {result.failures.total()} responses are missing ({describe_causes(result.failures)}); run the "
            "same command again to retry"
        )
