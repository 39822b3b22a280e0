"""A stored run judged again: what another judge, reward or ladder rule would have made of the texts that were written.

The texts and the prompts of each step stay as they are on record; all else follows anew, step by step: the rung that each
prompt faces, the verdicts, the rewards, the promotions. Steps and secret are the run's, so an equal question is an equal
request: its recorded answer is found and costs nothing. The run is not written; new calls go to `replay.sqlite` beside it.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from longform.curriculum.schedule import Faced
from longform.endpoints.budget import Budget
from longform.endpoints.client import Endpoint
from longform.evaluation.replay_inputs import ReplayInputs
from longform.records.calls import CallLog, CallTotals, LayeredCallLog, SqliteCallLog
from longform.records.database import Promotion, Rollout, text_hash
from longform.records.errors import StoppedError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder
from longform.rewards.closing import close_step
from longform.rewards.judged import Reward, Rewarded, build_reward
from longform.selection.gathering import for_each
from longform.statistics.moments import shifted, whitened_means

CALLS = "replay.sqlite"
"""In the run directory: the calls of all its replays."""
RETIRED = "retired"
"""Why there is no reward where a prompt, in the replay, was done before: it would not have been drawn."""


@dataclass(frozen=True, slots=True)
class ReplayedRollout:
    """One response on record (before) and judged again (after)."""

    step: int
    row: int
    prompt_id: str
    rung_before: int
    rung_after: int
    same_reference: bool
    """Whether it was held against the same text."""
    outcome_before: str | None
    outcome_after: str | None
    cause_before: str | None
    """Why there is no reward."""
    cause_after: str | None
    reward_before: float | None
    reward_after: float | None
    advantage_before: float | None
    """Mean whitened advantage of its tokens; None where it is masked or the run kept no moments."""
    advantage_after: float | None
    """The same with the critic's values and the KL as they were."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A run before and after, rollout by rollout."""

    inputs: ReplayInputs
    steps: int
    """Replayed: all that were on record when it began."""
    rollouts: list[ReplayedRollout]
    promotions_before: list[Promotion]
    """By step and prompt."""
    promotions_after: list[Promotion]
    rungs_before: np.ndarray
    """[ladders] where the prompts stand after the last step; see `ReplayInputs.have_rungs`."""
    rungs_after: np.ndarray
    recorded: CallTotals
    """Of the requests behind the recorded rewards; those that are not among the answered failed for good."""
    replayed: CallTotals
    """Of the requests behind the new rewards, also where the answers were on record: the price if all had been asked."""
    paid: CallTotals
    """Of the calls that the replay made."""

    @property
    def cached(self) -> int:
        """Answers behind the new rewards that were on record, of the run or of an earlier replay."""
        return self.replayed.answered - self.paid.answered


async def replay(
    run: RunDirectory, inputs: ReplayInputs, *, budget: Budget, on_progress: Callable[[int, int], None]
) -> Replay:
    """Judge the recorded rollouts of `run` again, step by step; those of one step all at once.

    Args:
        run: open for reading; it may be growing, and is replayed up to its last step of now.
        inputs: of `check_replay`.
        budget: of the calls that the replay makes.
        on_progress: called with (steps done, steps).

    Raises:
        BadInputError: an endpoint needs mending, or a ladder lacks the reference that the changed curriculum asks for.
        StoppedError: the budget is spent, or the run was rolled back meanwhile; answers are kept for the next replay.
    """
    recipe, steps = inputs.replayed, run.database.last_step()
    before, after = inputs.curriculum(inputs.recorded), inputs.curriculum(recipe)
    indices = {ladder.id: index for index, ladder in enumerate(inputs.ladders)}
    rollouts: list[ReplayedRollout] = []
    promotions: list[Promotion] = []
    recorded, replayed = [], []
    with SqliteCallLog(run.database_path) as finished, SqliteCallLog(run.path / CALLS) as growing:
        log = LayeredCallLog(finished, growing)
        async with AsyncExitStack() as stack:
            endpoints = {
                name: Endpoint(name, spec, call_log=log, budget=budget) for name, spec in inputs.judges.items()
            }
            for endpoint in endpoints.values():
                await stack.enter_async_context(endpoint)
            reward = build_reward(recipe.rewards[0], endpoints, secret=finished.secret(), seed=recipe.run.seed)
            for step in range(1, steps + 1):
                stored = list(run.database.rollouts(step=step))
                if not stored:
                    raise StoppedError(f"{run.path}: was rolled back to before step {step} meanwhile; replay it again")
                faced = [after.face(indices[it.prompt_id], step) for it in stored[:: recipe.data.group]]
                judging = _references(faced, inputs.ladders, group=recipe.data.group, read_text=run.database.text)
                rewarded = await _judge(stored, judging, reward)
                closed = close_step(rewarded, faced, [text_hash(it.text) for it in stored], after)
                climbed = {inputs.ladders[it.prompt_index].id: it.rung for it in after.commit(closed.climbs)}
                promotions += [Promotion(step, prompt_id, rung) for prompt_id, rung in sorted(climbed.items())]
                rollouts += _compare(stored, judging, rewarded, decay=recipe.optim.gamma * recipe.optim.lam)
                recorded.append(_totals(finished, [it.calls for it in stored]))
                replayed.append(_totals(log, [it.calls for it in rewarded]))
                on_progress(step, steps)
        paid = log.totals()
    on_record = [it for it in run.database.promotions() if it.step <= steps]
    for it in on_record:
        before.rungs[indices[it.prompt_id]] = it.rung
    return Replay(
        inputs, steps, rollouts, on_record, promotions, before.rungs, after.rungs, _sum(recorded), _sum(replayed), paid
    )


