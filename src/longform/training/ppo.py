"""Proximal policy optimisation against a ladder of references (Writing-RL), in one process.

One step, read from top to bottom in `train_ppo`: draw prompts and the rungs they face; write a response to each, judged
while the others are still being written; close the step (scores, mask, staged promotions); shape token rewards with the
KL to the frozen start; estimate advantages with the critic and whiten them; update policy and critic in mini-batches;
commit the promotions. Shapes: B rollouts, T response tokens.
"""

import time
from functools import partial

import numpy as np
import torch

from longform.recipe.recipe import Recipe
from longform.rewards.closing import check_verdict_rate, close_step
from longform.rl.advantages import advantage_moments, generalised_advantages, kl_shaped_rewards, whitened
from longform.rl.losses import explained_variance, masked_mean
from longform.steps.metrics import step_metrics
from longform.training.batch import measure_in_pieces
from longform.training.checkpoint import TrainingState
from longform.training.forward import response_log_probs, response_values
from longform.training.logbook import Logbook
from longform.training.rollouts import RolloutSource, make_batch
from longform.training.update import SHUFFLE, Targets, update


def train_ppo(recipe: Recipe, state: TrainingState, source: RolloutSource, logbook: Logbook) -> None:
    """Train from `state.step` to the last step of the recipe, writing records and checkpoints.

    Raises:
        StoppedError: too many verdicts failed, the budget is spent or the disk is full; the run can be resumed.
    """
    optim, temperature, models = recipe.ppo, recipe.generation.temperature, state.models
    limit, setting = recipe.verdict_limit
    measure = partial(measure_in_pieces, max_tokens=recipe.memory.max_tokens_per_microbatch)
    for step in range(state.step + 1, recipe.run.steps + 1):
        began = time.perf_counter()
        state.set_learning_rates(step, optim=optim, steps=recipe.run.steps)

        # Write; each response goes to the judge the moment it is finished.
        faced = state.curriculum.draw(step, recipe.data.per_step)
        rollouts = source.write(models, faced, step=step)
        written = time.perf_counter()
        batch = make_batch(rollouts, device=models.device)

        # Ask critic and reference model, while the last verdicts are under way.
        with models.autocast():
            values = measure(partial(response_values, models.as_critic()), batch)
            reference_log_probs = batch.log_probs
            if models.has_reference:
                log_probs = partial(response_log_probs, models.as_reference(), temperature=temperature)
                reference_log_probs = measure(log_probs, batch)
        waiting_since = time.perf_counter()
        sheets = source.rewards()
        waited = time.perf_counter() - waiting_since

        # Close the step: no verdict is no loss, it only masks its rollout.
        check_verdict_rate([it.cause for it in sheets], step=step, limit=limit, setting=setting)
        hashes = [it.text_hash for it in rollouts]
        closed = close_step(sheets, faced, hashes, state.curriculum, weights=recipe.weights)
        judged = torch.from_numpy(closed.mask).to(models.device)
        mask = batch.mask * judged[:, None]
        scores = torch.from_numpy(closed.scores).to(batch.mask)

        # Advantages.
        rewards = kl_shaped_rewards(
            scores, batch.log_probs, reference_log_probs, batch.mask, kl_coefficient=optim.kl_coef
        )
        advantages, returns = generalised_advantages(rewards, values, batch.mask, gamma=optim.gamma, lam=optim.lam)
        targets = Targets(whitened(advantages, mask), returns, values)

        # Update; the promotions that belong to it are committed below.
        updating_since = time.perf_counter()
        shuffle = np.random.default_rng([recipe.run.seed, SHUFFLE, step])
        updated = update(state, batch, targets, judged.nonzero().flatten(), recipe=recipe, shuffle=shuffle)

        moments = advantage_moments(advantages, batch.mask, decay=optim.gamma * optim.lam)
        records = [
            it.record(step, row, sheets[row], reward=closed.reward(row), advantages=moments[row])
            for row, it in enumerate(rollouts)
        ]
        metrics = {
            **step_metrics(records, [it.request for it in rollouts], sheets, closed, recipe),
            **updated,
            "critic/explained_variance": explained_variance(values, returns, mask),
            "seconds/writing": written - began,
            "seconds/waiting_for_judge": waited,
            "seconds/updating": time.perf_counter() - updating_since,
        }
        if models.has_reference:
            metrics["policy/kl_to_start"] = float(masked_mean(batch.log_probs - reference_log_probs, mask))
        logbook.close_step(step, began=began, metrics=metrics, rollouts=records, climbs=closed.climbs)
