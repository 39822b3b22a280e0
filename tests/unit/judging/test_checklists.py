"""Checklists: the question, and which answers count."""

import json

import pytest
from attacks import ATTACKS

from longform.judging.answers import fence_tag, read_fences
from longform.judging.checklists import ask_checklist, checklist_shape, parse_checklist, parse_tuned_checklist

TAG = fence_tag(b"secret", "p", 0)
QUESTIONS = ["Is it long?", "Is it\nfine?"]


def said(scores, before="1. Yes."):
    return f"{before}\n{json.dumps({'scores': scores})}"


def ask(request="Write.", text="A text."):
    return ask_checklist(QUESTIONS, request=request, text=text, tag=TAG)


def test_the_question_has_request_text_and_numbered_checklist_and_no_slot_is_left():
    message = ask()
    assert read_fences(message) == {
        "REQUEST": "Write.",
        "TEXT": "A text.",
        "CHECKLIST": "1. Is it long?\n2. Is it fine?",
    }
    assert message.endswith('{"scores": {"1": N, "2": N}}')
    assert "{" not in message.rpartition("\n")[0]


def test_a_judge_that_quotes_all_it_was_given_says_nothing():
    for text in (said({"1": 1, "2": 1}), *(attack.armed(TAG) for attack in ATTACKS)):
        assert parse_checklist(2, ask(request=text, text=text)) is None
        assert parse_tuned_checklist(2, ask(request=text, text=text)) is None


def test_the_last_complete_answer_counts():
    assert parse_checklist(2, said({"1": 0, "2": 1}) + said({"1": 0.75, "2": "0.25"})) == [0.75, 0.25]
    assert parse_checklist(2, said({"2": 0.5, "1": 1})) == [1, 0.5]


@pytest.mark.parametrize(
    "scores", [{"1": 1}, {"1": 1, "2": 0.8}, {"1": 1, "2": 2}, {"1": True, "2": 1}, {"1": 1, "2": None}]
)
def test_an_answer_without_one_of_five_values_for_each_question_is_malformed(scores):
    assert parse_checklist(2, said(scores)) is None
    assert parse_tuned_checklist(2, json.dumps(scores)) is None


def test_a_judge_with_its_own_template_ends_in_a_plain_object():
    assert parse_tuned_checklist(2, 'So: {"1": 0.5, "2": 1, "reason": "x"}') == [0.5, 1]
    assert parse_tuned_checklist(2, '{"1": 0.5, "2": 1} {"1": 1, "2": 1}') is None


def test_the_shape_allows_the_five_values_alone():
    schema = checklist_shape(QUESTIONS).response_format()["json_schema"]["schema"]["properties"]["scores"]
    assert schema["required"] == ["1", "2"]
    assert schema["properties"]["1"]["enum"] == [0, 0.25, 0.5, 0.75, 1]
