"""Agreement of judges with each other and with people, and whether a panel follows people better than one judge.

An item is one question: a pair in one order. A person's label counts for both orders. Judges with the same bias agree too;
only labels by people reveal it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from longform.evaluation.audit.figures import cosine
from longform.evaluation.audit.pairs import HUMANS, AuditedPair
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.records.schemas import ORDERS, Order, Winner
from longform.statistics.agreement import kappa_of_table
from longform.statistics.krippendorff import alpha_of_coincidences, coincidences

SCALE: tuple[Winner, ...] = ("a", "tie", "b")


class Raters(NamedTuple):
    """The verdicts of all raters on all items."""

    prompts: Sequence[str]
    """[items]"""
    verdicts: Mapping[str, Sequence[Winner | None]]
    """[raters][items]; None if the verdict or label is missing or was not requested."""
    weights: np.ndarray
    """[items]: how much an item counts."""

    def shared(self, raters: Sequence[str]) -> list[int]:
        """Return the items that all of `raters` rated."""
        columns = [self.verdicts[it] for it in raters]
        return [item for item, row in enumerate(zip(*columns, strict=True)) if None not in row]


@dataclass(frozen=True, slots=True)
class RaterPair:
    """Agreement of two judges, or of a judge with people."""

    one: str
    other: str
    agreement: ClusteredEstimate
    """Fraction of items with equal verdicts."""
    kappa: ClusteredEstimate
    """Cohen's kappa with linear weights on a < tie < b: a tie against a win is half an error (Cohen 1968)."""


@dataclass(frozen=True, slots=True)
class InterRaterAgreement:
    """Agreement of all raters."""

    pairs: list[RaterPair]
    alpha_nominal: ClusteredEstimate | None
    """Krippendorff's alpha of all judges; None with fewer than two."""
    alpha_ordinal: ClusteredEstimate | None


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel whose votes are averaged, compared with the best single judge."""

    judges: tuple[str, ...]
    best: str
    follows: ClusteredEstimate
    """How well the panel's mean follows the labels (see `JudgeFigures.follows_one_order`)."""
    gain: ClusteredEstimate
    """The panel's value minus the best judge's on the same items."""


class RaterAlphas(NamedTuple):
    """Krippendorff's alpha of several raters; None without items that two of them rated."""

    items: int
    """Items that at least two of them rated."""
    nominal: ClusteredEstimate | None
    ordinal: ClusteredEstimate | None


def read_raters(pairs: Sequence[AuditedPair], judges: Sequence[str]) -> Raters:
    """Read the verdicts of all judges, and any labels, by item."""
    items: list[tuple[AuditedPair, Order]] = [(pair, order) for pair in pairs for order in ORDERS]
    verdicts: dict[str, list[Winner | None]] = {}
    for judge in judges:
        verdicts[judge] = [pair.verdict(judge, order) for pair, order in items]
    if any(pair.label is not None for pair in pairs):
        verdicts[HUMANS] = [pair.label for pair, _ in items]
    return Raters(
        [pair.request.request for pair, _ in items], verdicts, np.array([pair.relative_weight for pair, _ in items])
    )


def mean_one(weights: np.ndarray) -> np.ndarray:
    """Weights, [items], scaled to a mean of 1, so that alpha keeps its correction for the number of items."""
    return weights if (weights == 1).all() else weights / weights.mean()


def measure_between(raters: Raters, bootstrap: Bootstrap) -> InterRaterAgreement:
    """Compute agreement and kappa of every two raters, and alpha of the judges."""
    judges = [name for name in raters.verdicts if name != HUMANS]
    pairs = compare_raters(raters, bootstrap)
    if len(judges) < 2:
        return InterRaterAgreement(pairs, None, None)
    alphas = measure_alphas(raters, judges, bootstrap)
    return InterRaterAgreement(pairs, alphas.nominal, alphas.ordinal)


