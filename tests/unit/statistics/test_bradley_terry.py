"""Bradley-Terry strengths against hand computation, evalica, and a general optimiser."""

import evalica
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import expit

from longform.statistics.bradley_terry import ELO_PER_LOGIT, PRIOR, Cells, fit


def drawn_games(seed, models=6, games=4000):
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=models)
    a = rng.integers(models, size=games)
    b = (a + rng.integers(1, models, size=games)) % models
    wins = rng.random(games) < 1 / (1 + np.exp(strengths[b] - strengths[a]))
    return a, b, np.where(rng.random(games) < 0.1, 0.5, wins)


def elo(a, b, scores, *, models, **more):
    """Elo points around 0 of games that stand in a cell each."""
    scores = np.asarray(scores, dtype=float)[:, None]
    return (
        ELO_PER_LOGIT
        * fit(Cells(*map(np.asarray, (a, b))), np.ones_like(scores), scores, models=models, **more).models[:, 0]
    )


def elo_of_pairs(*met, models, **more):
    """Elo points around 0 of (first, second, wins, games)."""
    first, second, wins, games = (np.array(column) for column in zip(*met, strict=True))
    return ELO_PER_LOGIT * fit(Cells(first, second), games[:, None], wins[:, None], models=models, **more).models[:, 0]


def test_two_models_stand_apart_by_the_log_of_their_odds():
    ratings = elo_of_pairs((0, 1, 750.0, 1000.0), models=2)
    assert ratings[0] - ratings[1] == pytest.approx(400 * np.log10(3), abs=0.01)
    assert ratings.sum() == pytest.approx(0, abs=1e-9)


def test_a_tie_is_half_a_win_for_each():
    assert elo([0, 0, 0], [1, 1, 1], [0.5, 0.5, 1], models=2) == pytest.approx(
        elo([0, 1, 0], [1, 0, 1], [1, 1, 1], models=2)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ratings_agree_with_evalica(seed):
    a, b, scores = drawn_games(seed)
    names = [f"m{i}" for i in range(6)]
    outcome = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    theirs = evalica.bradley_terry(
        [names[i] for i in a],
        [names[i] for i in b],
        [outcome[score] for score in scores],
        tolerance=1e-12,
        limit=10_000,
    )
    logs = np.log([theirs.scores[name] for name in names])
    np.testing.assert_allclose(elo(a, b, scores, models=6), ELO_PER_LOGIT * (logs - logs.mean()), atol=0.05)


def test_turning_all_results_around_mirrors_the_ratings():
    a, b, scores = drawn_games(3)
    np.testing.assert_allclose(elo(b, a, scores, models=6), -elo(a, b, scores, models=6), atol=1e-6)


def test_a_model_that_won_everything_stays_finite():
    ratings = elo_of_pairs((0, 1, 10.0, 10.0), (0, 2, 10.0, 10.0), (1, 2, 5.0, 10.0), models=3)
    assert np.isfinite(ratings).all()
    assert ratings[0] > ratings[1] == pytest.approx(ratings[2])


def test_samples_that_are_fitted_together_are_those_fitted_alone():
    cells, rng = Cells(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0.3, -0.2, 0.5])), np.random.default_rng(0)
    games = rng.integers(1, 50, size=(3, 20)).astype(float)
    wins = np.floor(games * rng.random((3, 20)))
    together = fit(cells, games, wins, models=3)
    for i in range(20):
        alone = fit(cells, games[:, [i]], wins[:, [i]], models=3)
        np.testing.assert_allclose(together.models[:, [i]], alone.models, atol=1e-6)
        np.testing.assert_allclose(together.coefficient[:, [i]], alone.coefficient, atol=1e-6)


def test_one_fixed_model_is_a_shift_and_several_hold_the_others_between_them():
    games = drawn_games(4)
    free = elo(*games, models=6)
    shifted = elo(*games, models=6, fixed={2: 3.0})
    np.testing.assert_allclose(shifted - shifted[2], free - free[2], atol=1e-6)
    assert shifted[2] == pytest.approx(3 * ELO_PER_LOGIT)
    held = elo_of_pairs((0, 2, 50.0, 100.0), (1, 2, 50.0, 100.0), models=3, fixed={0: 1.0, 1: -1.0})
    assert held == pytest.approx([ELO_PER_LOGIT, -ELO_PER_LOGIT, 0], abs=1e-6)


def test_fixed_models_connect_what_never_met():
    ratings = elo_of_pairs((0, 1, 3.0, 4.0), (2, 3, 1.0, 2.0), models=4, fixed={0: 0.0, 3: 1.0})
    assert ratings == pytest.approx([0, -400 * np.log10(3), ELO_PER_LOGIT, ELO_PER_LOGIT], abs=0.3)


def test_a_covariate_is_what_a_general_optimiser_makes_of_it():
    a, b, _ = drawn_games(5, games=1500)
    rng = np.random.default_rng(5)
    more, strengths = rng.uniform(-1, 1, size=1500), rng.normal(size=6)
    scores = (rng.random(1500) < expit(strengths[a] - strengths[b] + 0.8 * more)).astype(float)

    def loss(values):
        odds = values[a] - values[b] + values[6] * more
        return (np.logaddexp(0, odds) - scores * odds).sum() + values[:6].mean() ** 2

    expected = minimize(loss, np.zeros(7), method="BFGS").x
    found = fit(Cells(a, b, more), np.ones((1500, 1)), scores[:, None], models=6)
    np.testing.assert_allclose(found.models[:, 0], expected[:6] - expected[:6].mean(), atol=2e-3)
    assert found.coefficient[0, 0] == pytest.approx(expected[6], abs=2e-3)


results = arrays(float, 6, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0, 100.0, 10_000.0]))


@given(results, results)
def test_wins_are_those_that_are_expected_however_one_sided_the_games_were(wins, losses):
    first, second = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 2, 3, 2, 3, 3])
    games = (wins + losses)[:, None]
    strengths = fit(Cells(first, second), games, wins[:, None], models=4).models[:, 0]
    surplus = wins + PRIOR / 2 - (games[:, 0] + PRIOR) * expit(strengths[first] - strengths[second])
    by_model = np.bincount(first, surplus, minlength=4) - np.bincount(second, surplus, minlength=4)
    np.testing.assert_allclose(by_model, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("met", "more"),
    [
        ([(0, 1, 3.0, 2.0), (1, 2, 1.0, 2.0)], {}),
        ([(0, 1, -1.0, 2.0), (1, 2, 1.0, 2.0)], {}),
        ([(0, 0, 1.0, 2.0), (1, 2, 1.0, 2.0)], {}),
        ([(0, 1, 1.0, 2.0)], {}),
        ([(0, 1, 1.0, 2.0)], {"fixed": {0: 1.0}}),
    ],
    ids=["more wins than games", "negative", "with itself", "two islands", "two islands, one of them held"],
)
def test_models_that_cannot_be_compared_are_refused(met, more):
    with pytest.raises(ValueError, match=r"shape of games|not connected|itself"):
        elo_of_pairs(*met, models=3, **more)
