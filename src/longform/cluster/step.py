"""A step on the cluster, finalised as the local engine does it: from scored responses to masks, advantages and records."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from longform.cluster.reward_payload import NOT_WRITTEN, RewardPayload
from longform.curriculum.schedule import PromptDraw
from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError, StoppedError
from longform.records.schemas import PromptRow
from longform.rewards.reward import RewardResults
from longform.rl.group_advantages import GroupAdvantages, group_advantages, learning_rows
from longform.rl.settings import GrpoSettings
from longform.steps.diversity import diversity_factors
from longform.steps.metrics import StepScores, check_judge_failure_rate, group_metrics, step_metrics
from longform.steps.recorder import record_rollout

_NAMES = {
    "actor/pg_loss": "policy/loss",
    "actor/entropy_loss": "policy/entropy",
    "actor/entropy": "policy/entropy",
    "actor/pg_clipfrac": "policy/clip_fraction",
    "actor/ppo_kl": "policy/kl_of_update",
    "actor/grad_norm": "policy/grad_norm",
    "actor/reward_kl_penalty": "policy/kl_to_start",
    "actor/kl_loss": "policy/kl_to_start",
    "critic/vf_loss": "critic/loss",
    "critic/grad_norm": "critic/grad_norm",
    "critic/vf_explained_var": "critic/explained_variance",
}
"""Names of verl's metrics in reports and monitors."""
MAX_LOST = 0.1
"""Tolerated fraction of a step's responses that verl's workers lose: single ones, not those of a dead worker."""
_TIMES = {"gen": "seconds/writing", "update_actor": "seconds/updating"}


class DrawnPrompt(NamedTuple):
    """A prompt of a step without its references, and its current reference."""

    draw: PromptDraw
    prompt: PromptRow
    reference: str


class ClusterStep(NamedTuple):
    """A finalised step. N rollouts, those of one prompt next to each other."""

    learning: np.ndarray
    """[N] bool: the rollouts that the update learns from."""
    advantages: np.ndarray | None
    """[N] for GRPO, 0 for masked rollouts. With PPO verl computes its own."""
    rollouts: list[RolloutRecord]
    metrics: dict[str, float]


def check_payloads(payloads: Sequence[RewardPayload], recipe: Recipe, *, step: int) -> None:
    """Stop a run whose responses cannot be scored any more.

    Raises:
        StoppedError: too many responses have no score, or the budget is spent.
        BadInputError: an endpoint is misconfigured.
    """
    for it in payloads:
        if it.stopped is not None:
            raise (BadInputError if it.needs_fix else StoppedError)(it.stopped)
    lost = sum(it.finish_reason == NOT_WRITTEN for it in payloads)
    if lost > MAX_LOST * len(payloads):
        raise StoppedError(
            f"step {step}: verl lost {lost} of {len(payloads)} responses; a reward or agent worker may be gone: "
            "--resume starts new ones"
        )
    check_results([it.results for it in payloads], recipe, step=step)


def check_results(results: Sequence[RewardResults], recipe: Recipe, *, step: int) -> None:
    """Stop a run whose judges have stopped working.

    Raises:
        StoppedError: too many responses have no score.
    """
    limit, setting = recipe.judge_failure_limit
    check_judge_failure_rate(results, step=step, limit=limit, setting=setting)


def cut_off(payloads: Sequence[RewardPayload], recipe: Recipe) -> np.ndarray:
    """[N] bool: responses to mask because they were cut off (`optim.overlong: mask`)."""
    leaves_out = isinstance(recipe.optim, GrpoSettings) and recipe.optim.overlong == "mask"
    return np.array([leaves_out and it.finish_reason == "length" for it in payloads])


def build_step(
    closed: StepScores, payloads: Sequence[RewardPayload], groups: Sequence[DrawnPrompt], recipe: Recipe, *, step: int
) -> ClusterStep:
    """What the trainer needs of a step that the run actor has finalised.

    Args:
        closed: the step.
        payloads: [N].
        groups: the prompts of the step, in order.
        recipe: of the run.
        step: its number.
    """
    each = [group for group in groups for _ in range(recipe.data.group)]
    rollouts = [
        record_rollout(
            closed.results[row],
            it.response,
            step=step,
            row=row,
            group=recipe.data.group,
            prompt_id=group.prompt.id,
            rung=group.draw.rung,
            text=it.text,
            reference=group.reference,
            tokens=it.tokens,
            finish_reason=it.finish_reason,
            reward=closed.reward(row),
        )
        for row, (it, group) in enumerate(zip(payloads, each, strict=True))
    ]
    metrics = step_metrics(rollouts, [it.prompt for it in each], [it.response for it in payloads], closed, recipe)
    if recipe.method == "ppo":
        return ClusterStep(closed.mask, None, rollouts, metrics)
    compared = _compare(closed, [it.response.answer for it in payloads], recipe)
    learning = learning_rows(compared, cut_off(payloads, recipe), recipe.grpo)
    advantages = np.where(learning, compared.advantages.reshape(-1), 0.0)
    return ClusterStep(learning, advantages, rollouts, metrics | group_metrics(compared))


def _compare(closed: StepScores, answers: Sequence[str], recipe: Recipe) -> GroupAdvantages:
    """Group advantages of a step, by the recipe."""
    size = recipe.data.group
    return group_advantages(
        closed.by_reward.reshape(-1, size, len(recipe.rewards)),
        closed.mask.reshape(-1, size),
        weights=recipe.weights,
        how=recipe.advantages,
        required=recipe.required,
        factors=diversity_factors(answers, recipe),
    )


def verl_metrics(metrics: Mapping[str, Any], timing: Mapping[str, float]) -> dict[str, float]:
    """What a run keeps of verl's metrics and times, by our names."""
    kept = {ours: float(metrics[theirs]) for theirs, ours in _NAMES.items() if theirs in metrics}
    return kept | {ours: float(timing[theirs]) for theirs, ours in _TIMES.items() if theirs in timing}
