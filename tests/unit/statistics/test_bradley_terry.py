"""Bradley-Terry strengths against hand computation and evalica."""

import evalica
import numpy as np
import pytest

from longform.statistics.bradley_terry import elo_ratings, win_matrix


def drawn_games(seed, models=6, games=4000):
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=models)
    a = rng.integers(models, size=games)
    b = (a + rng.integers(1, models, size=games)) % models
    wins = rng.random(games) < 1 / (1 + np.exp(strengths[b] - strengths[a]))
    return a, b, np.where(rng.random(games) < 0.1, 0.5, wins)


def test_two_models_stand_apart_by_the_log_of_their_odds():
    ratings = elo_ratings(np.array([[0.0, 750.0], [250.0, 0.0]]))
    assert ratings[0] - ratings[1] == pytest.approx(400 * np.log10(3), abs=0.01)
    assert ratings.mean() == pytest.approx(1000.0)


def test_a_tie_is_half_a_win_for_each():
    tied = win_matrix([0, 0], [1, 1], [0.5, 0.5], models=2)
    np.testing.assert_array_equal(tied, win_matrix([0, 1], [1, 0], [1.0, 1.0], models=2))
    assert elo_ratings(tied) == pytest.approx([1000.0, 1000.0])


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
    expected = 1000 + 400 / np.log(10) * (logs - logs.mean())
    np.testing.assert_allclose(elo_ratings(win_matrix(a, b, scores, models=6)), expected, atol=0.05)


def test_turning_all_results_around_mirrors_the_ratings():
    wins = win_matrix(*drawn_games(3), models=6)
    np.testing.assert_allclose(elo_ratings(wins.T) - 1000, 1000 - elo_ratings(wins), atol=1e-6)


def test_a_model_that_won_everything_stays_finite():
    ratings = elo_ratings(np.array([[0.0, 10.0, 10.0], [0.0, 0.0, 5.0], [0.0, 5.0, 0.0]]))
    assert np.isfinite(ratings).all()
    assert ratings[0] > ratings[1] == pytest.approx(ratings[2])


def test_games_of_a_model_with_itself_change_nothing():
    wins = np.array([[0.0, 7.0], [3.0, 0.0]])
    np.testing.assert_allclose(elo_ratings(wins + 5 * np.eye(2)), elo_ratings(wins))


@pytest.mark.parametrize(
    "wins",
    [np.zeros((2, 3)), -np.ones((2, 2)), np.zeros((2, 2)), np.kron(np.eye(2), np.array([[0, 1], [1, 0]]))],
    ids=["not square", "negative", "no games", "two islands"],
)
def test_models_that_cannot_be_compared_are_refused(wins):
    with pytest.raises(ValueError, match=r"square|never met"):
        elo_ratings(wins)
