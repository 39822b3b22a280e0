"""Settings of rewards, as they stand in a recipe."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PairwiseSettings(BaseModel):
    """The pairwise reward: a judge compares the policy's response with the reference its prompt faces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pairwise"]
    judge: str
    """A name of models.yaml."""
    position: Literal["first", "second", "both"] = "second"
    """Where the policy's response stands (paper: second, the place that judges favour less). `both` asks twice."""
    max_no_verdict: float = Field(default=0.5, ge=0, le=1)
    """Share of a step's rollouts that may stay without a verdict before the run stops; it can be resumed."""
