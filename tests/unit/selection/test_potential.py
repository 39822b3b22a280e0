"""Learning potential, the floor and the order of prompts, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.records.errors import BadInputError
from longform.selection.potential import Candidate, candidate, floor_score, ordered
from longform.selection.settings import Floor

GRADES = st.floats(0, 10).map(lambda score: round(score, 2))


def _candidates(**scores):
    return [Candidate(id_, policy, best, "a") for id_, (policy, best) in scores.items()]


def _ids(candidates):
    return [it.id for it in candidates]


def test_potential_is_the_best_competitor_minus_the_policy():
    found = candidate("p", {"me": 4.0, "a": 6.5, "b": 9.0}, policy="me")
    assert found is not None
    assert found == Candidate("p", 4.0, 9.0, "b")
    assert found.potential == 5.0


def test_potential_is_negative_where_the_policy_is_best():
    found = candidate("p", {"me": 9.0, "a": 6.5}, policy="me")
    assert found is not None
    assert found.potential == -2.5


@given(st.permutations([("me", 1.0), ("c", 7.0), ("b", 7.0), ("z", 3.0)]))
def test_of_equal_competitors_the_first_in_the_alphabet_is_the_best(scores):
    found = candidate("p", dict(scores), policy="me")
    assert found is not None
    assert found.competitor == "b"


@pytest.mark.parametrize("scores", [{}, {"me": 4.0}, {"a": 6.5, "b": 9.0}])
def test_without_a_grade_on_either_side_there_is_no_candidate(scores):
    assert candidate("p", scores, policy="me") is None


def test_equal_potentials_tie_whatever_way_they_were_summed():
    one, other = Candidate("b", 0.1 + 0.2, 1.3, "x"), Candidate("a", 0.3, 1.3, "x")
    assert one.potential == other.potential == 1.0
    assert _ids(ordered([one, other], strategy="margin", seed=0)) == ["a", "b"]


def test_margin_takes_the_most_to_learn_first_and_ties_by_id():
    candidates = _candidates(c=(5, 8), a=(5, 8), b=(2, 9), d=(9, 3))
    assert _ids(ordered(candidates, strategy="margin", seed=0)) == ["b", "a", "c", "d"]


def test_difficulty_takes_the_policys_lowest_grades_first():
    candidates = _candidates(c=(5, 8), a=(5, 6), b=(2, 3), d=(9, 10))
    assert _ids(ordered(candidates, strategy="difficulty", seed=0)) == ["b", "a", "c", "d"]


def test_random_is_a_shuffle_that_hangs_on_the_seed_alone():
    candidates = _candidates(**{f"p{i}": (1, i) for i in range(50)})
    one, again = (_ids(ordered(order, strategy="random", seed=3)) for order in (candidates, candidates[::-1]))
    other = _ids(ordered(candidates, strategy="random", seed=4))
    assert one == again
    assert sorted(one) == sorted(other) == sorted(_ids(candidates))
    assert one != other
    assert one != sorted(one)


@given(
    scores=st.dictionaries(st.text(min_size=1, max_size=3), st.tuples(GRADES, GRADES), max_size=12),
    strategy=st.sampled_from(["margin", "difficulty", "random"]),
    randomness=st.randoms(use_true_random=False),
)
def test_the_order_of_the_input_never_matters(scores, strategy, randomness):
    candidates = _candidates(**scores)
    shuffled = randomness.sample(candidates, len(candidates))
    assert ordered(shuffled, strategy=strategy, seed=1) == ordered(candidates, strategy=strategy, seed=1)


def test_a_floor_is_a_score_or_a_percentile_of_the_best_competitors():
    candidates = _candidates(a=(0, 1), b=(0, 2), c=(0, 3), d=(9, 4), e=(0, 10))
    assert floor_score(candidates, Floor.parse("2.5")) == 2.5
    assert floor_score(candidates, Floor.parse("p0")) == 1
    assert floor_score(candidates, Floor.parse("p50")) == 3
    assert floor_score(candidates, Floor.parse("p90")) == pytest.approx(4 + 0.6 * 6)
    assert floor_score(candidates, None) == floor_score([], Floor.parse("p50")) == float("-inf")


def test_a_score_at_the_floor_reaches_it_whatever_way_it_was_summed():
    just_below = (0.7 + 0.1) / 1 + 0.1  # 0.8999999999999999
    assert just_below < 0.9
    assert Candidate("p", 0.0, just_below, "a").reaches(0.9)
    assert not Candidate("p", 0.0, 0.89, "a").reaches(0.9)
    assert Candidate("p", 0.0, -1e9, "a").reaches(float("-inf"))


@pytest.mark.parametrize("text", ["", "p", "p101", "p-1", "4,5", "nan", "20%", "inf", "p20 "])
def test_what_is_no_floor_is_refused(text):
    with pytest.raises(BadInputError, match="--floor"):
        Floor.parse(text)
