"""Rescore a recorded run: how another judge, reward or curriculum rule scores the same texts.

Texts and prompts of each step are as recorded; everything else is recomputed step by step: rungs, verdicts, rewards,
promotions. Steps and secret are the run's, so an identical question is an identical request, whose recorded answer
costs nothing. The run is not modified; new calls are stored in `replay.sqlite` in its folder.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longform.curriculum.criteria import judged_by
from longform.curriculum.schedule import PromptDraw
from longform.endpoints.client import Endpoint
from longform.endpoints.concurrency import map_bounded
from longform.endpoints.limits import Budget
from longform.evaluation.replay.advantages import ReplayScores, left_out, replayed_advantages
from longform.evaluation.replay.inputs import ReplayInputs, check_replay
from longform.evaluation.replay.price import price_replay
from longform.recipe.begin import run_wording
from longform.recipe.recipe import Recipe
from longform.records.calls import CallLog, CallTotals, LayeredCallLog, SqliteCallLog
from longform.records.database import ComparedText, Promotion, RolloutRecord, text_hash
from longform.records.errors import StoppedError
from longform.records.files import write_rows
from longform.records.paths import check_out
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, PromptRow, Row, source_of
from longform.rewards.reward import (
    PromptVisit,
    ReadText,
    RewardResult,
    RewardResults,
    calls_of,
    missing_cause,
    outcome_of,
    scores_by_kind,
)
from longform.rewards.reward_set import RewardSet, build_rewards, score_groups
from longform.rewards.settings import GroupSettings
from longform.statistics.group_games import ComparisonMethod
from longform.steps.metrics import StepScores, finalize_step
from longform.text.structure import parse_response

CALLS = "replay.sqlite"
"""File in the run directory with the calls of all its replays."""
RETIRED = "retired"
"""Cause of a missing reward if the prompt had already retired in the replay and would not have been drawn."""


@dataclass(frozen=True, slots=True)
class ReplayedRollout:
    """A recorded response before and after rescoring."""

    step: int
    row: int
    prompt_id: str
    rung_before: int
    rung_after: int
    same_reference: bool
    """Whether the reference is the same; always True if prompts have no references."""
    asked_before: bool
    """Whether a judge was asked to compare it with the reference: with `curriculum.promote_by: sample`, that is the best
    response of a group alone."""
    asked_after: bool
    outcome_before: str | None
    outcome_after: str | None
    cause_before: str | None
    """Cause of a missing reward."""
    cause_after: str | None
    reward_before: float | None
    """The weighted mean of all rewards."""
    reward_after: float | None
    scores_before: dict[str, float] | None
    """Scores by kind of reward."""
    scores_after: dict[str, float] | None
    advantage_before: float | None
    """From `replayed_advantages`; None if the rollout is masked."""
    advantage_after: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """A run before and after, by rollout."""

    inputs: ReplayInputs
    steps: int
    """Number of replayed steps: all that were recorded at the start."""
    rollouts: list[ReplayedRollout]
    promotions_before: list[Promotion]
    """Promotions by step and prompt."""
    promotions_after: list[Promotion]
    rungs_before: np.ndarray
    """[prompts] rungs after the last step (see `ReplayInputs.have_rungs`)."""
    rungs_after: np.ndarray
    recorded: CallTotals
    """Totals of the requests behind the recorded rewards; those without an answer failed permanently."""
    replayed: CallTotals
    """Totals of the requests behind the new rewards, including recorded answers: the price without the record."""
    paid: CallTotals
    """Totals of the calls made by the replay."""

    @property
    def cached(self) -> int:
        """Number of answers behind the new rewards that came from the run's record or an earlier replay."""
        return self.replayed.answered - self.paid.answered


def replay(
    run: Path,
    *,
    judge: str | None = None,
    by: ComparisonMethod | None = None,
    overrides: Sequence[str] = (),
    models: Path | None = None,
    budget: float | None = None,
    out: Path | None = None,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] = lambda line: None,
) -> Replay:
    """Rescore a run's texts with another judge, reward, position or curriculum rule.

    Args:
        run: Run directory; the run may be in progress.
        judge: Replaces the judge of the only reward with a judge.
        by: Compares the responses of a group in this way, in place of the pairwise or group reward.
        overrides: `KEY=VALUE` in the recipe's rewards, advantages and curriculum.
        models: Path to models.yaml (default: the one of the run's recipe).
        budget: Stop before this replay's calls cost more than this.
        out: Output file with a row per rollout, before and after.
        progress: display of the progress.
        on_plan: Called before the first call with the price of the questions to each judge, as text.

    Raises:
        BadInputError: see `check_replay`; an endpoint is misconfigured, a ladder lacks the reference that the changed
            curriculum asks for, or `out` cannot be written.
        StoppedError: the budget is spent, or the run was rolled back meanwhile; answers are kept for the next replay.
    """
    if out is not None:
        check_out(out)
    with RunDirectory.read(run) as directory:
        inputs = check_replay(directory, overrides, judge=judge, by=by, models=models)
        meter = Budget(budget, resume="the same command, which resumes from the recorded answers")
        for name, price in price_replay(directory, inputs).items():
            on_plan(f"{name}: {price}")
        with progress(f"replaying {run}") as advance:
            replayed = asyncio.run(replay_steps(directory, inputs, budget=meter, on_progress=advance))
    if out is not None:
        write_rows(out, (Row(**asdict(it)) for it in replayed.rollouts))
    return replayed


