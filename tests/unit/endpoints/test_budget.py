"""Counting cost, and stopping."""

import asyncio

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


def test_calls_in_flight_stay_within_the_budget_together():
    budget, in_flight, most_in_flight = Budget(5.0), 0, 0

    async def call():
        nonlocal in_flight, most_in_flight
        expected = await budget.admit(1.25)  # at most; in truth 1
        in_flight += 1
        most_in_flight = max(most_in_flight, in_flight)
        await asyncio.sleep(0.01)
        in_flight -= 1
        budget.add(1.0)
        budget.release(expected)

    async def call_all():
        return await asyncio.gather(*(call() for _ in range(9)), return_exceptions=True)

    outcomes = asyncio.run(call_all())
    assert (budget.spent, most_in_flight) == (5.0, 4)
    assert sum(isinstance(it, StoppedError) for it in outcomes) == 4


def test_a_call_that_may_cost_more_than_the_budget_is_made_alone():
    budget = Budget(0.5)
    budget.release(asyncio.run(budget.admit(9.0)))
    budget.release(asyncio.run(budget.admit(9.0)))
