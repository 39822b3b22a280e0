"""How prompts are chosen, as flags of `longform select`."""

import re
from dataclasses import dataclass
from typing import Literal

from longform.records.errors import BadInputError

Strategy = Literal["margin", "difficulty", "random"]


@dataclass(frozen=True, slots=True)
class Floor:
    """The best competitor's lowest admissible score: a number, or a percentile of the best competitors of a group's prompts.

    Without `group_by` all prompts are one group. With it, a percentile drops the same share of each group.
    """

    value: float
    is_percentile: bool = False

    @classmethod
    def parse(cls, text: str) -> "Floor":
        """`4.5` is a score, `p20` the 20th percentile.

        Raises:
            BadInputError: it is neither.
        """
        found = re.fullmatch(r"(p?)([+-]?\d+(?:\.\d+)?)", text)
        if not found or (found[1] and not 0 <= float(found[2]) <= 100):
            raise BadInputError(f"--floor {text}: needs a score such as 4.5 or a percentile such as p20")
        return cls(float(found[2]), bool(found[1]))


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """The rule that turns grades into a training set (Writing-RL, margin-aware data selection)."""

    policy: str
    """The model to be trained, as its rows are named."""
    strategy: Strategy = "margin"
    """margin: most learning potential first. difficulty: lowest grade of the policy first. random: a seeded shuffle."""
    top_k: int | None = None
    """Prompts to keep; None keeps all that pass the floor."""
    group_by: str | None = None
    """A field, as `meta.FIELD`: its values are groups, each with `top_k` places, a floor and a panel of its own."""
    floor: Floor | None = None
    judges: tuple[str, ...] = ()
    """The judges whose grades are used; all where none is named. See `selection/scores.py` for incomplete grades."""
    samples: int | None = None
    """Samples of each model that are used, the first so many; None uses all. The paper has one.

    The best sample represents its model, so a model with more samples looks better than it is. The same number for all
    models compares like with like.
    """
    seed: int = 0
