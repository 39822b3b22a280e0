"""Panels: several votes on one text, of several judges or of one judge asked several times.

A panel is heard when more than half of its votes come in; otherwise there is no verdict, as with a single judge that
cannot be heard. What is missing is left out of the count and never taken for a loss.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from statistics import fmean, pstdev
from typing import Any, Literal, TypeVar

from longform.judging.asking import total_cost
from longform.judging.pairwise import PairwiseJudge, Verdict, WinTieLoss
from longform.judging.pointwise import Graded, PointwiseJudge
from longform.records.schemas import PromptRow

MemberT = TypeVar("MemberT")
Combination = Literal["vote", "mean"]


class PairwisePanel:
    """Decides between a response and its reference by several votes.

    Args:
        judges: the members.
        samples: votes of each member; several show how far a judge agrees with itself.
        combine: `vote`: the outcome of more than half of the votes heard, else a tie. `mean`: a win where the mean of the
            votes (win 1, tie 0.5, loss 0) is above a half, a loss where it is below.
    """

    def __init__(self, judges: Sequence[PairwiseJudge], *, samples: int = 1, combine: Combination = "vote") -> None:
        self.judges = judges
        self.samples = samples
        self.combine: Combination = combine

    async def compare(self, prompt: PromptRow, *, response: str, reference: str, step: int) -> Verdict:
        """The panel's verdict on `response` against `reference`.

        Raises:
            BadInputError: an endpoint needs mending.
            StoppedError: the budget is spent.
        """
        votes = await _all(
            judge.compare(prompt, response=response, reference=reference, step=step, sample=sample)
            for judge in self.judges
            for sample in range(self.samples)
        )
        return combine_verdicts(votes, combine=self.combine)


class PointwisePanel:
    """Grades a text by the mean over several grades of it: `samples` of each of `judges`."""

    def __init__(self, judges: Sequence[PointwiseJudge], *, samples: int = 1) -> None:
        self.judges = judges
        self.samples = samples

    async def grade(self, prompt: PromptRow, text: str, *, step: int = 0) -> Graded:
        """The panel's grade of `text`, written for `prompt`.

        Raises:
            BadInputError: an endpoint needs mending.
            StoppedError: the budget is spent.
        """
        grades = await _all(
            judge.grade(prompt, text, step=step, sample=sample)
            for judge in self.judges
            for sample in range(self.samples)
        )
        return combine_grades(grades)


def combine_verdicts(votes: Sequence[Verdict], *, combine: Combination) -> Verdict:
    """Several verdicts as one, with their disagreement. One alone stays as it is."""
    if len(votes) == 1:
        return votes[0]
    heard: tuple[WinTieLoss, ...] = tuple(vote.outcome for vote in votes if vote.outcome is not None)
    unheard, first = len(votes) - len(heard), votes[0].outcome
    if 2 * len(heard) <= len(votes):
        return Verdict(None, _cause(votes), _calls(votes), _cost(votes), heard, unheard, first)
    outcome = _majority(heard) if combine == "vote" else _middle(heard)
    return Verdict(outcome, None, _calls(votes), _cost(votes), heard, unheard, first)


def combine_grades(grades: Sequence[Graded]) -> Graded:
    """Several grades of one text as one: means of the score and of each dimension, and the spread of the scores."""
    if len(grades) == 1:
        return grades[0]
    heard = [graded for graded in grades if graded.score is not None and graded.dimensions is not None]
    scores = [graded.score for graded in heard if graded.score is not None]
    spread = pstdev(scores) if len(scores) > 1 else None
    if 2 * len(heard) <= len(grades):
        return Graded(None, None, _cause(grades), _calls(grades), _cost(grades), spread, len(grades) - len(heard))
    dimensions = {
        name: fmean(graded.dimensions[name] for graded in heard if graded.dimensions is not None)
        for name in heard[0].dimensions or {}
    }
    return Graded(fmean(scores), dimensions, None, _calls(grades), _cost(grades), spread, len(grades) - len(heard))


async def _all(asked: Iterable[Coroutine[Any, Any, MemberT]]) -> list[MemberT]:
    """What all members say. An error of one is raised once the others have ended: their calls are paid for."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    heard = [it for it in found if not isinstance(it, BaseException)]
    for it in found:
        if isinstance(it, BaseException):
            raise it
    return heard


def _majority(outcomes: Sequence[WinTieLoss]) -> WinTieLoss:
    outcome, count = Counter(outcomes).most_common(1)[0]
    return outcome if 2 * count > len(outcomes) else "tie"


def _middle(outcomes: Sequence[WinTieLoss]) -> WinTieLoss:
    lead = outcomes.count("win") - outcomes.count("loss")
    return "win" if lead > 0 else "loss" if lead < 0 else "tie"


def _calls(members: Sequence[Any]) -> tuple[str, ...]:
    return tuple(call for member in members for call in member.calls)


def _cost(members: Sequence[Any]) -> float | None:
    return total_cost(member.cost for member in members)


def _cause(members: Sequence[Any]) -> str:
    """The most common cause of silence."""
    return Counter(str(member.cause) for member in members if member.cause is not None).most_common(1)[0][0]
