"""The one process of a cluster that owns a run: its directory, its curriculum, and every call to a judge.

A Ray actor on the node that started the run, where `run.sqlite` stands on a local disk. The trainer and the reward workers
ask it by name, so there is one rate limit, one cost meter and one writer however many workers there are. A step is drawn,
closed and committed here with the pure functions that the local engine calls; between two commits the rungs stand still,
so what a group faces is read once.
"""

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longform.cluster.prompt_table import PromptTable
from longform.curriculum.rules import Climb
from longform.curriculum.schedule import Curriculum, Faced
from longform.endpoints.budget import Budget
from longform.endpoints.client import Endpoint
from longform.endpoints.errors import Cause, EndpointError
from longform.endpoints.models import ModelSpec
from longform.recipe.begin import begin_run
from longform.recipe.recipe import Recipe
from longform.records.calls import CallTotals, ChatAnswer, SqliteCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.rollouts import Promotion, Rollout, ValidationText
from longform.records.run_directory import RunDirectory
from longform.steps.scores import ClosedStep, close_step
from longform.rewards.reward import ScoreSheet
from longform.steps.journal import Journal, StepReport
from longform.steps.metrics import validation_metrics
from longform.text.structure import take_apart


class NoAnswer(NamedTuple):
    """Why a judge gave no answer, or why the run has to stop; exceptions do not travel between processes as they are."""

    message: str
    cause: Cause | None = None
    """Of one call that failed; None where the run has to stop."""
    request_hash: str = ""
    mends: bool = False
    """Of a run that has to stop: something has to be mended first."""


class Opened(NamedTuple):
    """What a reward worker needs to know of a run."""

    recipe: Recipe
    secret: bytes
    judges: Mapping[str, ModelSpec]
    folder: Path
    """That the recipe's paths are relative to."""


