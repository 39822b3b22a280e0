"""Compare a model before and after training on the same questions: what was gained and what was lost.

Questions are paired, so only those that changed are informative: the test is McNemar's exact test, with the interval of
Agresti and Min (2005) for paired proportions, which does not degenerate if few answers changed.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from math import sqrt
from statistics import NormalDist, fmean

from longform.evaluation.benchmarks.grouping import ScoredItem
from longform.evaluation.tables import Cell, Column, Table, explain, warn_of_few
from longform.statistics.bootstrap import Interval, clustered_interval

ACCURACY = "accuracy"
"""Name of the measure: 100 for correct, 0 for wrong."""
_LEVEL = 0.95
_NORMAL = NormalDist().inv_cdf((1 + _LEVEL) / 2)


def transfer_table(
    before: Sequence[ScoredItem], after: Sequence[ScoredItem], *, kinds: Mapping[str, Sequence[str]] | None = None
) -> Table:
    """Tabulate accuracy before and after, overall and by group.

    Args:
        before: One model's scored questions.
        after: The other model's; questions that only one of them answered are left out.
        kinds: Kinds of groups to tabulate, with the group names in order.
    """
    earlier, later = _by_question(before), _by_question(after)
    both = [question for question in earlier if question in later]
    alone = len(earlier) + len(later) - 2 * len(both)
    labels = {it.prompt_id: it.groups for it in before}
    rows = [_row("all", both, earlier, later)]
    for kind, names in (kinds or {}).items():
        for name in names:
            members = [question for question in both if labels[question].get(kind) == name]
            rows.append(_row(name, members, earlier, later))
    names = " and ".join(next((it.model for it in side), "nobody") for side in (before, after))
    columns = [Column("questions", is_text=True), *(Column(name, 1) for name in ("before", "after", "difference"))]
    columns += [Column("n"), Column("gained"), Column("lost"), Column("p", 4)]
    notes = ["gained: wrong before, correct after; lost: the reverse; p: exact two-sided McNemar test"]
    notes += [f"left out: {alone} questions that only one model answered"] if alone else []
    if not _are_right_or_wrong(earlier, later):
        notes += warn_of_few([len(both)])
    return Table(f"Before and after: {names}", columns, [row for row in rows if row], notes)


def accuracy_interval(values: Sequence[float], clusters: Sequence[Hashable]) -> Interval:
    """Return the mean of `values` (0 or 100) with Wilson's interval, or a clustered one if clusters have several values."""
    if len(set(clusters)) < len(values):
        return clustered_interval(values, clusters)
    from scipy.stats import binomtest  # takes a second

    test = binomtest(sum(value > 0 for value in values), len(values))
    bounds = test.proportion_ci(_LEVEL, method="wilson")
    return Interval(fmean(values), 100 * float(bounds.low), 100 * float(bounds.high))


def difference_interval(gained: int, lost: int, total: int) -> Interval:
    """Return the change in accuracy in points, with the interval of Agresti and Min (half a question added to each cell).

    Args:
        gained: Questions that changed from wrong to correct.
        lost: Questions that changed from correct to wrong.
        total: All questions, at least one.
    """
    more, fewer, all_of_them = gained + 0.5, lost + 0.5, total + 2
    middle = (more - fewer) / all_of_them
    spread = _NORMAL * sqrt(more + fewer - (more - fewer) ** 2 / all_of_them) / all_of_them
    low, high = max(-1.0, middle - spread), min(1.0, middle + spread)
    return Interval(100 * (gained - lost) / total, 100 * low, 100 * high)


def _by_question(scored: Sequence[ScoredItem]) -> dict[str, float]:
    """Return accuracy by question; the mean if a model answered it several times."""
    by_question: dict[str, list[float]] = defaultdict(list)
    for it in scored:
        by_question[it.prompt_id].append(it.values[ACCURACY])
    return {question: fmean(values) for question, values in by_question.items()}


def _row(
    name: str, questions: Sequence[str], before: Mapping[str, float], after: Mapping[str, float]
) -> list[Cell] | None:
    """Build a row; None without questions."""
    from scipy.stats import binomtest

    if not questions:
        return None
    old, new = [before[question] for question in questions], [after[question] for question in questions]
    changes = [late - early for early, late in zip(old, new, strict=True)]
    gained, lost = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    if _are_right_or_wrong(before, after):
        numbers = [accuracy_interval(side, questions) for side in (old, new)]
        numbers.append(difference_interval(gained, lost, len(questions)))
    else:
        numbers = [clustered_interval(side, questions) for side in (old, new, changes)]
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    cells = [explain(it, prompts=len(questions)) for it in numbers]
    return [name, *cells, len(questions), gained, lost, float(p)]


def _are_right_or_wrong(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether each question has a single answer on both sides, so that intervals of proportions apply."""
    return {*before.values(), *after.values()} <= {0.0, 100.0}
