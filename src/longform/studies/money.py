"""The money of a study: what its calls have cost, and what a task may still spend."""

from pathlib import Path

from longform.endpoints.recorded import calls_path
from longform.records.calls import CallTotals, SqliteCallLog
from longform.records.errors import BadInputError, BudgetSpentError

_MIN_LEFT = 0.01
"""Minimum share of the budget that must be left to start a task."""


def total_calls(folder: Path) -> CallTotals | None:
    """The totals of all calls recorded in a study's folder; None without any."""
    totals: CallTotals | None = None
    for path in sorted({*folder.glob("**/*.calls.sqlite"), *folder.glob("runs/*/run.sqlite")}):
        found = _totals(path)
        if found is not None:
            totals = found if totals is None else CallTotals._make(map(sum, zip(totals, found, strict=True)))
    return totals


def share_of_budget(budget: float, folder: Path, *, jobs: int) -> float:
    """What each of `jobs` tasks that run at once may spend from now on, in the currency of models.yaml.

    Raises:
        BudgetSpentError: less than a hundredth of the budget is left.
    """
    totals = total_calls(folder)
    spent = 0.0 if totals is None else totals.cost
    if budget - spent < _MIN_LEFT * budget:
        cost = "nothing" if totals is None else totals.shown_cost
        raise BudgetSpentError(f"budget of {budget:g} spent: {cost}; raise `budget` in the study file to continue")
    return (budget - spent) / jobs


def budget_of_log(log: Path, share: float | None) -> float | None:
    """The budget of a task whose calls are recorded in `log`: what they have cost so far, plus its share.

    None without a budget.
    """
    if share is None:
        return None
    totals = _totals(log) if log.exists() else None
    return share + (0.0 if totals is None else totals.cost)


def budget_beside(out: Path, share: float | None) -> float | None:
    """`budget_of_log` for a task that records its calls beside its output file."""
    return budget_of_log(calls_path(out), share)


def _totals(path: Path) -> CallTotals | None:
    try:
        with SqliteCallLog(path) as log:
            return log.totals()
    except BadInputError:  # being created at this moment
        return None
