"""The Ray actor that owns a run on a cluster: its directory, its curriculum, and every call to a judge.

It lives on the node that started the run, where `run.sqlite` is on a local disk. The trainer and the reward workers find
it by name, so there is one rate limit, one cost meter and one writer for any number of workers. Steps are drawn, finalised
and committed here with the functions of the local engine; rungs change only at a commit, so a group has one reference.
"""

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longform.cluster.prompt_table import PromptTable
from longform.curriculum.criteria import judged_by
from longform.curriculum.schedule import Curriculum, PromptDraw, RungUpdate
from longform.endpoints.client import Endpoint
from longform.endpoints.errors import Cause, EndpointError
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec
from longform.recipe.begin import begin_run
from longform.recipe.recipe import Recipe
from longform.records.calls import CallTotals, ChatAnswer, SqliteCallLog
from longform.records.database import Promotion, RolloutRecord, ValidationText
from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder
from longform.rewards.reward import PromptVisit, RewardResults
from longform.rewards.reward_set import RewardSet, build_rewards, score_groups
from longform.rewards.settings import GroupSettings
from longform.steps.metrics import StepScores, finalize_step, validation_metrics
from longform.steps.recorder import RunRecorder, StepReport
from longform.text.structure import ParsedResponse, parse_response
from longform.wording import Wording


class CallFailure(NamedTuple):
    """Why a judge call failed, or why the run has to stop, as a value: Ray would wrap an exception."""

    message: str
    cause: Cause | None = None
    """Of a failed call; None if the run has to stop."""
    request_hash: str = ""
    needs_fix: bool = False
    """The run has to stop because of a configuration error, rather than resumably."""


class Opened(NamedTuple):
    """What a reward worker needs to know about a run."""

    recipe: Recipe
    secret: bytes
    judges: Mapping[str, ModelSpec]
    folder: Path
    """Base of the recipe's relative paths."""
    wording: int
    """Version of the judges' questions."""


