"""PPO against a ladder of references (Writing-RL), in one process.

Differences from textbook PPO:

- The score is a judge's verdict on the whole response against the current reference of its prompt, so it is given once,
  at the last token.
- A rollout without a verdict is masked out.
- The critic also sees the reference's score.
- A prompt whose response won moves to a stronger reference; this promotion is committed together with the update.

Shapes: B rollouts, T response tokens.
"""

import numpy as np
import torch

from longform.recipe.recipe import Recipe
from longform.rl.advantages import advantage_moments, generalised_advantages, kl_shaped_rewards, whitened
from longform.rl.losses import clipped_policy_loss, explained_variance, token_weights
from longform.steps.metrics import check_judge_failure_rate, finalize_step, kl_to_start, step_metrics
from longform.steps.recorder import RunRecorder
from longform.training.checkpoint import TrainingState
from longform.training.engine_match import match_engine
from longform.training.rollouts import RolloutGenerator, make_batch, record_rollouts
from longform.training.update import SHUFFLE, MicroBatch, mean_metrics, mini_batches, update_critic, update_policy


def train_ppo(recipe: Recipe, state: TrainingState, generator: RolloutGenerator, recorder: RunRecorder) -> None:
    """Train from `state.step` to the last step of the recipe, writing records and checkpoints.

    Raises:
        StoppedError: too many judge calls failed, the budget is spent or the disk is full; the run can be resumed.
    """
    optim, models, max_tokens = recipe.ppo, state.models, recipe.memory.max_tokens_per_microbatch
    for step in state.remaining(recipe.run.steps):
        with recorder.step(step) as record:
            state.set_learning_rates(step, optim=optim, steps=recipe.run.steps)

            # Generate; each response goes to the judge as soon as it is finished.
            with record.timer("writing"):
                draws = state.curriculum.draw(step, recipe.data.per_step)
                rollouts = generator.generate(draws, step=step)
            whole = make_batch(rollouts, device=models.device, packed=recipe.memory.packing)
            engine = match_engine(whole, models, recipe)
            batch = engine.batch

            # Compute values and reference log-probs while the last judge calls finish.
            values_BT = models.values(batch, max_tokens=max_tokens)
            reference_BT = models.reference_log_probs(
                batch, temperature=recipe.generation.temperature, max_tokens=max_tokens
            )
            with record.timer("waiting_for_judge"):
                results = generator.rewards()

            # Scores. A missing verdict masks the rollout; it never counts as a loss.
            limit, setting = recipe.judge_failure_limit
            check_judge_failure_rate(results, step=step, limit=limit, setting=setting)
            hashes = [it.text_hash for it in rollouts]
            scores = finalize_step(results, draws, hashes, state.curriculum, weights=recipe.weights, kinds=recipe.kinds)
            judged_B = torch.from_numpy(scores.mask).to(models.device)
            scores_B = torch.from_numpy(scores.scores).to(batch.mask)
            mask_BT = batch.mask * judged_B[:, None]

            # Advantages: the score at the last token, a KL penalty at every token, GAE, whitening.
            rewards_BT = kl_shaped_rewards(
                scores_B,
                batch.log_probs,
                batch.log_probs if reference_BT is None else reference_BT,
                batch.mask,
                kl_coefficient=optim.kl_coef,
            )
            raw_advantages_BT, returns_BT = generalised_advantages(
                rewards_BT, values_BT, batch.mask, gamma=optim.gamma, lam=optim.lam
            )
            advantages_BT = whitened(raw_advantages_BT, mask_BT)

            def policy_loss(
                log_probs_bt: torch.Tensor, micro: MicroBatch, advantages_BT: torch.Tensor = advantages_BT
            ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
                return clipped_policy_loss(
                    log_probs_bt,
                    micro.batch.log_probs,
                    micro.take(advantages_BT),
                    micro.policy_weights_bt,
                    clip=optim.clip,
                    dual_clip=optim.dual_clip,
                )

            # Update. Promotions are committed together with the step, when its record is written.
            stats: list[dict[str, float]] = []
            with record.timer("updating"), models.learning():
                for mini_batch in mini_batches(
                    batch,
                    judged_B.nonzero().flatten(),
                    size=recipe.mini_batch,
                    epochs=optim.epochs,
                    shuffle=np.random.default_rng([recipe.run.seed, SHUFFLE, step]),
                    importance_BT=engine.weights,
                    weigh=token_weights,
                    max_tokens=max_tokens,
                ):
                    stats.append(
                        update_critic(
                            models,
                            state.optimizers["critic"],
                            mini_batch,
                            values_BT,
                            returns_BT,
                            value_clip=optim.value_clip,
                            max_grad_norm=optim.max_grad_norm,
                        )
                    )
                    stats.append(
                        update_policy(
                            models,
                            state.optimizers["policy"],
                            mini_batch,
                            policy_loss,
                            temperature=recipe.generation.temperature,
                            entropy_coef=optim.entropy_coef,
                            max_grad_norm=optim.max_grad_norm,
                        )
                    )

            state.check_updates(stats, step=step)
            moments = advantage_moments(raw_advantages_BT, batch.mask, decay=optim.gamma * optim.lam)
            records = record_rollouts(rollouts, scores, step=step, group=recipe.data.group, advantages=moments)
            metrics = {
                **step_metrics(
                    records, [it.request for it in rollouts], [it.response for it in rollouts], scores, recipe
                ),
                **mean_metrics(stats),
                **engine.metrics,
                **kl_to_start(batch.log_probs, reference_BT, batch.mask),
                "critic/explained_variance": explained_variance(values_BT, returns_BT, mask_BT),
            }
            record.finish(records, metrics, scores.updates)
