import numpy as np
import pytest

from longform.curriculum.schedule import Curriculum, Faced
from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import StoppedError
from longform.rewards.closing import check_verdict_rate, close_step


def _curriculum():
    return Curriculum([3, 3, 3], [0, 1, 2], CurriculumSettings(), seed=0, steps=10)


FACED = [Faced(0, 0), Faced(1, 1), Faced(2, 2)]


def test_a_win_is_one_a_tie_a_half_a_loss_nothing():
    closed = close_step(["win", "tie", "loss"], FACED, _curriculum())
    assert closed.scores.tolist() == [1.0, 0.5, 0.0]
    assert closed.mask.all()


def test_no_verdict_is_masked_and_never_a_loss():
    closed = close_step([None, "win", "loss"], FACED, _curriculum())
    assert closed.mask.tolist() == [False, True, True]
    assert [it.prompt_index for it in closed.climbs if it.promoted] == [1]


def test_closing_a_step_does_not_touch_the_state():
    curriculum = _curriculum()
    climbs = close_step(["win", "win", "win"], FACED, curriculum).climbs
    assert curriculum.rungs.tolist() == [0, 1, 2]
    curriculum.commit(climbs)
    assert curriculum.rungs.tolist() == [1, 2, 2]


def test_the_rollouts_of_a_group_face_one_rung_and_climb_together():
    outcomes = ["loss", "win", "loss", "loss", None, None]
    closed = close_step(outcomes, FACED, _curriculum())
    assert [it.promoted for it in closed.climbs] == [True, False, False]
    np.testing.assert_array_equal(closed.mask, [True, True, True, True, False, False])


def test_a_judge_that_fails_too_often_stops_the_run_and_names_the_causes():
    causes = ["timeout", "timeout", "no_verdict", None]
    check_verdict_rate(causes, step=3, limit=0.75)
    with pytest.raises(StoppedError, match=r"step 3: 3 of 4 rollouts got no verdict \(1 no_verdict, 2 timeout\)"):
        check_verdict_rate(causes, step=3, limit=0.5)