class RunHost:
    """See above. `open` comes first, once; everything else may be called by anybody."""

    async def open(
        self,
        recipe: Recipe,
        judges: Mapping[str, ModelSpec],
        *,
        data: Path,
        keys: Mapping[str, str],
        resume: bool,
        folder: Path,
    ) -> None:
        """Take the run for this process.

        Args:
            recipe: of the run.
            judges: every model that it asks, by name.
            data: the Parquet file of its prompts.
            keys: of the endpoints, by environment variable; kept in the memory of this process alone.
            resume: whether the run may exist already.
            folder: that the recipe's paths are relative to; on a cluster that stands already, actors begin elsewhere.

        Raises:
            BadInputError: the directory cannot be used, or holds another run.
        """
        os.environ.update(keys)
        os.chdir(folder)
        self._run = RunDirectory.open(recipe.run_path)
        begin_run(self._run, recipe, resume=resume)
        self._recipe, self._judges = recipe, judges
        self._prompts = PromptTable(data)
        self._curriculum = Curriculum.of(
            self._prompts.ladders(),
            recipe.curriculum,
            policy=recipe.policy_name,
            seed=recipe.run.seed,
            steps=recipe.run.steps,
        )
        self._log = SqliteCallLog(self._run.database_path)
        totals = self._log.totals()
        budget = Budget(
            recipe.run.budget,
            spent=totals.cost,
            unknown=totals.unknown_costs,
            resume="--resume and a larger run.budget",
        )
        self._endpoints = {
            name: Endpoint(name, spec, call_log=self._log, budget=budget) for name, spec in judges.items()
        }
        self._staged: tuple[int, list[Climb]] = (0, [])
        self._promotions: list[Promotion] = []
        self._validated: dict[str, ValidationText] = {}
        self._reports: list[StepReport] = []
        self._recorded: dict[str, float] = {}
        self._start_journal()

    def _start_journal(self) -> None:
        self._journal = Journal(
            self._run.database,
            self._curriculum,
            id_at=self._prompts.id_at,
            request_of=self._prompts.request_of,
            thinking=self._recipe.generation.think,
            steps=self._recipe.run.steps,
        )

    async def opened(self) -> Opened:
        """What reward workers need."""
        return Opened(self._recipe, self._log.secret(), self._judges, Path.cwd())

    async def chat(self, name: str, messages: list[dict[str, str]], settings: dict[str, Any]) -> ChatAnswer | NoAnswer:
        """A judge's answer, see `Endpoint.chat`; what would be raised there comes back."""
        return await _heard(self._endpoints[name].chat(messages, **settings))

    async def score(self, name: str, ids: list[int]) -> ChatAnswer | NoAnswer:
        """A served reward model's answer, see `Endpoint.score`; what would be raised there comes back."""
        return await _heard(self._endpoints[name].score(ids))

    async def draw(self, step: int, count: int) -> list[Faced] | NoAnswer:
        """The prompts of a step, with the rungs that they face."""
        try:
            return self._curriculum.draw(step, count)
        except StoppedError as error:
            return NoAnswer(str(error))

    async def own_answer(self, digest: str) -> str:
        """The answer of an earlier response of the policy, by the hash of the whole response."""
        return take_apart(self._run.database.text(digest), self._recipe.generation.think).answer

    async def close(
        self,
        step: int,
        sheets: Sequence[ScoreSheet],
        faced: Sequence[Faced],
        text_hashes: Sequence[str],
        left_out: np.ndarray,
    ) -> ClosedStep:
        """Close a step, see `rewards.closing.close_step`; its climbs stay staged here until `commit`."""
        closed = close_step(
            sheets,
            faced,
            text_hashes,
            self._curriculum,
            weights=self._recipe.weights,
            least=self._recipe.least_responses,
            left_out=left_out,
        )
        self._staged = (step, closed.climbs)
        return closed

    async def commit(self, step: int) -> int:
        """Write the staged climbs of an updated step into the curriculum; how many prompts were promoted."""
        staged, climbs = self._staged
        assert staged == step, f"step {step} is committed, and {staged} was closed"
        self._promotions = self._journal.commit(step, climbs)
        self._staged = (0, [])
        return len(self._promotions)

    async def record(self, step: int, *, seconds: float, metrics: dict[str, float], rollouts: list[Rollout]) -> None:
        """Put a step on record whose promotions are committed."""
        self._recorded = await asyncio.to_thread(
            self._journal.record,
            step,
            seconds=seconds,
            metrics=metrics,
            rollouts=rollouts,
            promotions=self._promotions,
        )

    async def validated(self, text: ValidationText) -> None:
        """Take note of a validation text and its grade."""
        self._validated[text.prompt_id] = text

    async def finish(self, step: int, *, seconds: float, metrics: dict[str, float]) -> None:
        """Add what was measured after a step went on record, its validation among it, and report the step.

        Before the first step, and once more when a run is resumed, there is only a validation.
        """
        texts = [replace(it, step=step) for it in self._validated.values()]
        metrics = metrics | (validation_metrics(texts) if texts else {})
        self._run.database.extend_step(step, seconds=seconds, metrics=metrics, validations=texts)
        self._validated = {}
        if self._recorded:
            self._reports.append(self._journal.report(step, self._recorded | metrics))
            self._recorded = {}

    async def reports(self, seen: int) -> list[StepReport]:
        """The reports of steps after the first `seen`."""
        return self._reports[seen:]

    async def state(self) -> bytes:
        """The curriculum, for a checkpoint; everything that it names is on the disk for good."""
        self._run.database.sync()
        return self._curriculum.state()

    async def restore(self, step: int, state: bytes | None, *, source: str) -> None:
        """Go back to the checkpoint of `step`, or to the start where `state` is None; later records are forgotten."""
        if state is not None:
            self._curriculum.restore(state, source=Path(source))
        self._run.database.roll_back_to(step)
        self._start_journal()

    async def totals(self) -> tuple[CallTotals, float]:
        """Of all calls on record, and the seconds spent in steps."""
        return self._log.totals(), self._run.database.seconds()

    async def release(self) -> None:
        """Let go of the run."""
        for endpoint in self._endpoints.values():
            await endpoint.close()
        self._log.close()
        self._run.close()


async def _heard(answer: Awaitable[ChatAnswer]) -> ChatAnswer | NoAnswer:
    try:
        return await answer
    except EndpointError as error:
        return NoAnswer(str(error), error.cause, error.request_hash)
    except StoppedError as error:
        return NoAnswer(str(error))
    except BadInputError as error:
        return NoAnswer(str(error), mends=True)