def compare_raters(raters: Raters, bootstrap: Bootstrap) -> list[RaterPair]:
    """Compute agreement and kappa of every two raters that share an item."""
    pairs = (_compare(raters, one, other, bootstrap) for one, other in combinations(raters.verdicts, 2))
    return [pair for pair in pairs if pair is not None]


def measure_alphas(raters: Raters, names: Sequence[str], bootstrap: Bootstrap) -> RaterAlphas:
    """Compute Krippendorff's alpha of the raters called `names`."""
    table = coincidences(list(zip(*(raters.verdicts[name] for name in names), strict=True)), order=SCALE)
    rated = np.flatnonzero(table.sum(axis=(1, 2))).tolist()
    weighted = table[rated] * mean_one(raters.weights[rated])[:, None, None]
    prompts = [raters.prompts[item] for item in rated]

    def alpha(statistic: Callable[[np.ndarray], np.ndarray]) -> ClusteredEstimate | None:
        return bootstrap.of_sums(weighted, prompts, statistic)

    return RaterAlphas(
        len(rated),
        alpha(lambda sums: alpha_of_coincidences(sums, metric="nominal")),
        alpha(lambda sums: alpha_of_coincidences(sums, metric="ordinal")),
    )


def find_panel(raters: Raters, judges: Sequence[str], bootstrap: Bootstrap) -> Panel | None:
    """Find the panel with the largest gain over the best of `judges`: any two of them, or all.

    None without labels or without a possible panel.

    Args:
        raters: Raters with labels.
        judges: Candidates, best first.
        bootstrap: Bootstrap settings.
    """
    if HUMANS not in raters.verdicts or len(judges) < 2:
        return None
    candidates = dict.fromkeys([*combinations(judges, 2), tuple(judges)])
    panels = [it for members in candidates if (it := _try_panel(raters, members, judges[0], bootstrap)) is not None]
    return max(panels, key=lambda it: it.gain.value.estimate, default=None)


def _try_panel(raters: Raters, members: Sequence[str], best: str, bootstrap: Bootstrap) -> Panel | None:
    items = raters.shared([*members, best, HUMANS])
    if not items:
        return None

    def signs(name: str) -> np.ndarray:
        return np.array(
            [1 - SCALE.index(verdict) for it in items if (verdict := raters.verdicts[name][it]) is not None]
        )

    label, alone, together = signs(HUMANS), signs(best), np.mean([signs(it) for it in members], axis=0)
    prompts = [raters.prompts[it] for it in items]
    weights = raters.weights[items, None]
    of_panel = weights * np.stack([together * label, together**2, label**2], axis=1)
    of_best = weights * np.stack([alone * label, alone**2, label**2], axis=1)
    follows = bootstrap.of_sums(of_panel, prompts, cosine)
    gain = bootstrap.of_sums(
        np.stack([of_panel, of_best], axis=1), prompts, lambda sums: cosine(sums[:, 0]) - cosine(sums[:, 1])
    )
    if follows is None or gain is None or np.isnan(gain.value.estimate):
        return None
    return Panel(tuple(members), best, follows, gain)


def _compare(raters: Raters, one: str, other: str, bootstrap: Bootstrap) -> RaterPair | None:
    items = raters.shared([one, other])
    table = np.zeros((len(items), len(SCALE), len(SCALE)))
    for row, item in enumerate(items):
        verdict, other_verdict = raters.verdicts[one][item], raters.verdicts[other][item]
        if verdict is not None and other_verdict is not None:
            table[row, SCALE.index(verdict), SCALE.index(other_verdict)] = raters.weights[item]
    prompts = [raters.prompts[it] for it in items]
    agreement = bootstrap.of_sums(table, prompts, lambda sums: np.trace(sums, axis1=1, axis2=2) / sums.sum(axis=(1, 2)))
    kappa = bootstrap.of_sums(table, prompts, lambda sums: kappa_of_table(sums, weights="linear"))
    return None if agreement is None or kappa is None else RaterPair(one, other, agreement, kappa)
