"""Criteria of the miniature world: its judge writes them, and grades by what they name."""

import json

import pytest

from longform.judging.criteria import ask_criterion, describe_criterion, parse_criterion
from longform.judging.criteria_writing import TextContrast, ask_for_criteria, parse_criteria
from longform.judging.pointwise import ask_pointwise
from longform.miniature.criteria import MEASURE_OF
from longform.miniature.judge import EXAMINER, answer, measure
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story

PROMPT = prompts(seed=1, split="train", count=1)[0]
REQUEST = parse_request(PROMPT.request)
TAG = "0" * 12


@pytest.mark.parametrize("contrast", [None, TextContrast("better", "worse")])
def test_the_judge_writes_criteria_in_the_asked_form(contrast):
    said = answer(ask_for_criteria(PROMPT, contrast, count=5, tag=TAG), EXAMINER)
    criteria = parse_criteria(said, count=5)
    assert criteria is not None and [it.name for it in criteria] == list(MEASURE_OF)


def test_a_criterion_is_graded_by_the_measure_that_it_names():
    criteria = parse_criteria(answer(ask_for_criteria(PROMPT, count=5, tag=TAG), EXAMINER), count=5)
    story = write_story(REQUEST, level="master")
    without = " ".join(word for word in story.split() if not any(it in word for it in REQUEST.words))
    prompt = PROMPT.model_copy(update={"criteria": criteria})
    scores = [
        json.loads(answer(ask_pointwise(prompt, text, tag=TAG).message, EXAMINER))["scores"]
        for text in (story, without)
    ]
    assert measure(REQUEST, without).coverage == 0
    assert (scores[1]["required words"], scores[0]["required words"] > 5) == (1.0, True)
    assert scores[1]["order of events"] > 2


def test_each_criterion_can_be_asked_about_by_itself():
    criteria = parse_criteria(answer(ask_for_criteria(PROMPT, count=5, tag=TAG), EXAMINER), count=5)
    story = write_story(REQUEST, level="master")
    without = " ".join(word for word in story.split() if not any(it in word for it in REQUEST.words))
    described = [describe_criterion(it) for it in criteria or ()]
    asked = [ask_criterion(request=PROMPT.request, text=without, criterion=it, tag=TAG) for it in described]
    scores = [parse_criterion(answer(it, EXAMINER)) for it in asked]
    assert scores[0] == 1 and None not in scores and max(it or 0 for it in scores) > 2


def test_more_criteria_than_the_world_has_are_an_error():
    with pytest.raises(ValueError, match="has 5 criteria, not 6"):
        answer(ask_for_criteria(PROMPT, count=6, tag=TAG), EXAMINER)
