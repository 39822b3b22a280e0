import numpy as np
import pytest

from longform.curriculum.schedule import Curriculum, PromptDraw
from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import StoppedError
from longform.rewards.judged import VALUES
from longform.rewards.reward import RewardResult, missing_cause
from longform.steps.metrics import check_judge_failure_rate, finalize_step

FACED = [PromptDraw(0, 0), PromptDraw(1, 1), PromptDraw(2, 2)]


def _curriculum(**settings):
    return Curriculum([3, 3, 3], [0, 1, 2], CurriculumSettings(**settings), seed=0, steps=10)


def _close(*outcomes, curriculum=None):
    results = [{"pairwise": RewardResult(None if it is None else VALUES["paper"][it], it)} for it in outcomes]
    hashes = [f"text-{row}" for row in range(len(outcomes))]
    return finalize_step(results, FACED, hashes, curriculum or _curriculum(), weights=[1])


def test_scores_are_those_of_the_reward():
    closed = _close("win", "tie", "loss")
    assert closed.scores.tolist() == [1.0, 0.5, 0.0]
    assert closed.mask.all()


def test_no_verdict_is_masked_and_never_a_loss():
    closed = _close(None, "win", "loss")
    assert closed.mask.tolist() == [False, True, True]
    assert [it.prompt_index for it in closed.updates if it.promoted] == [1]


def test_a_score_of_zero_takes_part():
    results = [{"pointwise": RewardResult(0.0)}] * 3
    assert finalize_step(results, FACED, [""] * 3, _curriculum(), weights=[1]).mask.all()


def test_a_reward_without_an_outcome_promotes_nobody():
    closed = finalize_step([{"pointwise": RewardResult(1.0)}] * 3, FACED, [""] * 3, _curriculum(), weights=[1])
    assert closed.scores.tolist() == [1.0, 1.0, 1.0]
    assert not any(it.promoted for it in closed.updates)


def test_closing_a_step_does_not_touch_the_state():
    curriculum = _curriculum()
    climbs = _close("win", "win", "win", curriculum=curriculum).updates
    assert curriculum.rungs.tolist() == [0, 1, 2]
    curriculum.commit(climbs)
    assert curriculum.rungs.tolist() == [1, 2, 2]


def test_the_rollouts_of_a_group_face_one_rung_and_climb_together():
    closed = _close("loss", "win", "loss", "loss", None, None)
    assert [it.promoted for it in closed.updates] == [True, False, False]
    np.testing.assert_array_equal(closed.mask, [True, True, True, True, False, False])


def test_the_response_that_becomes_a_rung_is_the_winner_of_its_own_group():
    closed = _close("win", "win", "loss", "loss", "loss", "win", curriculum=_curriculum(top="self"))
    assert [it.own_text for it in closed.updates] == [None, None, "text-5"]


def test_a_judge_that_fails_too_often_stops_the_run_and_names_the_causes():
    failed = [{"pairwise": RewardResult(None, cause=cause)} for cause in ("timeout", "timeout", "no_verdict")]
    results = [*failed, {"pairwise": RewardResult(1.0, "win")}]
    check_judge_failure_rate(results, step=3, limit=0.75, setting="rewards.pairwise.max_judge_failure_rate")
    with pytest.raises(StoppedError, match=r"step 3: 3 of 4 rollouts have no score \(1 no_verdict, 2 timeout\)"):
        check_judge_failure_rate(results, step=3, limit=0.5, setting="rewards.pairwise.max_judge_failure_rate")


def test_several_rewards_are_a_weighted_mean_and_one_silence_masks_the_whole_rollout():
    results = [
        {"pairwise": RewardResult(1.0, "win"), "length": RewardResult(0.4)},
        {"pairwise": RewardResult(None, None, "timeout"), "length": RewardResult(1.0)},
        {"pairwise": RewardResult(0.0, "loss"), "length": RewardResult(1.0)},
    ]
    closed = finalize_step(results, FACED, [""] * 3, _curriculum(), weights=[3, 1])
    assert closed.mask.tolist() == [True, False, True]
    assert closed.scores.tolist() == pytest.approx([0.85, 0.0, 0.25])
    assert closed.by_reward.tolist() == [[1.0, 0.4], [0.0, 0.0], [0.0, 1.0]]
    assert [closed.reward(row) for row in range(3)] == pytest.approx([0.85, None, 0.25])
    assert missing_cause(results[1]) == "timeout"


def test_a_win_counts_with_the_update_it_belongs_to_and_not_where_another_reward_is_missing():
    masked = {"pairwise": RewardResult(1.0, "win"), "pointwise": RewardResult(None, None, "no_grade")}
    heard = {"pairwise": RewardResult(1.0, "win"), "pointwise": RewardResult(0.5)}
    closed = finalize_step([masked, heard, masked], FACED, [""] * 3, _curriculum(), weights=[1, 1])
    assert [it.promoted for it in closed.updates] == [False, True, False]


def test_a_group_with_too_few_rewards_promotes_nobody():
    closed = _close_groups(min_responses=2)
    assert [it.promoted for it in closed.updates] == [False, True, True]
    assert closed.mask.tolist() == [True, False, True, True, True, True]


def test_a_win_of_a_response_that_is_left_out_promotes_nobody_while_its_score_stays():
    """The prompt is below its top rung, so the same win promotes it if its response takes part."""
    left_out = np.array([False, False, False, False, True, False])
    closed = _close_groups(min_responses=2, left_out=left_out)
    assert [it.promoted for it in closed.updates] == [False, True, False]
    assert closed.mask.tolist() == [True, False, True, True, True, True]
    assert closed.scores[4] == 1


def _close_groups(**how):
    """Two rollouts for each of three prompts below their top rungs: one silent; two wins; a win and a loss."""
    win, loss = ({"pairwise": RewardResult(VALUES["paper"][it], it)} for it in ("win", "loss"))
    results = [win, {"pairwise": RewardResult(None, None, "timeout")}, win, win, win, loss]
    curriculum = Curriculum([4, 4, 4], [0, 1, 2], CurriculumSettings(), seed=0, steps=10)
    return finalize_step(results, FACED, [""] * 6, curriculum, weights=[1], **how)
