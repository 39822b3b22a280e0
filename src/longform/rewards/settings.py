"""Settings of rewards, as they stand in a recipe."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Names = Annotated[list[str], Field(min_length=1)]


class _JudgedSettings(BaseModel):
    """What every reward that asks a judge has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: str | Names
    """A name of models.yaml, or several: a panel."""
    samples: int = Field(default=1, ge=1)
    """How often each judge is asked about one text."""
    max_no_verdict: float = Field(default=0.5, ge=0, le=1)
    """Share of a step's rollouts that may stay without a reward before the run stops; it can be resumed."""

    @field_validator("judge", mode="after")
    @classmethod
    def _check_names(cls, judge: str | list[str]) -> str | list[str]:
        if not isinstance(judge, str) and len(set(judge)) < len(judge):
            raise ValueError(
                "names a judge twice, whose answer would count twice; `samples` asks a judge several times"
            )
        return judge

    @property
    def judges(self) -> list[str]:
        """The names of all judges."""
        return [self.judge] if isinstance(self.judge, str) else self.judge


class PairwiseSettings(_JudgedSettings):
    """The pairwise reward: a judge compares the policy's response with the reference its prompt faces."""

    kind: Literal["pairwise"]
    position: Literal["first", "second", "both"] = "second"
    """Where the policy's response stands (paper: second, the place that judges favour less). `both` asks twice."""
    combine: Literal["vote", "mean"] = "vote"
    """Of several votes: the outcome of the majority, or the mean of what the votes are worth."""
    values: Literal["paper", "released"] = "paper"
    """What win, tie and loss are worth: 1, 0.5, 0 in the paper; 1.1, 0.55, 0.1 in the released code."""
    recheck: float = Field(default=0.0, ge=0, le=1)
    """Share of (prompt, step) pairs whose verdict is asked for once more, to see how far the judge agrees with itself."""


class PointwiseSettings(_JudgedSettings):
    """The pointwise reward: a judge grades the response by itself, 1 to 10, brought to 0 to 1 (the paper's ablation).

    It compares with no reference, so no prompt is ever promoted.
    """

    kind: Literal["pointwise"]


RewardSettings = Annotated[PairwiseSettings | PointwiseSettings, Field(discriminator="kind")]
