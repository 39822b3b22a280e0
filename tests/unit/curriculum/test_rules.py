import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.curriculum.schedule import (
    PromptOutcome,
    RungUpdate,
    apply_updates,
    mixed_rung,
    rung_update,
    staged_rung,
    starting_rung,
)
from longform.curriculum.settings import CurriculumSettings

RUNGS = ["weak", "policy", "good", "best"]
DYNAMIC = CurriculumSettings()


def _climb(*outcomes, rung=1, streak=0, num_rungs=4, **settings):
    hashes = tuple(f"text-{place}" for place in range(len(outcomes)))
    visit = PromptOutcome(prompt_index=0, rung=rung, outcomes=outcomes, text_hashes=hashes)
    return rung_update(visit, streak=streak, num_rungs=num_rungs, settings=CurriculumSettings(**settings))


def test_a_win_climbs_one_rung():
    assert _climb("win").rung == 2


@pytest.mark.parametrize("outcome", ["tie", "loss", None])
def test_anything_but_a_win_stays(outcome):
    assert _climb(outcome).rung == 1


def test_a_group_of_wins_climbs_one_rung_only():
    assert _climb("win", "win", "win").rung == 2


def test_with_two_wins_asked_for_the_second_in_a_row_climbs():
    first = _climb("win", wins=2)
    assert (first.rung, first.streak) == (1, 1)
    assert _climb("win", streak=1, wins=2).rung == 2
    assert _climb("loss", streak=1, wins=2).streak == 0


def test_no_verdict_neither_breaks_nor_lengthens_a_streak():
    assert _climb(None, streak=1, wins=2).streak == 1


def test_at_the_top_a_winner_stays_or_retires():
    assert _climb("win", rung=3).rung == 3
    assert _climb("win", rung=3, top="retire").rung == 4


def test_a_share_of_the_group_must_win():
    assert _climb("win", "loss", "tie", "loss", wins=0.5).rung == 1
    assert _climb("win", "loss", "win", "loss", wins=0.5).rung == 2
    assert _climb("win", None, None, None, wins=0.5).rung == 2, "the share is of the verdicts that were heard"


def test_at_the_top_the_first_winning_response_becomes_the_next_rung():
    beyond = _climb("loss", "win", "win", rung=3, top="self")
    assert (beyond.rung, beyond.own_text) == (4, "text-1")
    assert _climb("win", rung=7, top="self").rung == 8, "and so on, against each winner in turn"
    assert _climb("win", rung=2, top="self").own_text is None, "below the top the ladder has references of its own"
    assert _climb("loss", rung=3, top="self").own_text is None


def test_wins_are_a_whole_number_of_visits_or_a_share_below_one():
    assert CurriculumSettings(wins=1.0).wins == 1
    for wins in (0, 1.5, -0.5):
        with pytest.raises(ValueError, match="wins"):
            CurriculumSettings(wins=wins)


def test_a_promotion_is_dropped_when_the_prompt_no_longer_stands_where_it_won():
    rungs, streaks = np.array([2], dtype=np.int32), np.zeros(1, dtype=np.int32)
    assert apply_updates(rungs, streaks, [RungUpdate(prompt_index=0, faced=1, rung=2, streak=0)]) == []
    assert rungs.tolist() == [2]


def test_two_climbs_of_one_prompt_in_one_step_count_once():
    rungs, streaks = np.array([1], dtype=np.int32), np.zeros(1, dtype=np.int32)
    twice = [RungUpdate(prompt_index=0, faced=1, rung=2, streak=0)] * 2
    assert len(apply_updates(rungs, streaks, twice)) == 1
    assert rungs.tolist() == [2]


def test_starting_rungs():
    def start(**settings):
        return starting_rung(RUNGS, CurriculumSettings(**settings), policy="policy")

    assert start() == 0
    assert start(start="own") == 1
    assert start(mode="fixed", reference="self") == 1
    assert start(mode="fixed", reference="best") == 3
    assert start(mode="fixed", reference="good") == 2
    with pytest.raises(ValueError, match="nobody"):
        start(mode="fixed", reference="nobody")


@given(num_rungs=st.integers(1, 9), draw=st.floats(0, 1, exclude_max=True))
def test_mixed_rungs_stay_on_the_ladder(num_rungs, draw):
    assert 0 <= mixed_rung(num_rungs, draw=draw) < num_rungs


def test_mixed_rungs_are_equally_likely():
    draws = (np.arange(4000) + 0.5) / 4000
    counts = np.bincount([mixed_rung(4, draw=draw) for draw in draws])
    assert counts.tolist() == [1000] * 4


def test_stages_partition_the_ladder_from_weak_to_strong():
    def reachable(progress):
        return {staged_rung(6, stages=3, progress=progress, draw=draw) for draw in (0.0, 0.3, 0.6, 0.99)}

    assert reachable(0.0) == {0, 1}
    assert reachable(0.4) == {2, 3}
    assert reachable(0.99) == {4, 5}


@given(num_rungs=st.integers(1, 9), stages=st.integers(1, 9), progress=st.floats(0, 0.999), draw=st.floats(0, 0.999))
def test_staged_rungs_stay_on_the_ladder(num_rungs, stages, progress, draw):
    assert 0 <= staged_rung(num_rungs, stages=stages, progress=progress, draw=draw) < num_rungs
