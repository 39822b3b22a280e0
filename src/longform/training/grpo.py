"""GRPO with several balanced rewards (LongWriter-Zero), in one process.

Differences from textbook GRPO:

- Each reward is normalised within the group, and the results are averaged (`advantages: balanced`), so no reward
  dominates because of its scale.
- A rollout without a verdict is masked out, and a group with fewer than two other rollouts is skipped.
- There is no KL term unless `kl_coef` > 0.
- Groups whose rewards are all equal can be replaced by new prompts (DAPO's dynamic sampling).

Shapes: P prompts, G responses per prompt, K rewards, B = P x G rollouts, T response tokens.
"""

from typing import NamedTuple

import numpy as np
import torch

from longform.curriculum.schedule import PromptDraw
from longform.recipe.recipe import Recipe
from longform.rewards.reward import RewardResults
from longform.rl.group_advantages import GroupAdvantages, group_advantages, learning_rows
from longform.rl.losses import clipped_policy_loss, kl_penalty, sequence_weights, token_weights
from longform.steps.diversity import diversity_factors
from longform.steps.metrics import (
    StepScores,
    check_judge_failure_rate,
    finalize_step,
    group_metrics,
    kl_to_start,
    step_metrics,
)
from longform.steps.recorder import RunRecorder, StepRecord
from longform.training.checkpoint import TrainingState
from longform.training.engine_match import match_engine
from longform.training.rollouts import Rollout, RolloutGenerator, make_batch, record_rollouts
from longform.training.update import SHUFFLE, MicroBatch, mean_metrics, mini_batches, update_policy


def train_grpo(recipe: Recipe, state: TrainingState, generator: RolloutGenerator, recorder: RunRecorder) -> None:
    """Train from `state.step` to the last step of the recipe, writing records and checkpoints.

    Raises:
        StoppedError: too many judge calls failed, the budget is spent or the disk is full; the run can be resumed.
    """
    optim, models, max_tokens = recipe.grpo, state.models, recipe.memory.max_tokens_per_microbatch
    for step in state.remaining(recipe.run.steps):
        with recorder.step(step) as record:
            state.set_learning_rates(step, optim=optim, steps=recipe.run.steps)
            rollouts, scores, groups, left_out_B = collect_groups(recipe, state, generator, record, step=step)

            whole = make_batch(rollouts, device=models.device, packed=recipe.memory.packing)
            engine = match_engine(whole, models, recipe)
            batch = engine.batch
            advantages_BT = torch.from_numpy(groups.advantages).to(batch.mask).view(-1, 1) * batch.mask
            learning_B = torch.from_numpy(np.flatnonzero(learning_rows(groups, left_out_B, optim))).to(models.device)

            with record.timer("updating"):
                reference_BT = models.reference_log_probs(
                    batch, temperature=recipe.generation.temperature, max_tokens=max_tokens
                )

                def policy_loss(
                    log_probs_bt: torch.Tensor,
                    micro: MicroBatch,
                    advantages_BT: torch.Tensor = advantages_BT,
                    reference_BT: torch.Tensor | None = reference_BT,
                ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
                    loss, clip_fraction, kl = clipped_policy_loss(
                        log_probs_bt,
                        micro.batch.log_probs,
                        micro.take(advantages_BT),
                        micro.policy_weights_bt,
                        clip=optim.clip,
                        clip_high=optim.clip_high,
                    )
                    if reference_BT is not None:
                        loss = loss + optim.kl_coef * kl_penalty(
                            log_probs_bt, micro.take(reference_BT), micro.weights_bt
                        )
                    return loss, clip_fraction, kl

                # Update. Promotions are committed together with the step, when its record is written.
                with models.learning():
                    stats = [
                        update_policy(
                            models,
                            state.optimizers["policy"],
                            mini_batch,
                            policy_loss,
                            temperature=recipe.generation.temperature,
                            entropy_coef=optim.entropy_coef,
                            max_grad_norm=optim.max_grad_norm,
                        )
                        for mini_batch in mini_batches(
                            batch,
                            learning_B,
                            size=recipe.mini_batch,
                            epochs=optim.epochs,
                            shuffle=np.random.default_rng([recipe.run.seed, SHUFFLE, step]),
                            importance_BT=engine.weights,
                            weigh=sequence_weights if optim.loss == "sequence" else token_weights,
                            max_tokens=max_tokens,
                        )
                    ]

            state.check_updates(stats, step=step)
            records = record_rollouts(rollouts, scores, step=step, group=recipe.data.group)
            metrics = {
                **step_metrics(
                    records, [it.request for it in rollouts], [it.response for it in rollouts], scores, recipe
                ),
                **group_metrics(groups),
                **mean_metrics(stats),
                **engine.metrics,
                **kl_to_start(batch.log_probs, reference_BT, batch.mask),
            }
            record.finish(records, metrics, scores.updates)


class Groups(NamedTuple):
    """The rollouts of a step with their scores and advantages."""

    rollouts: list[Rollout]
    """[B], those of a prompt adjacent."""
    scores: StepScores
    advantages: GroupAdvantages
    left_out: np.ndarray
    """[B] bool: rollouts that take no part because they were cut off (`overlong: mask`)."""


def collect_groups(
    recipe: Recipe, state: TrainingState, generator: RolloutGenerator, record: StepRecord, *, step: int
) -> Groups:
    """Draw prompts, generate a group of responses to each, and compare each response with its group.

    Dynamic sampling (DAPO): with `optim.resample`, zero-variance groups are replaced by groups of new prompts. Groups
    lost to judge failures are not replaced.

    Raises:
        StoppedError: too many judge calls failed.
    """
    optim, (limit, setting) = recipe.grpo, recipe.judge_failure_limit
    draws: list[PromptDraw] = []
    rollouts: list[Rollout] = []
    results: list[RewardResults] = []
    new_draws = state.curriculum.draw(step, recipe.data.per_step)
    round_ = 0
    while True:
        round_ += 1
        # Generate; each response is rewarded as soon as it is finished.
        with record.timer("writing"):
            rollouts += generator.generate(new_draws, step=step, first_row=len(rollouts))
        draws += new_draws
        with record.timer("waiting_for_judge"):
            results += generator.rewards()

        # Scores. A missing verdict masks the rollout; it never counts as a loss.
        check_judge_failure_rate(results, step=step, limit=limit, setting=setting)
        left_out_B = np.array([it.is_cut_off and optim.overlong == "mask" for it in rollouts])
        scores = finalize_step(
            results,
            draws,
            [it.text_hash for it in rollouts],
            state.curriculum,
            weights=recipe.weights,
            kinds=recipe.kinds,
            min_responses=recipe.min_responses,
            left_out=left_out_B,
        )
        groups = group_advantages(
            scores.by_reward.reshape(len(draws), recipe.data.group, -1),
            scores.mask.reshape(len(draws), -1),
            weights=recipe.weights,
            how=recipe.advantages,
            required=recipe.required,
            factors=diversity_factors([it.response.answer for it in rollouts], recipe),
        )
        wanted = groups.flat - (len(draws) - recipe.data.per_step)
        if wanted <= 0 or round_ > optim.resample:
            break
        drawn = {it.prompt_index for it in draws}
        new_draws = state.curriculum.redraw(step, wanted, round_=round_, drawn=drawn)
        if not new_draws:
            break
    return Groups(rollouts, scores, groups, left_out_B)
