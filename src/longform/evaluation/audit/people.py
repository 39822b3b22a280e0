"""The labels of people: agreement with each other, position bias and length bias, as for judges.

People see the two texts of a pair in one random order (`label_orders`), so position bias is measured across pairs: how often
the first text was chosen, minus one half. Pairs count by their weights, so that a figure is that of the pairs they were
sampled from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longform.evaluation.audit.agreement import RaterPair, Raters, compare_raters, measure_alphas
from longform.evaluation.audit.figures import SIGNS, longer_side, mean_of_pairs
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.records.schemas import Winner
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
    prompts = [pair.request.request for pair in pairs]
    verdicts: dict[str, list[Winner | None]] = {
        name: [(pair.labels or {}).get(name) for pair in pairs] for name in names
    }
    raters = Raters(prompts, verdicts, np.array([pair.relative_weight for pair in pairs]))
    alphas = measure_alphas(raters, names, bootstrap)
    return PeopleAgreement(
        people=[_measure_person(name, pairs, bootstrap) for name in names],
        pairs=compare_raters(raters, bootstrap),
        shared=alphas.items,
        alpha_nominal=alphas.nominal,
        alpha_ordinal=alphas.ordinal,
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
