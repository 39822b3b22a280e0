"""Settings of the curriculum in a recipe."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CurriculumSettings(BaseModel):
    """Which reference of its ladder a prompt faces, and which of its criteria it is judged by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["dynamic", "fixed", "staged", "mixed"] = "dynamic"
    """dynamic: climb by winning. fixed: one reference throughout. staged: the ladder's parts in turn, one for each share
    of the steps. mixed: a rung drawn uniformly at each visit."""
    start: Literal["lowest", "own"] = "lowest"
    """dynamic: the first rung; `own` is the initial policy's own response."""
    wins: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = 1
    """dynamic: visits won in a row before a promotion (paper: 1), a visit being won by any win of its group; or, below 1,
    the share of a group's verdicts that must be wins."""
    top: Literal["stay", "retire", "self"] = "stay"
    """dynamic: what a prompt does that has beaten its last reference. A retired prompt is drawn no more; with `self` the
    policy's own winning response becomes the next rung."""
    promote_by: Literal["verdicts", "sample"] = "verdicts"
    """dynamic, with a group reward: whose verdict against the reference promotes. verdicts: those that rewards give anyway,
    such as `by: anchors`. sample: the best response of each group is also compared with the reference, one question a
    group."""
    reference: str | None = None
    """fixed: `self` (the initial policy's own response), `best`, or a model's name."""
    stages: int = Field(default=3, ge=1)
    """staged: into how many parts of equal size the ladder and the steps are cut."""

    criteria: Literal["all", "easy-first", "failed"] = "all"
    """Which of a prompt's criteria the rewards of a step judge by, where they are a list. easy-first: in the order of its
    group's scores, up to the first criterion that the group fails. failed: those that the group fails. Each criterion is
    judged once before. Hard constraints are always checked."""
    criteria_pass: float = Field(default=7.0, gt=1, le=10)
    """easy-first, failed: the mean score of a group, 1 to 10, with which a criterion is passed."""

    @model_validator(mode="after")
    def _check_reference(self) -> "CurriculumSettings":
        if (self.mode == "fixed") != (self.reference is not None):
            raise ValueError("`reference`: only valid with mode: fixed")
        return self
