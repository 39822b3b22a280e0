"""What people chose: their agreement with each other, and their position and length bias, beside those of the judges.

People see the two texts of a pair in one random order (`label_orders`), so position bias is measured between pairs: how
often the text that stood first was chosen, minus one half. Pairs count by their weights, so that a figure is that of the
pairs they were sampled from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from longform.evaluation.audit.agreement import SCALE, RaterPair, mean_one
from longform.evaluation.audit.figures import SIGNS, longer_side, mean_of_pairs
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.statistics.agreement import kappa_of_table
from longform.statistics.krippendorff import alpha_of_coincidences, coincidences
from longform.text.words import count_words_of_any_script


@dataclass(frozen=True, slots=True)
class PersonFigures:
    """The choices of one person; None if there is nothing to measure."""

    person: str
    labels: int
    ties: ClusteredEstimate | None
    first_lead: ClusteredEstimate | None
    """Win rate of the text that was shown first minus one half, ties half."""
    longer_wins: ClusteredEstimate | None
    """Decided labels that prefer the longer text."""
    b_wins: ClusteredEstimate | None
    """Win rate of `response_b`, ties half."""


@dataclass(frozen=True, slots=True)
class PeopleAgreement:
    """Agreement of people with each other."""

    people: list[PersonFigures]
    pairs: list[RaterPair]
    shared: int
    """Pairs that at least two people labelled."""
    alpha_nominal: ClusteredEstimate | None
    """Krippendorff's alpha; None without shared pairs."""
    alpha_ordinal: ClusteredEstimate | None


def measure_people(pairs: Sequence[AuditedPair], bootstrap: Bootstrap) -> PeopleAgreement | None:
    """Measure the people who labelled the pairs; None without `labels`."""
    names = sorted({person for pair in pairs for person in pair.labels or ()})
    if not names:
        return None
    ratings = [[(pair.labels or {}).get(name) for name in names] for pair in pairs]
    table = coincidences(ratings, order=SCALE)
    shared = np.flatnonzero(table.sum(axis=(1, 2))).tolist()
    prompts = [pairs[it].request.request for it in shared]
    weights = mean_one(np.array([pairs[it].relative_weight for it in shared]))

    def alpha(statistic: Callable[[np.ndarray], np.ndarray]) -> ClusteredEstimate | None:
        return bootstrap.of_sums(table[shared] * weights[:, None, None], prompts, statistic)

    return PeopleAgreement(
        people=[_measure_person(name, pairs, bootstrap) for name in names],
        pairs=[it for one, other in combinations(names, 2) if (it := _compare(one, other, pairs, bootstrap))],
        shared=len(shared),
        alpha_nominal=alpha(lambda sums: alpha_of_coincidences(sums, metric="nominal")),
        alpha_ordinal=alpha(lambda sums: alpha_of_coincidences(sums, metric="ordinal")),
    )


def _measure_person(name: str, pairs: Sequence[AuditedPair], bootstrap: Bootstrap) -> PersonFigures:
    labelled = [(pair, SIGNS[label]) for pair in pairs if (label := (pair.labels or {}).get(name)) is not None]
    placed = [(pair, sign, (pair.label_orders or {}).get(name)) for pair, sign in labelled]
    longer = [
        (sign * side > 0, pair)
        for pair, sign in labelled
        if sign and (side := longer_side(*map(count_words_of_any_script, (pair.response_a, pair.response_b))))
    ]
    first = [((sign if order == "ab" else -sign) / 2, pair) for pair, sign, order in placed if order is not None]
    return PersonFigures(
        person=name,
        labels=len(labelled),
        ties=mean_of_pairs([(not sign, pair) for pair, sign in labelled], bootstrap),
        first_lead=mean_of_pairs(first, bootstrap),
        longer_wins=mean_of_pairs(longer, bootstrap),
        b_wins=mean_of_pairs([((1 - sign) / 2, pair) for pair, sign in labelled], bootstrap),
    )


def _compare(one: str, other: str, pairs: Sequence[AuditedPair], bootstrap: Bootstrap) -> RaterPair | None:
    both = [
        (pair, pair.labels[one], pair.labels[other])
        for pair in pairs
        if pair.labels and {one, other} <= pair.labels.keys()
    ]
    table = np.zeros((len(both), len(SCALE), len(SCALE)))
    for row, (pair, label, other_label) in enumerate(both):
        table[row, SCALE.index(label), SCALE.index(other_label)] = pair.relative_weight
    prompts = [pair.request.request for pair, _, _ in both]
    agreement = bootstrap.of_sums(table, prompts, lambda sums: np.trace(sums, axis1=1, axis2=2) / sums.sum(axis=(1, 2)))
    kappa = bootstrap.of_sums(table, prompts, lambda sums: kappa_of_table(sums, weights="linear"))
    return None if agreement is None or kappa is None else RaterPair(one, other, agreement, kappa)