async def replay_steps(run: RunDirectory, inputs: ReplayInputs, *, budget: Budget, on_progress: Progress) -> Replay:
    """Rescore the recorded rollouts of `run` step by step; those of a step concurrently.

    Args:
        run: Run directory, open for reading; if it is in progress, it is replayed up to its current last step.
        inputs: Inputs from `check_replay`.
        budget: Budget of the replay's calls.
        on_progress: Called with (steps done, steps).

    Raises:
        BadInputError: an endpoint is misconfigured, or a ladder lacks the reference that the changed curriculum names.
        StoppedError: the budget is exhausted, or the run was rolled back meanwhile; answers are kept for the next replay.
    """
    recipe, steps = inputs.replayed, run.database.last_step()
    before, after = inputs.curriculum(inputs.recorded), inputs.curriculum(recipe)
    prompts, group = inputs.prompts, recipe.data.group
    indices = {prompt.id: index for index, prompt in enumerate(prompts)}
    rollouts: list[ReplayedRollout] = []
    promotions: list[Promotion] = []
    recorded, replayed = [], []
    with SqliteCallLog(run.database_path) as finished, SqliteCallLog(run.path / CALLS) as growing:
        log, secret = LayeredCallLog(finished, growing), finished.secret()
        async with AsyncExitStack() as stack:
            endpoints = {
                name: await stack.enter_async_context(Endpoint(name, spec, call_log=log, budget=budget))
                for name, spec in inputs.judges.items()
            }
            rewards = build_rewards(
                recipe.rewards,
                endpoints,
                secret=secret,
                seed=recipe.run.seed,
                wording=run_wording(run),
                flat_groups_only=recipe.data.flat_groups is not None,
                promotes_best=recipe.curriculum.promote_by == "sample",
                policy=recipe.policy,
                trust_remote_code=recipe.trust_remote_code,
            )

            def read_answer(digest: str) -> str:
                return parse_response(run.database.text(digest), recipe.generation.think).answer

            for step in range(1, steps + 1):
                stored = list(run.database.rollouts(step=step))
                if not stored:
                    raise StoppedError(
                        f"{run.path}: was rolled back to before step {step} in the meantime; replay it again"
                    )
                # By group rather than by data.per_step: a step with dynamic sampling has more prompts.
                draws = [after.face(indices[it.prompt_id], step) for it in stored[::group]]
                references = _references(draws, prompts, group=group, read_text=read_answer)
                results = await _score(stored, references, rewards, recipe)
                hashes = [text_hash(it.text) for it in stored]
                closed = finalize_step(
                    results,
                    draws,
                    hashes,
                    after,
                    weights=recipe.weights,
                    kinds=recipe.kinds,
                    min_responses=recipe.min_responses,
                    left_out=left_out(stored, recipe),
                )
                climbed = {prompts[it.prompt_index].id: it.rung for it in after.commit(closed.updates)}
                promotions += [Promotion(step, prompt_id, rung) for prompt_id, rung in sorted(climbed.items())]
                rollouts += _compare(stored, references, closed, inputs)
                recorded.append(_totals(finished, [it.calls for it in stored]))
                replayed.append(_totals(log, [calls_of(it) for it in results]))
                on_progress(step, steps)
        paid = log.totals()
    on_record = [it for it in run.database.promotions() if it.step <= steps]
    for it in on_record:
        before.rungs[indices[it.prompt_id]] = it.rung
    return Replay(
        inputs, steps, rollouts, on_record, promotions, before.rungs, after.rungs, _sum(recorded), _sum(replayed), paid
    )


class _ReplayReference(NamedTuple):
    """The reference of one rollout in the replay."""

    prompt: PromptRow
    rung: int
    reference: str | None
    """Empty if the prompt has none. None: the prompt has retired."""


def _references(
    draws: Iterable[PromptDraw], prompts: Sequence[PromptRow], *, group: int, read_text: Callable[[str], str]
) -> list[_ReplayReference]:
    """Return the references of a step's rollouts, the same for all rollouts of a prompt."""
    references: list[_ReplayReference] = []
    for it in draws:
        prompt = prompts[it.prompt_index]
        if not isinstance(prompt, Ladder):
            reference = ""
        elif it.own_text is not None:
            reference = read_text(it.own_text)
        else:
            reference = prompt.references[it.rung].text if it.rung < len(prompt.references) else None
        references += [_ReplayReference(judged_by(prompt, it.criteria), it.rung, reference)] * group
    return references


