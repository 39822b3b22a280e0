"""Two texts in both orders: what a letter means, and what two orders come to together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.judging.pairwise import agreed, in_order, split_pairs, winner_of
from longform.records.schemas import GAME_SCORES, ORDERS, Game


@pytest.mark.parametrize(
    ("letter", "order", "winner"),
    [("A", "ab", "a"), ("B", "ab", "b"), ("A", "ba", "b"), ("B", "ba", "a"), ("C", "ab", "tie"), ("C", "ba", "tie")],
)
def test_a_letter_names_the_text_that_was_read_in_its_place(letter, order, winner):
    assert winner_of(letter, order) == winner


def test_a_judge_that_always_names_the_first_text_ties_in_both_orders():
    assert agreed(winner_of("A", "ab"), winner_of("A", "ba")) == "tie"
    assert agreed("a", "a") == "a"
    assert agreed("tie", "b") == "tie"


@given(st.integers(), st.integers(), st.sampled_from(ORDERS))
def test_ordering_twice_gives_the_two_back(a, b, order):
    assert in_order(*in_order(a, b, order), order) == (a, b)


@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from(("ab", "ba", None)), st.sampled_from("xy"))))
def test_games_are_split_into_whole_pairs_and_lonely_ones(drawn):
    games = [
        Game(prompt_id=id_, model_a="m", model_b="n", winner="a", order=order, judge=judge)
        for id_, order, judge in drawn
    ]
    whole, alone = split_pairs(games)
    assert sorted(map(id, whole + alone)) == sorted(map(id, games))
    known = {(game.prompt_id, game.judge, game.order) for game in games}
    for game in games:
        has_both = {(game.prompt_id, game.judge, order) for order in ORDERS} <= known
        assert any(it is game for it in (whole if has_both else alone))


def test_scores_of_the_winners_add_up_to_one():
    assert GAME_SCORES["a"] + GAME_SCORES["b"] == 2 * GAME_SCORES["tie"] == 1