class _Judging(NamedTuple):
    """What one rollout is held against in the replay."""

    ladder: Ladder
    rung: int
    reference: str | None
    """None: the prompt has retired."""


def _references(
    faced: Iterable[Faced], ladders: Sequence[Ladder], *, group: int, read_text: Callable[[str], str]
) -> list[_Judging]:
    """What the rollouts of a step face, each prompt's group the same."""
    judging: list[_Judging] = []
    for it in faced:
        ladder = ladders[it.prompt_index]
        if it.own_text is not None:
            reference = read_text(it.own_text)
        else:
            reference = ladder.references[it.rung].text if it.rung < len(ladder.references) else None
        judging += [_Judging(ladder, it.rung, reference)] * group
    return judging


async def _judge(stored: Sequence[Rollout], judging: Sequence[_Judging], reward: Reward) -> list[Rewarded]:
    """Rewards of a step's rollouts, asked for all at once."""
    rewarded = [Rewarded(None, None, RETIRED)] * len(stored)

    async def judge(row: int) -> None:
        (ladder, _, reference), rollout = judging[row], stored[row]
        if reference is not None:
            rewarded[row] = await reward.score(ladder, response=rollout.text, reference=reference, step=rollout.step)

    await for_each(range(len(stored)), judge, workers=len(stored))
    return rewarded


def _compare(
    stored: Sequence[Rollout], judging: Sequence[_Judging], rewarded: Sequence[Rewarded], *, decay: float
) -> list[ReplayedRollout]:
    """The rollouts of a step before and after."""
    before = _advantages(stored, [it.reward for it in stored], decay=decay)
    after = _advantages(stored, [it.score for it in rewarded], decay=decay)
    return [
        ReplayedRollout(
            step=was.step,
            row=was.row,
            prompt_id=was.prompt_id,
            rung_before=was.rung,
            rung_after=faces.rung,
            same_reference=was.reference == faces.reference,
            outcome_before=was.outcome,
            outcome_after=now.outcome,
            cause_before=was.cause,
            cause_after=now.cause,
            reward_before=was.reward,
            reward_after=now.score,
            advantage_before=before[i],
            advantage_after=after[i],
        )
        for i, (was, faces, now) in enumerate(zip(stored, judging, rewarded, strict=True))
    ]


def _advantages(stored: Sequence[Rollout], scores: Sequence[float | None], *, decay: float) -> list[float | None]:
    """Mean whitened advantages of a step had its rollouts got these scores; None where there is no score."""
    moments = [
        None
        if score is None or it.advantages is None
        else shifted(it.advantages, score - (it.reward or 0), decay=decay)
        for it, score in zip(stored, scores, strict=True)
    ]
    means = iter(whitened_means([it for it in moments if it is not None]))
    return [None if it is None else next(means) for it in moments]


def _totals(log: CallLog, calls: Iterable[Sequence[str]]) -> CallTotals:
    """Of the requests with these hashes, each counted once: equal questions of a step share one call."""
    requests = dict.fromkeys(request for several in calls for request in several)
    answers = [answer for answer in map(log.find, requests) if answer is not None]
    return CallTotals(
        calls=len(requests),
        answered=len(answers),
        prompt_tokens=sum(answer.prompt_tokens or 0 for answer in answers),
        completion_tokens=sum(answer.completion_tokens or 0 for answer in answers),
        cost=sum(answer.cost or 0.0 for answer in answers),
        unknown_costs=sum(answer.cost is None for answer in answers),
    )


def _sum(totals: Sequence[CallTotals]) -> CallTotals:
    return CallTotals(*map(sum, zip(*totals, strict=True)))
