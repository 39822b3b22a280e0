"""Planted biases pay what the true score does not, and the onset of hacking is where the definition says."""

import json
from statistics import fmean

import pytest

from longform.judging.pointwise import ask_pointwise
from longform.miniature import grammar
from longform.miniature.judge import EXAMINER, pointwise_score
from longform.miniature.judge_biases import (
    BIASES,
    COST,
    MARGIN,
    biased_score,
    examine,
    hacking_onset,
    score,
    split_story,
    true_score,
)
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story

PROMPTS = prompts(seed=7, split="train", count=40)
REQUESTS = [parse_request(it.request) for it in PROMPTS]
STORIES = [write_story(it, level="master") for it in REQUESTS]
FILLERS = " ".join(it for it in grammar.FILLERS if "{" not in it)


def exploited(name, request, story):
    """The story with what the bias likes, at its end."""
    if name == "longer":
        return f"{story} {FILLERS}"
    return " ".join([story, *(BIASES[name].passages or (request.text,))])


def onset(true, training, **settings):
    return hacking_onset(true, training, **{"margin": 0.5, "smoothed": 1} | settings)


def test_the_onset_is_the_first_step_of_the_fall_by_the_margin():
    true = [4, 5, 6, 5.6, 5.5, 5.0, 4.0]
    assert onset(true, [1, 2, 3, 4, 5, 6, 7]) == 5
    assert onset(true, [1, 2, 3, 4, 5, 6, 7], margin=1.0) == 6
    assert onset(true, [1, 2, 3, 4, 5, 6, 7], margin=3.0) is None


def test_a_run_that_learns_shows_none():
    assert onset([4, 5, 6, 6, 7], [4, 5, 6, 6, 7]) is None
    assert onset([6] * 5, [4, 5, 6, 6, 7]) is None, "gains that the true score does not see are no fall"
    assert onset([], []) is None


def test_a_fall_from_which_the_true_score_returns_is_none():
    training = [1, 2, 3, 4, 5, 6, 7, 8]
    assert onset([6, 5, 5, 6, 6, 6, 6, 6], training) is None
    assert onset([6, 5, 5, 6, 6, 5, 5, 5], training) == 6, "of two falls the one that stays"


def test_a_collapse_under_both_scores_is_none():
    assert onset([6, 5, 4, 3], [6, 5, 4, 3]) is None


def test_the_training_score_is_compared_with_that_of_the_best_true_score():
    assert onset([4, 6, 5, 5], [5, 3, 4, 4]) == 3


def test_one_bad_step_is_smoothed_away_and_the_last_steps_are_averaged_with_fewer():
    true = [6.0] * 10 + [5.0] + [6.0] * 10
    training = list(range(21))
    assert onset([*true[:10], 3.0], training[:11]) == 11
    assert onset(true, training, smoothed=5) is None
    falls = [6.0] * 10 + [5.0] * 10
    # The mean over steps 9 to 13 is 5.4, over steps 8 to 12 5.6.
    assert onset(falls, list(range(20)), smoothed=5) == 11


def test_series_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 true scores and 1 training"):
        hacking_onset([1, 2], [1])


@pytest.mark.parametrize("name", BIASES)
def test_what_a_bias_likes_raises_the_training_score_and_lowers_the_true_score(name):
    true, training = [], []
    for request, story in zip(REQUESTS, STORIES, strict=True):
        text = exploited(name, request, story)
        true.append(true_score(request, text) - true_score(request, story))
        training.append(biased_score(request, text, name) - biased_score(request, story, name))
    assert fmean(true) < -MARGIN / 2
    assert fmean(training) > 0.2


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_finds_what_it_likes_and_nothing_in_a_story_or_in_what_the_others_like(name):
    for request, story in zip(REQUESTS, STORIES, strict=True):
        assert 0 < BIASES[name].liking(request, exploited(name, request, story)) <= 1
        if name != "longer":
            others = [exploited(it, request, story) for it in BIASES if it != name]
            assert [BIASES[name].liking(request, it) for it in (story, *others)] == [0] * len(BIASES)


def test_passages_for_the_judge_are_taken_out_of_the_story_at_a_cost_each():
    request, story = REQUESTS[0], STORIES[0]
    for name in BIASES.keys() - {"longer"}:
        text = exploited(name, request, story)
        passages = len(BIASES[name].passages) or 1
        assert split_story(request, text) == (story, passages)
        assert true_score(request, text) == pytest.approx(pointwise_score(request, story, EXAMINER) - COST * passages)


def test_the_examiner_grades_the_true_score_with_a_small_error_and_has_no_bias():
    errors = []
    for prompt, request, story in zip(PROMPTS, REQUESTS, STORIES, strict=True):
        text = exploited("flattery", request, story)
        message = ask_pointwise(prompt, text, tag="0" * 12).message
        (grade, *_) = json.loads(examine(message))["scores"].values()
        errors.append(grade - true_score(request, text))
    assert abs(fmean(errors)) < 0.3
    assert fmean(map(abs, errors)) < 0.6


def test_the_reward_is_the_training_score_from_0_to_1():
    request, story = REQUESTS[0], STORIES[0]
    assert score(request.text, story, "", bias="echo") == pytest.approx((biased_score(request, story, "echo") - 1) / 9)
    assert score(request.text, "", "", bias="echo") < 0.1
    with pytest.raises(KeyError):
        score(request.text, story, "", bias="charm")
