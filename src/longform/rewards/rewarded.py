"""What rewards say: one reward's score of a response, and the scores of all rewards of a recipe side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from longform.judging.pairwise import WinTieLoss
from longform.records.schemas import PromptRow
from longform.text.structure import ParsedResponse


@dataclass(frozen=True, slots=True)
class Rewarded:
    """What a reward makes of one response."""

    score: float | None
    """None: the judge could not be heard, and the rollout takes no part in the update."""
    outcome: WinTieLoss | None = None
    """Against the reference; None also where the reward compares with none."""
    cause: str | None = None
    """Why there is no score."""
    calls: tuple[str, ...] = ()
    """Request hashes of the judge calls behind it."""
    cost: float | None = 0.0
    """What these calls cost; None where it is not known."""
    disagreement: float | None = None
    """How far a panel's votes differ, see `judging.panel`; None where it has one vote."""
    unheard: float | None = None
    """Share of a panel's votes that did not come in; None where it has one vote."""
    consistent: bool | None = None
    """Whether the first judge, asked once more, said the same as before; None where it was not asked or not heard."""
    is_cut: bool = False
    """Of a reward model: it read the response without its end, which did not fit."""


class Reward(Protocol):
    """(prompt, response, reference) -> score."""

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> Rewarded:
        """What a response is worth.

        Args:
            prompt: what was asked for.
            response: taken apart; judges read its answer alone.
            reference: the text that the prompt faces; empty where it faces none.
            step: of the run.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScoreSheet:
    """What all rewards of a recipe make of one response."""

    response: ParsedResponse
    by_reward: Mapping[str, Rewarded]
    """By kind, in the order of the recipe."""

    @property
    def scores(self) -> dict[str, float] | None:
        """By kind; None where any reward has none: the rollout then takes no part in the update."""
        scores = {kind: it.score for kind, it in self.by_reward.items() if it.score is not None}
        return scores if len(scores) == len(self.by_reward) else None

    @property
    def cause(self) -> str | None:
        """Why there are no scores."""
        return next((it.cause for it in self.by_reward.values() if it.score is None), None)

    @property
    def outcome(self) -> WinTieLoss | None:
        """Against the reference; None where no reward compares, or there is no verdict."""
        return next((it.outcome for it in self.by_reward.values() if it.outcome is not None), None)

    @property
    def calls(self) -> tuple[str, ...]:
        """Request hashes of the judge calls behind all rewards."""
        return tuple(call for it in self.by_reward.values() for call in it.calls)

    @property
    def disagreement(self) -> float | None:
        """Of the first reward that has a panel."""
        return next((it.disagreement for it in self.by_reward.values() if it.disagreement is not None), None)

    @property
    def consistent(self) -> bool | None:
        """Of the reward whose judge was asked once more."""
        return next((it.consistent for it in self.by_reward.values() if it.consistent is not None), None)