async def _score(
    stored: Sequence[RolloutRecord], references: Sequence[_ReplayReference], rewards: RewardSet, recipe: Recipe
) -> list[RewardResults]:
    """Compute the rewards of a step's rollouts concurrently."""
    retired = {it.kind: RewardResult(None, cause=RETIRED) for it in recipe.rewards}
    results: list[RewardResults] = [retired] * len(stored)
    responses = [
        parse_response(it.text, recipe.generation.think)._replace(is_cut_off=it.finish_reason == "length")
        for it in stored
    ]

    async def score(row: int) -> None:
        (prompt, _, reference), step = references[row], stored[row].step
        if reference is not None:
            results[row] = await rewards.score(prompt, response=responses[row], reference=reference, step=step)

    await map_bounded(range(len(stored)), score, workers=len(stored))
    visits = [
        None if it.reference is None else PromptVisit(it.prompt, it.reference, it.rung, stored[0].step)
        for it in references[:: recipe.data.group]
    ]
    return await score_groups(rewards, visits, responses, results)


def _compare(
    stored: Sequence[RolloutRecord],
    references: Sequence[_ReplayReference],
    closed: StepScores,
    inputs: ReplayInputs,
) -> list[ReplayedRollout]:
    """Build the rollouts of a step with values before and after."""
    # Runs of older versions did not record the texts that calls compared.
    is_recorded = any(it.compared for it in stored)
    scored = [ReplayScores(closed.reward(row), scores_by_kind(it)) for row, it in enumerate(closed.results)]
    before = replayed_advantages(stored, [ReplayScores(it.reward, it.scores) for it in stored], inputs.recorded)
    after = replayed_advantages(stored, scored, inputs.replayed)
    return [
        ReplayedRollout(
            step=was.step,
            row=was.row,
            prompt_id=was.prompt_id,
            rung_before=was.rung,
            rung_after=replayed.rung,
            same_reference=was.reference == replayed.reference,
            asked_before=was.outcome is not None
            or _is_asked(
                inputs.recorded,
                replayed.prompt,
                was.rung,
                calls=was.calls,
                compared=was.compared or ({} if is_recorded else None),
            ),
            asked_after=outcome_of(now) is not None
            or (
                missing_cause(now) != RETIRED
                and _is_asked(
                    inputs.replayed,
                    replayed.prompt,
                    replayed.rung,
                    calls=calls_of(now),
                    compared={call: texts for it in now.values() for call, texts in (it.read or {}).items()},
                )
            ),
            outcome_before=was.outcome,
            outcome_after=outcome_of(now),
            cause_before=was.cause,
            cause_after=missing_cause(now),
            reward_before=was.reward,
            reward_after=scored[row].reward,
            scores_before=was.scores,
            scores_after=scores_by_kind(now),
            advantage_before=before[row],
            advantage_after=after[row],
        )
        for row, (was, replayed, now) in enumerate(zip(stored, references, closed.results, strict=True))
    ]


def _is_asked(
    recipe: Recipe,
    prompt: PromptRow,
    rung: int,
    *,
    calls: Sequence[str],
    compared: Mapping[str, Sequence[ComparedText | ReadText]] | None,
) -> bool:
    """Whether a judge was asked to compare a response, which has no outcome, with its reference.

    Args:
        recipe: Whose rewards scored it.
        prompt: Its prompt.
        rung: The rung that it faced.
        calls: Request hashes of the calls about it.
        compared: The texts of each call that compares a group; None if the run did not record them.
    """
    asking = [
        it
        for it in recipe.rewards
        if recipe.compares_with_references(it) and (it.sources is None or source_of(prompt) in it.sources)
    ]
    if not all(isinstance(it, GroupSettings) for it in asking):
        return True
    if compared is None:
        return bool(calls) and any(isinstance(it, GroupSettings) and it.by == "anchors" for it in asking)
    return bool(asking) and any(text.rung == rung for texts in compared.values() for text in texts)


def _totals(log: CallLog, calls: Iterable[Sequence[str]]) -> CallTotals:
    """Return the totals of the requests with these hashes, each counted once: identical requests of a step share a call."""
    requests = dict.fromkeys(request for several in calls for request in several)
    answers = [answer for answer in map(log.find, requests) if answer is not None]
    return CallTotals(
        calls=len(requests),
        answered=len(answers),
        prompt_tokens=sum(answer.prompt_tokens or 0 for answer in answers),
        completion_tokens=sum(answer.completion_tokens or 0 for answer in answers),
        thought_tokens=sum(answer.thought_tokens or 0 for answer in answers),
        cost=sum(answer.cost or 0.0 for answer in answers),
        unknown_costs=sum(answer.cost is None for answer in answers),
        estimated_costs=0,  # answers do not say; the log of the run does
    )


def _sum(totals: Sequence[CallTotals]) -> CallTotals:
    return CallTotals(*map(sum, zip(*totals, strict=True)))
