"""One step's rewards under the formulas that are in use: how far each reward is heard.

    python benchmarks/advantage_formulas.py

Two prompts, four responses each, three rewards. The writing reward's scale is that of a Bradley-Terry model, several times
the others'; in the second group the format reward has no spread. verl's GDPO is verl's own function (verl 0.9.1), on
responses of one token; TRL's `normalize_then_sum` is written out here from its definition: standard scores within groups
(+ 1e-4), summed, then standardised over the whole batch.
"""

import numpy as np
import torch
from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage

from longform.rl.group_advantages import group_advantages

KINDS = ("length", "format", "writing")
SCORES = np.array(
    [
        [[1.0, 1.0, -1.0], [0.6, 1.0, 0.5], [0.9, 0.0, 3.0], [0.2, 1.0, 1.5]],
        [[0.5, 1.0, 2.0], [0.5, 1.0, 2.2], [1.0, 1.0, 1.8], [0.8, 1.0, 2.0]],
    ]
)
"""[prompts, responses, rewards]"""


def main() -> None:
    """Print every response's advantage under each formula, and how each reward's standard scores correlate with them."""
    columns = {
        "balanced": ours("balanced"),
        "summed": ours("summed"),
        "TRL normalize_then_sum": trl_normalise_then_sum(),
        "verl GDPO": verl_gdpo(),
    }
    print("| prompt | length, format, writing | " + " | ".join(columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    for p, g in np.ndindex(SCORES.shape[:2]):
        scores = ", ".join(f"{it:g}" for it in SCORES[p, g])
        print(f"| {p + 1} | {scores} | " + " | ".join(f"{it[p, g]:+.2f}" for it in columns.values()) + " |")
    means = SCORES.mean(1, keepdims=True)
    for name, advantages in columns.items():
        heard = [np.corrcoef((SCORES - means)[0, :, k], advantages[0])[0, 1] for k in range(len(KINDS))]
        print(f"{name:24}" + "  ".join(f"{kind} {it:+.2f}" for kind, it in zip(KINDS, heard, strict=True)))


def ours(how) -> np.ndarray:
    """[P, G] of longform."""
    mask = np.ones(SCORES.shape[:2], dtype=bool)
    return group_advantages(SCORES, mask, weights=[1.0] * len(KINDS), how=how).advantages


def trl_normalise_then_sum() -> np.ndarray:
    """[P, G] of TRL 1.16 with `multi_objective_aggregation: normalize_then_sum` and weights of 1."""
    deviations = SCORES.std(1, ddof=1, keepdims=True)
    sums = ((SCORES - SCORES.mean(1, keepdims=True)) / (deviations + 1e-4)).sum(2)
    return (sums - sums.mean()) / (sums.std(ddof=1) + 1e-4)


def verl_gdpo() -> np.ndarray:
    """[P, G] of verl's function."""
    count = SCORES.shape[0] * SCORES.shape[1]
    found, _ = compute_gdpo_outcome_advantage(
        torch.zeros(count, 1),
        torch.ones(count, 1),
        np.repeat(np.arange(SCORES.shape[0]), SCORES.shape[1]).astype(str),
        config={"gdpo_reward_keys": list(KINDS)},
        non_tensor_batch={kind: SCORES[:, :, k].reshape(-1) for k, kind in enumerate(KINDS)},
        batch={"prompts": torch.zeros(count, 1), "attention_mask": torch.ones(count, 2, dtype=torch.int64)},
    )
    return found.reshape(SCORES.shape[:2]).numpy()


if __name__ == "__main__":
    main()
