"""What a response is worth by how much it differs from the others of its group (after DARLING, arXiv 2509.02534).

The paper multiplies quality by the share of the group in another equivalence class, told by a learned classifier. Here the
distance is lexical, so it needs no model.
"""

from collections.abc import Sequence

import numpy as np

from longform.recipe.recipe import Recipe
from longform.text.diversity import distance_factors


def diversity_factors(answers: Sequence[str], recipe: Recipe) -> np.ndarray | None:
    """Return the factors of the rewards of a step, [P, G]; None unless the recipe has `optim.diversity`.

    Args:
        answers: [P x G], those of a prompt adjacent.
        recipe: of the run, with method grpo.
    """
    if not recipe.grpo.diversity:
        return None
    group = recipe.data.group
    return np.array([distance_factors(answers[start : start + group]) for start in range(0, len(answers), group)])