class RunActor:
    """The owner of a run. Call `open` once before any other method."""

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
        """Open the run directory and prepare everything else.

        Args:
            recipe: of the run.
            judges: all models that it calls, by name.
            data: the Parquet file of its prompts.
            keys: of the endpoints, by environment variable; kept only in the memory of this process.
            resume: whether to resume an existing run.
            folder: base of the recipe's relative paths; on an existing cluster actors start in another folder.

        Raises:
            BadInputError: the directory cannot be used, or holds a run with other settings.
        """
        os.environ.update(keys)
        os.chdir(folder)
        self._run = RunDirectory.open(recipe.run_path)
        self._wording = begin_run(self._run, recipe, resume=resume)
        self._recipe, self._judges = recipe, judges
        self._prompts = PromptTable(data)
        self._curriculum = Curriculum.of(
            self._prompts.ladders(),
            recipe.curriculum,
            policy=recipe.policy_name,
            seed=recipe.run.seed,
            steps=recipe.run.steps,
            criteria=self._prompts.criteria_counts() if recipe.curriculum.criteria != "all" else (),
        )
        self._log = SqliteCallLog(self._run.database_path)
        totals = self._log.totals()
        self._budget = Budget(
            recipe.run.budget,
            spent=totals.cost,
            unknown=totals.unknown_costs,
            estimated=totals.estimated_costs,
            resume="--resume and a larger run.budget",
        )
        self._endpoints = {
            name: Endpoint(name, spec, call_log=self._log, budget=self._budget) for name, spec in judges.items()
        }
        self._group_rewards = build_group_rewards(
            recipe, self._endpoints, secret=self._log.secret(), wording=self._wording
        )
        self._staged: tuple[int, list[RungUpdate]] = (0, [])
        self._promotions: list[Promotion] = []
        self._validated: dict[str, ValidationText] = {}
        self._reports: list[StepReport] = []
        self._recorded: dict[str, float] = {}
        self._start_recorder()

    def _start_recorder(self) -> None:
        self._recorder = RunRecorder(
            self._run.database,
            self._curriculum,
            id_at=self._prompts.id_at,
            request_of=self._prompts.request_of,
            thinking=self._recipe.generation.think,
            steps=self._recipe.run.steps,
            show_every=self._recipe.run.show_every,
            spent=lambda: self._budget.spent,
        )

    async def opened(self) -> Opened:
        """What reward workers need."""
        return Opened(self._recipe, self._log.secret(), self._judges, Path.cwd(), self._wording.version)

    async def chat(
        self, name: str, messages: list[dict[str, str]], settings: dict[str, Any]
    ) -> ChatAnswer | CallFailure:
        """A judge's answer, see `Endpoint.chat`; errors are returned."""
        return await _returned(self._endpoints[name].chat(messages, **settings))

    async def score(self, name: str, ids: list[int]) -> ChatAnswer | CallFailure:
        """A served reward model's answer, see `Endpoint.score`; errors are returned."""
        return await _returned(self._endpoints[name].score(ids))

    async def draw(self, step: int, count: int) -> list[PromptDraw] | CallFailure:
        """The prompts of a step, with their current rungs."""
        try:
            return self._curriculum.draw(step, count)
        except StoppedError as error:
            return CallFailure(str(error))

    async def own_answer(self, digest: str) -> str:
        """The answer of an earlier response of the policy, by the hash of the whole response."""
        return parse_response(self._run.database.text(digest), self._recipe.generation.think).answer

    async def close(
        self,
        step: int,
        results: Sequence[RewardResults],
        draws: Sequence[PromptDraw],
        text_hashes: Sequence[str],
        left_out: np.ndarray,
        responses: Sequence[ParsedResponse],
    ) -> StepScores | CallFailure:
        """Finalise a step, see `steps.metrics.finalize_step`; its promotions are staged here until `commit`.

        Rewards that see whole groups are added here, from all groups at once: a group's responses may come from several
        reward workers.
        """
        if self._group_rewards is not None:
            try:
                prompts = [await self._in_step(it, step) for it in draws]
                results = await score_groups(self._group_rewards, prompts, responses, results)
            except StoppedError as error:
                return CallFailure(str(error))
            except BadInputError as error:
                return CallFailure(str(error), needs_fix=True)
        closed = finalize_step(
            results,
            draws,
            text_hashes,
            self._curriculum,
            weights=self._recipe.weights,
            kinds=self._recipe.kinds,
            min_responses=self._recipe.min_responses,
            left_out=left_out,
        )
        self._staged = (step, closed.updates)
        return closed

    async def _in_step(self, draw: PromptDraw, step: int) -> PromptVisit:
        prompt, reference = self._prompts.prompt_at(draw.prompt_index), ""
        if draw.own_text is not None:
            reference = await self.own_answer(draw.own_text)
        elif isinstance(prompt, Ladder):
            reference = prompt.references[min(draw.rung, len(prompt.references) - 1)].text
        return PromptVisit(judged_by(prompt, draw.criteria), reference, draw.rung, step)

    async def commit(self, step: int) -> int:
        """Apply the staged promotions of an updated step to the curriculum; returns their number."""
        staged, climbs = self._staged
        assert staged == step, f"step {step} is committed, but {staged} was finalised"
        self._promotions = self._recorder.commit(step, climbs)
        self._staged = (0, [])
        return len(self._promotions)

    async def record(
        self, step: int, *, seconds: float, metrics: dict[str, float], rollouts: list[RolloutRecord]
    ) -> None:
        """Record a step whose promotions are committed."""
        self._recorded = await asyncio.to_thread(
            self._recorder.record,
            step,
            seconds=seconds,
            metrics=metrics,
            rollouts=rollouts,
            promotions=self._promotions,
        )

    async def validated(self, text: ValidationText) -> None:
        """Keep a validation text and its grade until `finish`."""
        self._validated[text.prompt_id] = text

    async def finish(self, step: int, *, seconds: float, metrics: dict[str, float]) -> None:
        """Add what was measured after a step was recorded, such as its validation, and report the step.

        Before the first step, and again when a run is resumed, there is only a validation.
        """
        texts = [replace(it, step=step) for it in self._validated.values()]
        metrics = metrics | (validation_metrics(texts) if texts else {})
        self._run.database.extend_step(step, seconds=seconds, metrics=metrics, validations=texts)
        self._validated = {}
        if self._recorded:
            self._reports.append(self._recorder.report(step, self._recorded | metrics))
            self._recorded = {}

    async def reports(self, seen: int) -> list[StepReport]:
        """The reports of steps after the first `seen`."""
        return self._reports[seen:]

    async def state(self) -> bytes:
        """The curriculum, for a checkpoint; the texts that it refers to are flushed to disk first."""
        self._run.database.sync()
        return self._curriculum.state()

    async def restore(self, step: int, state: bytes | None, *, source: str) -> None:
        """Restore the checkpoint of `step`, or the start if `state` is None, and delete later records."""
        if state is not None:
            self._curriculum.restore(state, source=Path(source))
        self._run.database.roll_back_to(step)
        self._start_recorder()

    async def totals(self) -> tuple[CallTotals, float]:
        """Totals of all recorded calls, and the seconds spent in steps."""
        return self._log.totals(), self._run.database.seconds()

    async def release(self) -> None:
        """Close everything."""
        for endpoint in self._endpoints.values():
            await endpoint.close()
        self._log.close()
        self._run.close()


def build_group_rewards(
    recipe: Recipe, endpoints: Mapping[str, Endpoint], *, secret: bytes, wording: Wording
) -> RewardSet | None:
    """The rewards of a recipe that see whole groups; None if there are none."""
    settings = [it for it in recipe.rewards if isinstance(it, GroupSettings)]
    if not settings:
        return None
    return build_rewards(
        settings,
        endpoints,
        secret=secret,
        seed=recipe.run.seed,
        wording=wording,
        flat_groups_only=recipe.data.flat_groups is not None,
        promotes_best=recipe.curriculum.promote_by == "sample",
    )


async def _returned(answer: Awaitable[ChatAnswer]) -> ChatAnswer | CallFailure:
    try:
        return await answer
    except EndpointError as error:
        return CallFailure(str(error), error.cause, error.request_hash)
    except StoppedError as error:
        return CallFailure(str(error))
    except BadInputError as error:
        return CallFailure(str(error), needs_fix=True)
