"""What a reward is, and what it returns: one reward's result for a response, and those of all rewards of a recipe by
kind. A reward sees one response, or the whole group of a prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from longform.judging.pairwise import WinTieLoss
from longform.records.schemas import PromptRow
from longform.text.structure import ParsedResponse

DECLINED = "declined"
"""Cause of a missing score: a plugin returned None, which masks the rollout."""
NO_PLAN, NO_CONTINUATION = "no_plan", "no_continuation"
"""Causes of a missing score: the likelihood reward needs both."""
UNSCORED = (DECLINED, NO_PLAN, NO_CONTINUATION)
"""Causes that are not failed model calls."""


class ReadText(NamedTuple):
    """A text of a question about a group: a response or a reference of the ladder."""

    member: int | None
    """Index of the response within its group; None for a reference."""
    rung: int | None = None
    """Of the reference; from the length of the ladder on it is an earlier response of the policy."""


@dataclass(frozen=True, slots=True)
class RewardResult:
    """The result of one reward on one response."""

    score: float | None
    """None masks the rollout out of the update; `cause` says why."""
    outcome: WinTieLoss | None = None
    """Against the reference; None also for a reward that does not compare."""
    cause: str | None = None
    """Why there is no score."""
    calls: tuple[str, ...] = ()
    """Request hashes of the judge calls behind it."""
    cost: float | None = 0.0
    """Of these calls; None if it is unknown."""
    disagreement: float | None = None
    """Disagreement of a panel's votes (`judging.pairwise.vote_disagreement`); None for a single vote."""
    missing_votes: float | None = None
    """Fraction of a panel's votes that are missing; None for a single vote."""
    consistent: bool | None = None
    """Whether the first judge, asked again, gave the same verdict; None if it was not asked or gave none."""
    is_truncated: bool = False
    """Whether a reward model's input was too short for the whole response, whose end it did not read."""
    dimensions: Mapping[str, float] | None = None
    """A judge's scores by criterion, 1 to 10; None for rewards without criteria."""
    is_vetoed: bool | None = None
    """Whether the response fails a hard constraint of its prompt; None if the prompt has none."""
    improvement: float | None = None
    """How far the plan lowers the perplexity of the continuation, in percent; None for other rewards."""
    read: Mapping[str, Sequence[ReadText]] | None = None
    """For a reward that compares a group: the texts of each call by its request hash, in the order in which the judge read
    them."""


class Reward(Protocol):
    """(prompt, response, reference) -> score."""

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:
        """The reward of a response.

        Args:
            prompt: the request.
            response: parsed; judges read its answer alone.
            reference: the reference that the prompt faces; empty if it has none.
            step: of the run.
        """
        ...


@dataclass(frozen=True, slots=True)
class PromptVisit:
    """A prompt in a step, with its current reference."""

    prompt: PromptRow
    """A ladder, or a prompt without references."""
    reference: str
    """The current reference; empty if there is none."""
    rung: int
    step: int


class GroupReward(Protocol):
    """(prompt, all responses to it) -> a score for each."""

    async def score_group(self, visit: PromptVisit, responses: Sequence[ParsedResponse]) -> list[RewardResult]:
        """The reward of each response.

        Args:
            visit: the prompt in its step.
            responses: the group's responses to score, in the order of their rows.
        """
        ...


RewardResults = Mapping[str, RewardResult]
"""The results of a recipe's rewards on one response, by kind, in the order of the recipe. A reward whose `sources` exclude
the prompt is absent."""


def scores_by_kind(results: RewardResults) -> dict[str, float] | None:
    """The score of each reward; None if any is missing, since the rollout is then masked out of the update."""
    scores = {kind: result.score for kind, result in results.items() if result.score is not None}
    return scores if len(scores) == len(results) else None


def missing_cause(results: RewardResults) -> str | None:
    """Why a score is missing; None if there are all."""
    return next((result.cause for result in results.values() if result.score is None), None)


def outcome_of(results: RewardResults) -> WinTieLoss | None:
    """The verdict against the reference; None if no reward compares with it, or the verdict is missing."""
    return next((result.outcome for result in results.values() if result.outcome is not None), None)


def criterion_scores(results: RewardResults) -> list[float] | None:
    """The scores by criterion of the reward that has them, in the order of the criteria; None if none has."""
    found = (list(result.dimensions.values()) for result in results.values() if result.dimensions is not None)
    return next(found, None)


def calls_of(results: RewardResults) -> tuple[str, ...]:
    """Request hashes of the judge calls of all rewards."""
    return tuple(call for result in results.values() for call in result.calls)
