"""Counting cost, and stopping."""

import pytest

from longform.endpoints.limits import Budget
from longform.records.errors import StoppedError


def test_a_budget_without_limit_only_counts():
    budget = Budget()
    budget.add(1e6)
    budget.add(None)
    budget.check()
    assert (budget.spent, budget.unknown) == (1e6, 1)


def test_a_limit_counts_what_was_spent_before_the_resume():
    budget = Budget(1.0, spent=0.7, unknown=2, resume="run.budget=5")
    budget.check()
    budget.add(0.3)
    with pytest.raises(
        StoppedError, match=r"budget of 1 spent: 1.0000 \(and 2 calls of unknown cost\); resume with"
    ) as caught:
        budget.check()
    assert caught.value.exit_code == 3
