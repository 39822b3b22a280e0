"""Figures of each method of comparing the responses of a group, on groups whose texts people have scored.

A decision is a pair of texts of one group to which people gave different scores. It is correct if the judge's scores put
the texts in the same order; equal scores count half, and decisions without both scores are counted separately. Intervals
resample whole prompts.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from longform.evaluation.audit.advice import MIN_PROMPTS
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.statistics.group_games import ComparisonMethod

TextScores = Sequence[float | None]


class ComparedGroup(NamedTuple):
    """A group with the scores by people and those by a judge, in several runs of the same comparison."""

    prompt: str
    people: TextScores
    """[G] None for a text that nobody scored."""
    runs: Sequence[TextScores]
    """[runs, G] scores by the judge, with other random draws and shuffles in each run."""
    calls: Sequence[int]
    """[runs] number of questions."""
    costs: Sequence[float | None]
    """[runs] None if unknown."""
    leads: Sequence[float]
    """The advantage of the text that was read first. Of a pair: 0.5 if it won, -0.5 if it lost, 0 for a tie. Of a list: its
    share of wins minus that of the text read last."""
    anchors: Sequence[int] = ()
    """Indices of the texts that the others were compared with, which have no score of their own."""


class MethodFigures(NamedTuple):
    """The figures of one judge with one comparison method."""

    judge: str
    by: ComparisonMethod
    groups: int
    agreement: ClusteredEstimate | None
    """Share of correct decisions in the first run; chance is 0.5."""
    undecided: ClusteredEstimate | None
    """Share of decisions without both scores in the first run."""
    noise: ClusteredEstimate | None
    """Share of decisions that differ between runs, of those that both runs made; None with one run."""
    first_lead: ClusteredEstimate | None
    """Position bias: mean of `leads`; 0 for an unbiased judge."""
    calls: float
    """Mean number of questions per group."""
    cost: float | None
    """Mean cost per group; None if unknown."""
    cost_of_correct: float | None
    """Cost per correct decision; None if unknown."""
    texts: float
    """Mean number of texts per group that were compared: without anchors."""


class MethodAdvice(NamedTuple):
    """The recommended comparison method."""

    by: MethodFigures | None
    """None if there is nothing to recommend."""
    because: str


def measure_method(
    judge: str, by: ComparisonMethod, compared: Sequence[ComparedGroup | None], bootstrap: Bootstrap
) -> MethodFigures:
    """Measure one judge with one comparison method.

    Args:
        judge: Name of the judge.
        by: The method.
        compared: Each group; None for one that the method cannot compare. At least one is not.
        bootstrap: Settings of the intervals.
    """
    groups = [group for group in compared if group is not None]
    decided = [(value, it.prompt) for it in groups for value in decisions(it.people, it.runs[0]) if value is not None]
    undecided = [
        (float(value is None), group.prompt)
        for group in groups
        for value in decisions(_without(group.people, group.anchors), group.runs[0])
    ]
    differing = [
        (float(one != other), it.prompt)
        for it in groups
        for run in it.runs[1:]
        for one, other in zip(_orders(it.runs[0]), _orders(run), strict=True)
        if one is not None and other is not None
    ]
    leads = [(lead, it.prompt) for it in groups for lead in it.leads]
    costs = [it.costs[0] for it in groups]
    known = [it for it in costs if it is not None]
    cost = sum(known) if len(known) == len(costs) else None
    correct = sum(value for value, _ in decided)
    return MethodFigures(
        judge,
        by,
        len(groups),
        bootstrap.mean(decided),
        bootstrap.mean(undecided),
        bootstrap.mean(differing),
        bootstrap.mean(leads),
        sum(it.calls[0] for it in groups) / len(groups),
        None if cost is None else cost / len(groups),
        cost / correct if cost is not None and correct else None,
        sum(len(group.people) - len(group.anchors) for group in groups) / len(groups),
    )


def _without(people: TextScores, anchors: Sequence[int]) -> TextScores:
    """Scores by people without those of the anchors, about which the judge decides nothing."""
    return [None if index in anchors else score for index, score in enumerate(people)]


def decisions(people: TextScores, judged: TextScores) -> list[float | None]:
    """Return the decisions about a group: 1 (correct), 0.5 (equal scores), 0 (wrong), or None (a score is missing)."""
    found: list[float | None] = []
    for wanted, said in zip(_orders(people), _orders(judged), strict=True):
        if wanted:  # neither equal nor unknown
            found.append(None if said is None else (1 + wanted * said) / 2)
    return found


def _orders(scores: TextScores) -> list[int | None]:
    """Return the order of each pair of texts: 1 if the first is better, -1 if the second is, 0 if they are equal; None
    without both scores.
    """
    return [
        None if one is None or other is None else (one > other) - (one < other)
        for one, other in combinations(scores, 2)
    ]


def advise_method(
    figures: Sequence[MethodFigures], groups: Sequence[Sequence[ComparedGroup | None]], bootstrap: Bootstrap
) -> MethodAdvice:
    """Recommend the cheapest method that is not significantly worse than the one that agrees best with people.

    Costs are per compared text, because anchors are not compared. Without prices, the number of questions takes the place of
    the cost.

    Args:
        figures: Of each judge and method.
        groups: The compared groups of each, in the same order; None for one that a method cannot compare.
        bootstrap: Settings of the intervals.
    """
    known = [index for index, it in enumerate(figures) if it.agreement is not None]
    if not known:
        return MethodAdvice(None, "no pair of texts has scores both by people and by a judge")
    best = max(known, key=lambda index: _estimate(figures[index]))
    top = figures[best].agreement
    assert top is not None
    if top.prompts < MIN_PROMPTS:
        return MethodAdvice(None, f"only {top.prompts} of at least {MIN_PROMPTS} prompts")
    if not top.value.low > 0.5:
        return MethodAdvice(None, "no method agrees with people better than chance")
    as_good = [best]
    for index in known:
        behind = bootstrap.mean(_behind(groups[best], groups[index]))
        if index != best and behind is not None and not behind.value.low > 0:
            as_good.append(index)
    priced = all(figures[index].cost is not None for index in as_good)

    def price(index: int) -> float:
        it = figures[index]
        return (it.cost if priced and it.cost is not None else it.calls) / it.texts

    chosen = min(as_good, key=lambda index: (price(index), -_estimate(figures[index])))
    if len(known) == 1:
        return MethodAdvice(figures[chosen], "the only one that was measured; it agrees better than chance")
    others = len(as_good) - 1
    what = "the cheapest" if priced else "the one with the fewest questions"
    leading = "it agrees best" if chosen == best else f"{figures[best].judge} by {figures[best].by} agrees best"
    because = (
        f"{what} of {len(as_good)} that are not significantly worse than the best; {leading}"
        if others
        else "all others agree significantly less with people"
    )
    return MethodAdvice(figures[chosen], because)


def _behind(best: Sequence[ComparedGroup | None], other: Sequence[ComparedGroup | None]) -> list[tuple[float, str]]:
    """Return the lead of the best method on each decision that both methods made."""
    return [
        (one - two, first.prompt)
        for first, second in zip(best, other, strict=True)
        if first is not None and second is not None
        for one, two in zip(
            decisions(first.people, first.runs[0]), decisions(second.people, second.runs[0]), strict=True
        )
        if one is not None and two is not None
    ]


def _estimate(figures: MethodFigures) -> float:
    agreement = figures.agreement
    return -math.inf if agreement is None else agreement.value.estimate
