"""What criteria do for a judge: its agreement with people where it reads the criteria of a prompt, and where it does not.

The verdicts without criteria are those of a judge of their own, `JUDGE@no-criteria`, so they appear beside the others in
every table. Compared are the same questions: pairs with criteria and a label that prefers a text, each order by itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

from longform.evaluation.audit.figures import SIGNS, mean_of_pairs
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.records.schemas import ORDERS

WITHOUT = "@no-criteria"
"""What follows the name of a judge that was asked without criteria."""


class CriteriaGain(NamedTuple):
    """Agreement of one judge with people, on the same pairs with and without criteria; a judge's tie counts half."""

    judge: str
    with_criteria: ClusteredEstimate
    without: ClusteredEstimate
    gain: ClusteredEstimate
    """The difference."""


def measure_criteria(pairs: Sequence[AuditedPair], bootstrap: Bootstrap) -> list[CriteriaGain]:
    """Compare the verdicts of each judge that was asked in both ways; none if there is none."""
    names = sorted({name for pair in pairs for name in pair.judges if name.endswith(WITHOUT)})
    found = (_gain(pairs, name.removesuffix(WITHOUT), bootstrap) for name in names)
    return [it for it in found if it is not None]


def _gain(pairs: Sequence[AuditedPair], judge: str, bootstrap: Bootstrap) -> CriteriaGain | None:
    right: list[tuple[float, float, AuditedPair]] = []
    for pair in pairs:
        label = 0 if pair.label is None else SIGNS[pair.label]
        if not label or not pair.criteria:
            continue
        for order in ORDERS:
            reading, bare = pair.verdict(judge, order), pair.verdict(judge + WITHOUT, order)
            if reading is not None and bare is not None:
                is_right = [(1 + label * SIGNS[it]) / 2 for it in (reading, bare)]
                right.append((is_right[0], is_right[1], pair))
    by_reading = mean_of_pairs([(one, pair) for one, _, pair in right], bootstrap)
    without = mean_of_pairs([(other, pair) for _, other, pair in right], bootstrap)
    gain = mean_of_pairs([(one - other, pair) for one, other, pair in right], bootstrap)
    if by_reading is None or without is None or gain is None:
        return None
    return CriteriaGain(judge, by_reading, without, gain)
