"""Group-relative policy optimisation with several rewards in balance (LongWriter-Zero), in one process.

One step, read from top to bottom in `train_grpo`: draw prompts; write a group of responses to each, rewarded while the
others are still being written; close the step (scores, mask, staged promotions); compare each response with its group,
one reward at a time; update the policy in mini-batches; commit the promotions. There is no critic, and without a KL penalty
no reference model. Shapes: B rollouts, T response tokens.
"""

import time
from functools import partial

import numpy as np
import torch

from longform.curriculum.schedule import Faced
from longform.recipe.recipe import Recipe
from longform.rewards.closing import check_verdict_rate, close_step
from longform.rewards.group_advantages import group_advantages, learning_rows
from longform.rewards.rewarded import ScoreSheet
from longform.rl.losses import masked_mean
from longform.steps.metrics import group_metrics, step_metrics
from longform.training.batch import measure_in_pieces
from longform.training.checkpoint import TrainingState
from longform.training.forward import response_log_probs
from longform.training.logbook import Logbook
from longform.training.rollouts import RolloutSource, WrittenRollout, make_batch
from longform.training.update import SHUFFLE, Targets, update


def train_grpo(recipe: Recipe, state: TrainingState, source: RolloutSource, logbook: Logbook) -> None:
    """Train from `state.step` to the last step of the recipe, writing records and checkpoints.

    Raises:
        StoppedError: too many verdicts failed, the budget is spent or the disk is full; the run can be resumed.
    """
    optim, models = recipe.grpo, state.models
    limit, setting = recipe.verdict_limit
    for step in range(state.step + 1, recipe.run.steps + 1):
        began = time.perf_counter()
        state.set_learning_rates(step, optim=optim, steps=recipe.run.steps)

        faced: list[Faced] = []
        rollouts: list[WrittenRollout] = []
        sheets: list[ScoreSheet] = []
        more, rounds, waited = state.curriculum.draw(step, recipe.data.per_step), 0, 0.0
        while True:
            # Write; each response is rewarded the moment it is finished.
            rollouts += source.write(models, more, step=step, first_row=len(rollouts))
            faced += more
            waiting_since = time.perf_counter()
            sheets += source.rewards()
            waited += time.perf_counter() - waiting_since

            # Close the step: no verdict is no loss, it only masks its rollout. Then compare within groups.
            check_verdict_rate([it.cause for it in sheets], step=step, limit=limit, setting=setting)
            hashes = [it.text_hash for it in rollouts]
            cut_off = np.array([it.written.finish_reason == "length" for it in rollouts])
            left_out = cut_off & (optim.overlong == "mask")
            closed = close_step(
                sheets,
                faced,
                hashes,
                state.curriculum,
                weights=recipe.weights,
                least=recipe.min_responses,
                left_out=left_out,
            )
            groups = group_advantages(
                closed.by_reward.reshape(len(faced), recipe.data.group, -1),
                closed.mask.reshape(len(faced), -1),
                weights=recipe.weights,
                how=recipe.advantages,
                required=recipe.required,
            )

            # Where asked for, further prompts take the place of those whose groups have no spread. What a judge has left
            # without a verdict is not refilled.
            missing = groups.flat - (len(faced) - recipe.data.per_step)
            if missing <= 0 or rounds == optim.resample:
                break
            rounds += 1
            drawn = {it.prompt_index for it in faced}
            more = state.curriculum.redraw(step, missing, round_=rounds, drawn=drawn)
            if not more:
                break
        written = time.perf_counter()

        # Update; the promotions that belong to it are committed below.
        batch = make_batch(rollouts, device=models.device)
        reference_log_probs = None
        if models.has_reference:
            log_probs = partial(response_log_probs, models.as_reference(), temperature=recipe.generation.temperature)
            with models.autocast():
                reference_log_probs = measure_in_pieces(
                    log_probs, batch, max_tokens=recipe.memory.max_tokens_per_microbatch
                )
        advantages = torch.from_numpy(groups.advantages).to(batch.mask).view(-1, 1) * batch.mask
        rows = torch.from_numpy(np.flatnonzero(learning_rows(groups, left_out, optim))).to(models.device)
        targets = Targets(advantages, reference_log_probs=reference_log_probs)
        shuffle = np.random.default_rng([recipe.run.seed, SHUFFLE, step])
        updated = update(state, batch, targets, rows, recipe=recipe, shuffle=shuffle)

        records = [it.record(step, row, sheets[row], reward=closed.reward(row)) for row, it in enumerate(rollouts)]
        metrics = {
            **step_metrics(records, [it.request for it in rollouts], sheets, closed, recipe),
            **group_metrics(groups),
            **updated,
            "seconds/writing": written - began - waited,
            "seconds/waiting_for_judge": waited,
            "seconds/updating": time.perf_counter() - written,
        }
        if reference_log_probs is not None:
            metrics["policy/kl_to_start"] = float(masked_mean(batch.log_probs - reference_log_probs, batch.mask))
        logbook.close_step(step, began=began, metrics=metrics, rollouts=records, climbs=closed.climbs)
