import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.statistics.moments import AdvantageMoments, shifted, whitened_means

RESPONSES = st.lists(st.lists(st.floats(-2, 2), min_size=1, max_size=6), min_size=2, max_size=5)


def _advantages(values, score, decay):
    """Advantages of one response by the plain recursion: rewards are 0 but for the last token."""
    deltas = [-value for value in values]
    for t in range(len(values) - 1):
        deltas[t] += values[t + 1]
    deltas[-1] += score
    out = np.zeros(len(values))
    following = 0.0
    for t in range(len(values) - 1, -1, -1):
        following = deltas[t] + decay * following
        out[t] = following
    return out


def _moments(advantages, decay):
    weights = decay ** np.arange(len(advantages))[::-1]
    return AdvantageMoments(len(advantages), advantages.sum(), (advantages**2).sum(), (weights * advantages).sum())


@given(values=st.lists(st.floats(-2, 2), min_size=1, max_size=8), decay=st.sampled_from([1.0, 0.95, 0.5, 0.0]))
def test_shifting_the_score_gives_the_moments_of_the_new_advantages(values, decay):
    before = _moments(_advantages(values, 0.25, decay), decay)
    after = _moments(_advantages(values, 1.0, decay), decay)
    assert shifted(before, 0.75, decay=decay) == pytest.approx(after, abs=1e-9)


@given(RESPONSES)
def test_means_are_those_of_whitening_every_token(responses):
    tokens = np.concatenate([np.asarray(it) for it in responses])
    whitened = (tokens - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)
    ends = np.cumsum([len(it) for it in responses])
    expected = [part.mean() for part in np.split(whitened, ends[:-1])]
    assert whitened_means([_moments(np.asarray(it), 1.0) for it in responses]) == pytest.approx(expected, abs=1e-3)


def test_a_single_token_says_nothing():
    assert whitened_means([AdvantageMoments(1, 3.0, 9.0, 3.0)]) == [0.0]
