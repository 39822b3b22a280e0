"""The effect of criteria on a judge: its agreement with people with and without the criteria of a prompt.

Verdicts without criteria are recorded under the name `JUDGE@no-criteria`, so every table shows them as another judge. Both
are measured on the same questions: pairs with criteria and a label that prefers a text, each order separately.
"""

from collections.abc import Sequence
from typing import NamedTuple

from longform.evaluation.audit.figures import SIGNS, mean_of_pairs
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.records.schemas import ORDERS

WITHOUT = "@no-criteria"
"""Suffix of a judge's name for verdicts without criteria."""


class CriteriaGain(NamedTuple):
    """Agreement of one judge with people, on the same pairs with and without criteria; a judge's tie counts half."""

    judge: str
    with_criteria: ClusteredEstimate
    without: ClusteredEstimate
    gain: ClusteredEstimate
    """The difference."""


def measure_criteria(pairs: Sequence[AuditedPair], bootstrap: Bootstrap) -> list[CriteriaGain]:
    """Measure the gain of each judge that was asked with and without criteria."""
    names = sorted({name for pair in pairs for name in pair.judges if name.endswith(WITHOUT)})
    found = (_gain(pairs, name.removesuffix(WITHOUT), bootstrap) for name in names)
    return [it for it in found if it is not None]


def _gain(pairs: Sequence[AuditedPair], judge: str, bootstrap: Bootstrap) -> CriteriaGain | None:
    correct: list[tuple[float, float, AuditedPair]] = []
    for pair in pairs:
        label = 0 if pair.label is None else SIGNS[pair.label]
        if not label or not pair.criteria:
            continue
        for order in ORDERS:
            informed, bare = pair.verdict(judge, order), pair.verdict(judge + WITHOUT, order)
            if informed is not None and bare is not None:
                one, other = ((1 + label * SIGNS[verdict]) / 2 for verdict in (informed, bare))
                correct.append((one, other, pair))
    with_criteria = mean_of_pairs([(one, pair) for one, _, pair in correct], bootstrap)
    without = mean_of_pairs([(other, pair) for _, other, pair in correct], bootstrap)
    gain = mean_of_pairs([(one - other, pair) for one, other, pair in correct], bootstrap)
    if with_criteria is None or without is None or gain is None:
        return None
    return CriteriaGain(judge, with_criteria, without, gain)
