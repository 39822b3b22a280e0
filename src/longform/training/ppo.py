"""Proximal policy optimisation against a ladder of references (Writing-RL), in one process.

One step, read from top to bottom in `train_ppo`: draw prompts and the rungs they face; write a response to each, judged
while the others are still being written; close the step (scores, mask, staged promotions); shape token rewards with the
KL to the frozen start; estimate advantages with the critic and whiten them; update policy and critic in mini-batches;
commit the promotions. Shapes: B rollouts, T response tokens.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from longform.monitors.finding import Finding
from longform.monitors.watch import Watch
from longform.recipe.recipe import Recipe
from longform.records.database import Promotion, text_hash
from longform.records.run_directory import RunDirectory
from longform.rewards.closing import check_verdict_rate, close_step
from longform.rl.advantages import advantage_moments, generalised_advantages, kl_shaped_rewards, whitened
from longform.rl.losses import explained_variance, masked_mean
from longform.training.batch import make_batch, measure_in_pieces
from longform.training.checkpoint import TrainingState
from longform.training.forward import response_log_probs, response_values
from longform.training.metrics import grade_error, rollout_metrics
from longform.training.rollouts import RolloutSource
from longform.training.update import Targets, update
from longform.training.validation import Validation

_SHUFFLE = 3  # stream of random draws


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
        reward = self.metrics.get("reward/mean")
        shown = "no verdict" if reward is None else f"reward {reward:.2f}"
        return f"{shown}  mean rung {self.metrics['curriculum/mean_rung']:.2f}"


def train_ppo(
    recipe: Recipe,
    run: RunDirectory,
    state: TrainingState,
    source: RolloutSource,
    validation: Validation | None,
    *,
    on_step: Callable[[StepReport], None],
) -> None:
    """Train from `state.step` to the last step of the recipe, writing records and checkpoints into `run`.

    Raises:
        StoppedError: too many verdicts failed, the budget is spent or the disk is full; the run can be resumed.
    """
    optim, temperature, models = recipe.optim, recipe.generation.temperature, state.models
    measure = partial(measure_in_pieces, most_tokens=recipe.memory.micro_tokens)
    if validation is not None and state.step == 0:
        grades, validated = validation.measure(models, step=0)
        run.database.record_step(0, seconds=0.0, metrics=grades | grade_error(validated), validations=validated)
    watch = Watch.over({name: run.database.metric(name) for name in run.database.metric_names()})
    for step in range(state.step + 1, recipe.run.steps + 1):
        began = time.perf_counter()
        state.set_learning_rates(step, optim=optim, steps=recipe.run.steps)

        # Write; each response goes to the judge the moment it is finished.
        faced = state.curriculum.draw(step, recipe.data.per_step)
        rollouts = source.write(models, faced, step=step)
        written = time.perf_counter()
        batch = make_batch(
            [it.prompt for it in rollouts],
            [it.written for it in rollouts],
            reference_scores=[it.reference_score for it in rollouts],
            device=models.device,
        )

        # Ask critic and reference model, while the last verdicts are under way.
        with models.autocast():
            values = measure(partial(response_values, models.as_critic()), batch)
            reference_log_probs = batch.log_probs
            if models.has_reference:
                log_probs = partial(response_log_probs, models.as_reference(), temperature=temperature)
                reference_log_probs = measure(log_probs, batch)
        waiting_since = time.perf_counter()
        rewarded = source.rewards()
        waited = time.perf_counter() - waiting_since

        # Close the step: no verdict is no loss, it only masks its rollout.
        check_verdict_rate([it.cause for it in rewarded], step=step, limit=recipe.rewards[0].max_no_verdict)
        closed = close_step(rewarded, faced, [text_hash(it.text) for it in rollouts], state.curriculum)
        judged = torch.from_numpy(closed.mask).to(batch.mask.device)
        mask = batch.mask * judged[:, None]
        scores = torch.from_numpy(closed.scores).to(batch.mask)

        # Advantages.
        rewards = kl_shaped_rewards(scores, batch.log_probs, reference_log_probs, batch.mask, kl_coefficient=optim.kl)
        advantages, returns = generalised_advantages(rewards, values, batch.mask, gamma=optim.gamma, lam=optim.lam)
        targets = Targets(whitened(advantages, mask), returns, values)

        # Update, then commit the promotions that belong to it.
        updating_since = time.perf_counter()
        shuffle = np.random.default_rng([recipe.run.seed, _SHUFFLE, step])
        rows = judged.nonzero().flatten()
        updated = update(state, batch, targets, rows, recipe=recipe, shuffle=shuffle)
        promotions = [
            Promotion(step, source.ladders[climb.prompt_index].id, climb.rung)
            for climb in state.curriculum.commit(closed.climbs)
        ]
        state.step = step

        metrics = {
            **rollout_metrics(rollouts, rewarded),
            **updated,
            "critic/explained_variance": explained_variance(values, returns, mask),
            "curriculum/mean_rung": float(state.curriculum.rungs.mean()),
            "curriculum/mean_rung_faced": float(np.mean([it.rung for it in faced])),
            "curriculum/promotions": float(len(promotions)),
            "seconds/writing": written - began,
            "seconds/waiting_for_judge": waited,
            "seconds/updating": time.perf_counter() - updating_since,
        }
        if models.has_reference:
            metrics["policy/kl_to_start"] = float(masked_mean(batch.log_probs - reference_log_probs, mask))
        validated = []
        if validation is not None and validation.is_due(step, last=recipe.run.steps):
            grades, validated = validation.measure(models, step=step)
            metrics |= grades | grade_error(validated)
        moments = advantage_moments(advantages, batch.mask, decay=optim.gamma * optim.lam)
        records = [rollout.record(step, row, rewarded[row], moments[row]) for row, rollout in enumerate(rollouts)]
        seconds = time.perf_counter() - began
        run.database.record_step(
            step, seconds=seconds, metrics=metrics, rollouts=records, promotions=promotions, validations=validated
        )
        if step % recipe.run.checkpoint_every == 0 or step == recipe.run.steps:
            run.write_checkpoint(step, state.save, keep=recipe.run.keep_checkpoints)
        on_step(StepReport(step, recipe.run.steps, metrics, watch.see(step, metrics)))
