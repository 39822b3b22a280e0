"""Figures of each way to compare the responses of a group, on groups whose texts people have scored.

A decision is a pair of texts of one group that people scored differently. It is correct if the judge's scores put them in
the same order; equal scores count half, and a decision without both scores is counted apart. Intervals resample whole
prompts.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from longform.evaluation.audit.advice import MIN_PROMPTS
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.statistics.group_games import GroupBy

TextScores = Sequence[float | None]


class ComparedGroup(NamedTuple):
    """A group with the scores of people and those of a judge, in several runs of the same comparison."""

    prompt: str
    people: TextScores
    """[G] None for a text that nobody scored."""
    runs: Sequence[TextScores]
    """[runs, G] each with draws and shuffles of its own."""
    calls: Sequence[int]
    """[runs] questions."""
    costs: Sequence[float | None]
    """[runs] None if unknown."""
    leads: Sequence[float]
    """How much better the text that was read first did than the one read second (pairs; a half is added for a win, taken for
    a loss) or last (lists; the difference of their shares of wins)."""


class ByFigures(NamedTuple):
    """What one way of comparing is worth, with one judge."""

    judge: str
    by: GroupBy
    groups: int
    agreement: ClusteredEstimate | None
    """Correct decisions of the first run; chance is 0.5."""
    undecided: ClusteredEstimate | None
    """Decisions of the first run without both scores."""
    noise: ClusteredEstimate | None
    """Decisions that two runs make differently, among those that both make; None with one run."""
    first_lead: ClusteredEstimate | None
    """Position bias: mean of `leads`, 0 for a judge that favours no place."""
    calls: float
    """Questions for a group."""
    cost: float | None
    """Of a group; None if unknown."""
    cost_of_correct: float | None
    """Cost for each correct decision; without prices its calls take the place of the cost in the advice."""


class ByAdvice(NamedTuple):
    """The recommended way to compare."""

    by: ByFigures | None
    """None if there is nothing to recommend."""
    because: str


def measure_by(judge: str, by: GroupBy, groups: Sequence[ComparedGroup], bootstrap: Bootstrap) -> ByFigures:
    """Measure one way of comparing."""
    decided = [(value, it.prompt) for it in groups for value in decisions(it.people, it.runs[0]) if value is not None]
    undecided = [(float(value is None), it.prompt) for it in groups for value in decisions(it.people, it.runs[0])]
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
    return ByFigures(
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
    )


def decisions(people: TextScores, judged: TextScores) -> list[float | None]:
    """Return the decisions about a group: 1 (correct), 0.5 (equal scores), 0, or None (a score is missing)."""
    found: list[float | None] = []
    for wanted, said in zip(_orders(people), _orders(judged), strict=True):
        if wanted:  # neither equal nor unknown
            found.append(None if said is None else (1 + wanted * said) / 2)
    return found


def _orders(scores: TextScores) -> list[int | None]:
    """Return for each pair of texts which one is better: 1 the first, -1 the second, 0 neither, None without both scores."""
    return [
        None if one is None or other is None else (one > other) - (one < other)
        for one, other in combinations(scores, 2)
    ]


def advise_by(
    figures: Sequence[ByFigures], groups: Sequence[Sequence[ComparedGroup]], bootstrap: Bootstrap
) -> ByAdvice:
    """Recommend the cheapest way that is not significantly worse than the one that agrees best with people.

    Args:
        figures: Of each way.
        groups: The groups of each, in the same order.
        bootstrap: Settings of the intervals.
    """
    known = [place for place, it in enumerate(figures) if it.agreement is not None]
    if not known:
        return ByAdvice(None, "no decision has a score of people and of a judge")
    best = max(known, key=lambda place: _estimate(figures[place]))
    top = figures[best].agreement
    assert top is not None
    if top.prompts < MIN_PROMPTS:
        return ByAdvice(None, f"only {top.prompts} of at least {MIN_PROMPTS} prompts")
    if not top.value.low > 0.5:
        return ByAdvice(None, "no way agrees with people better than chance")
    as_good = [best]
    for place in known:
        behind = bootstrap.mean(_behind(groups[best], groups[place]))
        if place != best and behind is not None and not behind.value.low > 0:
            as_good.append(place)
    priced = all(figures[place].cost is not None for place in as_good)

    def price(place: int) -> float:
        cost = figures[place].cost
        return cost if priced and cost is not None else figures[place].calls

    chosen = min(as_good, key=lambda place: (price(place), -_estimate(figures[place])))
    others = len(as_good) - 1
    what = "the cheapest" if priced else "the one with the fewest questions"
    because = (
        f"{what} of {len(as_good)} that are not significantly worse than {figures[best].judge} by {figures[best].by}"
        if others
        else "all others agree significantly less with people"
    )
    return ByAdvice(figures[chosen], because)


def _behind(best: Sequence[ComparedGroup], other: Sequence[ComparedGroup]) -> list[tuple[float, str]]:
    """Return by how much the first way is ahead on each decision that both make."""
    return [
        (one - two, group.prompt)
        for group, its in zip(best, other, strict=True)
        for one, two in zip(decisions(group.people, group.runs[0]), decisions(its.people, its.runs[0]), strict=True)
        if one is not None and two is not None
    ]


def _estimate(figures: ByFigures) -> float:
    agreement = figures.agreement
    return -math.inf if agreement is None else agreement.value.estimate
