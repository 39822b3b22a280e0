"""Importance weights of tokens that another engine drew, against numbers by hand and a plain loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longform.rl.importance import measure_mismatch, truncated_weights


def test_mismatch_by_hand() -> None:
    trainer = torch.tensor([[-1.0, -2.0, -9.0]])
    engine = torch.tensor([[-1.5, -1.0, 0.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    found = measure_mismatch(trainer, engine, mask)
    assert found.mean == pytest.approx(0.75)
    assert found.largest == pytest.approx(1.0)
    assert found.k3 == pytest.approx(((math.exp(0.5) - 1.5) + (math.exp(-1.0) - 1 + 1)) / 2)


def test_nothing_that_was_drawn_is_no_mismatch() -> None:
    assert measure_mismatch(torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 3)) == (0.0, 0.0, 0.0)


@given(
    st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0), st.booleans()), min_size=1, max_size=20), st.floats(0.5, 4)
)
def test_weights_are_those_of_a_plain_loop(tokens: list[tuple[float, float, bool]], cap: float) -> None:
    trainer, engine, mask = (torch.tensor([column], dtype=torch.float64) for column in zip(*tokens, strict=True))
    weights = truncated_weights(trainer, engine, mask, cap=cap)
    plain = [min(math.exp(new - old), cap) if kept else 0.0 for new, old, kept in tokens]
    assert weights[0].tolist() == pytest.approx(plain)
