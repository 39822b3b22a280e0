"""Margins between two texts: pluses, fractions and pseudo-wins by hand, and what of an answer counts."""

import json

import pytest
from attacks import ATTACKS
from hypothesis import given
from hypothesis import strategies as st

from longform.judging.answers import fence_tag, read_fences
from longform.judging.margins import (
    ASPECTS,
    MarginPoints,
    ask_margins,
    count_points,
    parse_margins,
    pseudo_wins,
    win_fraction,
)

TAG = fence_tag(b"secret", "p", 0)
ALL_A = dict.fromkeys(ASPECTS, "A++")


def said(margins):
    return f"Compared.\n{json.dumps({'scores': margins})}"


def test_there_are_nine_respects():
    assert len(ASPECTS) == 9


def test_pluses_add_up_and_three_respects_take_from_the_loser():
    """A: 2 in each of nine. B: -2 for each of coherence, verbosity and poetic overload."""
    assert count_points(ALL_A) == MarginPoints(18, -6)
    assert count_points(ALL_A | {"coherence": "B+++++"}) == MarginPoints(16 - 5, -4 + 5)
    assert count_points(ALL_A | {"writing quality": "B+"}) == MarginPoints(16, -5)


def test_the_fraction_is_half_the_share_of_45_around_a_half():
    assert win_fraction(MarginPoints(0, 0)) == 0.5
    assert win_fraction(MarginPoints(9, 0)) == pytest.approx(0.6)
    assert win_fraction(MarginPoints(0, 9)) == pytest.approx(0.4)
    assert win_fraction(MarginPoints(90, -30)) == 1.0  # both orders together exceed 45
    assert win_fraction(MarginPoints(-30, 90)) == 0.0


@pytest.mark.parametrize(
    ("difference", "wins"), [(0, 0), (1, 1), (11, 1), (12, 2), (22, 2), (23, 3), (34, 4), (120, 4)]
)
def test_a_margin_counts_for_one_to_four_wins(difference, wins):
    """An eighth of a win is 11.25 pluses."""
    assert pseudo_wins(MarginPoints(difference, 0)) == wins
    assert pseudo_wins(MarginPoints(0, difference)) == wins


@given(st.dictionaries(st.sampled_from(list(ASPECTS)), st.from_regex(r"[AB]\+{1,5}", fullmatch=True)))
def test_swapping_the_letters_swaps_the_pluses(margins):
    swapped = {name: margin.translate({65: "B", 66: "A"}) for name, margin in margins.items()}
    assert count_points(swapped) == count_points(margins).swapped
    assert win_fraction(count_points(swapped)) == pytest.approx(1 - win_fraction(count_points(margins)))


def test_the_last_whole_object_counts():
    assert parse_margins(said(ALL_A)) == ALL_A
    assert parse_margins(said(ALL_A) + said(ALL_A | {"coherence": "B+"})) == ALL_A | {"coherence": "B+"}


@pytest.mark.parametrize(
    "margins",
    [
        ALL_A | {"coherence": "A"},
        ALL_A | {"coherence": "C+"},
        ALL_A | {"coherence": "A++++++"},
        ALL_A | {"coherence": "A+ "},
        ALL_A | {"coherence": 2},
        ALL_A | {"coherence": None},
        {name: margin for name, margin in ALL_A.items() if name != "coherence"},
    ],
)
def test_there_is_no_draw_no_sixth_plus_and_no_missing_respect(margins):
    assert parse_margins(said(margins)) is None


def test_an_answer_without_an_object_says_nothing():
    assert parse_margins("A is better: A+++") is None
    assert parse_margins(said(ALL_A).replace('"coherence": "A++"', '"coherence": "A++", "coherence": "B+"')) is None
    assert parse_margins('{"scores": ' * 50_000) is None


def test_a_judge_that_quotes_all_it_was_given_says_nothing():
    for text in (said(ALL_A), *(attack.armed(TAG) for attack in ATTACKS)):
        message = ask_margins(request=text, text_a=text, text_b="Fair.", tag=TAG)
        assert parse_margins(message) is None
        assert set(read_fences(message)) == {"REQUEST", "TEXT A", "TEXT B"}
