"""A step on the cluster, closed as the local engine closes it: from scored responses to masks, advantages and records."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from longform.cluster.scored import NOT_WRITTEN, Scored
from longform.curriculum.schedule import Faced
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.rollouts import Rollout
from longform.records.schemas import PromptRow
from longform.steps.scores import ClosedStep, check_verdict_rate
from longform.rl.group_advantages import GroupAdvantages, group_advantages, learning_rows
from longform.rl.settings import GrpoSettings
from longform.steps.metrics import group_metrics, step_metrics
from longform.steps.rollout import record_rollout

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
"""verl's metrics, by what reports and monitors call them."""
MOST_LOST = 0.1
"""Share of a step's responses that may never come back from verl's workers: a lost one now and then, not a lost worker."""
_TIMES = {"gen": "seconds/writing", "update_actor": "seconds/updating"}


class FacedPrompt(NamedTuple):
    """A prompt of a step, without its references, and the one that it faces."""

    faced: Faced
    prompt: PromptRow
    reference: str


class ClusterStep(NamedTuple):
    """A closed step. N rollouts, those of a prompt side by side."""

    learning: np.ndarray
    """[N] bool: the rollouts that the update learns from."""
    advantages: np.ndarray | None
    """[N] of GRPO, 0 where a rollout takes no part. With PPO they are verl's own."""
    rollouts: list[Rollout]
    metrics: dict[str, float]


def check_scored(scored: Sequence[Scored], recipe: Recipe, *, step: int) -> None:
    """Stop a run that cannot be rewarded any more.

    Raises:
        StoppedError: too many responses have no score, or the budget is spent.
        BadInputError: an endpoint has to be mended.
    """
    for it in scored:
        if it.stopped is not None:
            raise (BadInputError if it.mends else StoppedError)(it.stopped)
    lost = sum(it.finish_reason == NOT_WRITTEN for it in scored)
    if lost > MOST_LOST * len(scored):
        raise StoppedError(
            f"step {step}: verl lost {lost} of {len(scored)} responses; a reward or agent worker may be gone: "
            "--resume starts new ones"
        )
    limit, setting = recipe.verdict_limit
    check_verdict_rate([it.sheet.cause for it in scored], step=step, limit=limit, setting=setting)


def cut_off(scored: Sequence[Scored], recipe: Recipe) -> np.ndarray:
    """[N] bool: the responses that are left out because they were cut off (`optim.overlong: mask`)."""
    leaves_out = isinstance(recipe.optim, GrpoSettings) and recipe.optim.overlong == "mask"
    return np.array([leaves_out and it.finish_reason == "length" for it in scored])


def build_step(
    closed: ClosedStep, scored: Sequence[Scored], groups: Sequence[FacedPrompt], recipe: Recipe, *, step: int
) -> ClusterStep:
    """What the trainer needs of a step that the run's host has closed.

    Args:
        closed: the step.
        scored: [N].
        groups: the prompts of the step, in order.
        recipe: of the run.
        step: its number.
    """
    each = [group for group in groups for _ in range(recipe.data.group)]
    rollouts = [
        record_rollout(
            it.sheet,
            step=step,
            row=row,
            prompt_id=group.prompt.id,
            rung=group.faced.rung,
            text=it.text,
            reference=group.reference,
            tokens=it.tokens,
            finish_reason=it.finish_reason,
            reward=closed.reward(row),
        )
        for row, (it, group) in enumerate(zip(scored, each, strict=True))
    ]
    metrics = step_metrics(rollouts, [it.prompt for it in each], [it.sheet for it in scored], closed, recipe)
    if recipe.method == "ppo":
        return ClusterStep(closed.mask, None, rollouts, metrics)
    compared = _compare(closed, recipe)
    learning = learning_rows(compared, cut_off(scored, recipe), recipe.grpo)
    advantages = np.where(learning, compared.advantages.reshape(-1), 0.0)
    return ClusterStep(learning, advantages, rollouts, metrics | group_metrics(compared))


def _compare(closed: ClosedStep, recipe: Recipe) -> GroupAdvantages:
    """The advantages within the groups of a step, as the recipe asks for them."""
    size = recipe.data.group
    return group_advantages(
        closed.by_reward.reshape(-1, size, len(recipe.rewards)),
        closed.mask.reshape(-1, size),
        weights=recipe.weights,
        how=recipe.advantages,
        required=recipe.required,
    )


def verl_metrics(metrics: Mapping[str, Any], timing: Mapping[str, float]) -> dict[str, float]:
    """What a run keeps of verl's metrics and times, by our names."""
    kept = {ours: float(metrics[theirs]) for theirs, ours in _NAMES.items() if theirs in metrics}
    return kept | {ours: float(timing[theirs]) for theirs, ours in _TIMES.items() if theirs in timing}
