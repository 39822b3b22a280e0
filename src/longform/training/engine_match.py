"""Mismatch between the trainer and the engine that sampled the tokens: measured, and corrected by importance weights."""

from typing import NamedTuple

from torch import Tensor

from longform.recipe.recipe import Recipe
from longform.rl.importance import measure_mismatch, truncated_weights
from longform.training.forward import Batch
from longform.training.models import PolicyModels


class EngineMatch(NamedTuple):
    """A batch with the trainer's log-probabilities, and how the engine's differed."""

    batch: Batch
    weights: Tensor | None
    """[B, T] importance weights of the tokens; None for the own engine, which needs none."""
    metrics: dict[str, float]


def match_engine(batch: Batch, models: PolicyModels, recipe: Recipe) -> EngineMatch:
    """Replace the engine's log-probabilities by the trainer's, with importance weights for the difference.

    The own engine computes them as the trainer does, and its batch stays as it is.
    """
    if recipe.generation.engine == "own":
        return EngineMatch(batch, None, {})
    log_probs_BT = models.policy_log_probs(
        batch, temperature=recipe.generation.temperature, max_tokens=recipe.memory.max_tokens_per_microbatch
    )
    apart = measure_mismatch(log_probs_BT, batch.log_probs, batch.mask)
    weights_BT = truncated_weights(log_probs_BT, batch.log_probs, batch.mask, cap=recipe.optim.importance_cap)
    metrics = {f"engine/{name}": value for name, value in apart._asdict().items()}
    return EngineMatch(batch._replace(log_probs=log_probs_BT), weights_BT, metrics)
