"""The learning-rate schedule, by hand, for reinforcement learning and for the supervised stages."""

import pytest

from longform.rl.settings import learning_rate_factor


def test_a_rate_rises_and_stays_at_its_peak():
    factors = [learning_rate_factor(step, warmup_steps=4, decay_steps=0, end_step=8) for step in range(1, 9)]
    assert factors == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_a_rate_falls_from_the_warm_up_to_its_final_fraction():
    factors = [
        learning_rate_factor(step, warmup_steps=2, decay_steps=4, end_step=6, end_ratio=0.5) for step in range(1, 7)
    ]
    assert factors == [0.5, 1, 0.875, 0.75, 0.625, 0.5]


def test_a_rate_that_would_be_0_after_the_last_step_still_learns_in_it():
    factors = [learning_rate_factor(step, warmup_steps=0, decay_steps=4, end_step=9) for step in range(1, 9)]
    assert factors == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_a_warm_up_that_reaches_into_the_decay_takes_the_lower_of_the_two():
    factors = [learning_rate_factor(step, warmup_steps=4, decay_steps=4, end_step=5) for step in range(1, 5)]
    assert factors == pytest.approx([0.25, 0.5, 0.5, 0.25])


def test_without_warm_up_the_first_step_has_the_peak():
    assert learning_rate_factor(1, warmup_steps=0, decay_steps=0, end_step=1) == 1
