"""Settings of `longform select`."""

import re
from dataclasses import dataclass
from typing import Literal

from longform.records.errors import BadInputError

Strategy = Literal["margin", "difficulty", "random"]
"""Strategies of this package; `selection/strategy.py` loads others."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Minimum score of the best competitor: a number, or a percentile of the best competitors' scores within a group.

    Without `group_by`, all prompts are one group. With it, a percentile drops the same fraction of each group.
    """

    value: float
    is_percentile: bool = False

    @classmethod
    def parse(cls, text: str, *, place: str = "--floor") -> "Floor":
        """Parse a score such as `4.5` or a percentile such as `p20`; an error begins with `place`.

        Raises:
            BadInputError: the text is neither.
        """
        match = re.fullmatch(r"(p?)([+-]?\d+(?:\.\d+)?)", text)
        if not match or (match[1] and not 0 <= float(match[2]) <= 100):
            raise BadInputError(f"{place} {text}: needs a score such as 4.5 or a percentile such as p20")
        return cls(float(match[2]), bool(match[1]))


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """Rules of margin-aware data selection (Writing-RL)."""

    policy: str
    """Model name of the policy."""
    strategy: str = "margin"
    """margin: highest learning potential first. difficulty: the policy's lowest grades first. random: a seeded shuffle.
    Others by `module.path:Name` or by an entry point of `longform.selection`."""
    top_k: int | None = None
    """Prompts to keep; None keeps all that pass the floor."""
    group_by: str | None = None
    """A field such as `meta.FIELD` whose values define groups; `top_k`, floor and panel apply per group."""
    floor: Floor | None = None
    judges: tuple[str, ...] = ()
    """Judges whose grades are used; empty: all. See `selection/scores.py` for incomplete grades."""
    samples: int | None = None
    """Number of samples used per model, the first ones; None uses all (paper: 1).

    The best sample represents its model, so more samples are an advantage; use the same number for all models.
    """
    seed: int = 0
