"""One think, then one answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.structure import Parts, take_apart

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def test_a_well_formed_response_is_taken_apart():
    text = " <think> plan </think>\n\n<answer>\nOnce.\n</answer> "
    assert take_apart(text, "on") == Parts("plan", "Once.", sound=True, closed=True)


def test_a_direct_response_has_an_answer_alone():
    assert take_apart("<answer> Once. </answer>", "direct") == Parts("", "Once.", sound=True, closed=True)
    assert not take_apart("<think>plan</think><answer>Once.</answer>", "direct").sound
    assert not take_apart("Once.", "direct").sound


@given(st.text())
def test_without_thinking_the_whole_text_is_the_answer(text):
    assert take_apart(text, "off") == Parts("", text.strip(), sound=True, closed=True)


def test_a_missing_end_of_the_answer_is_flagged():
    assert take_apart("<think>plan</think><answer>Once upon", "on") == Parts("plan", "Once upon", True, closed=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Once.",
        "<answer>Once.</answer>",
        "<think>plan</think>Once.",
        "<think>plan<answer>Once.</answer>",
        "<answer>Once.</answer><think>plan</think>",
        "<think>a</think><think>b</think><answer>c</answer>",
        "<think>a</think><answer>b</answer><answer>c</answer>",
        "<think>a</think><answer>b</answer></answer>",
        "<think>a<think>b</think></think><answer>c</answer>",
        "Sure: <think>a</think><answer>b</answer>",
        "<think>a</think> so <answer>b</answer>",
        "<think>a</think><answer>b</answer> Done.",
        "</answer><think>a</think><answer>b",
        "<think><answer>b</answer></think>",
        "<Think>a</Think><answer>b</answer>",
    ],
)
def test_anything_else_breaks_the_structure(text):
    assert not take_apart(text, "on").sound


@pytest.mark.parametrize(
    ("text", "think", "answer"),
    [
        ("Once.", "", ""),
        ("plan</think><answer>Once.</answer>", "", "Once."),
        ("<think>plan<answer>Once.", "plan<answer>Once.", "Once."),
        ("<think>a</think><answer>b</answer><answer>c</answer> d", "a", "c"),
        ("<think><answer>b</answer></think>", "<answer>b</answer>", "b"),
    ],
)
def test_a_broken_structure_still_has_what_its_last_answer_block_holds(text, think, answer):
    parts = take_apart(text, "on")
    assert (parts.think, parts.answer) == (think, answer)


@given(st.text(), st.text())
def test_any_texts_between_the_tags_are_read_back(think, answer):
    if any(tag in think + answer for tag in TAGS):
        return
    parts = take_apart(f"<think>{think}</think><answer>{answer}</answer>", "on")
    assert parts == Parts(think.strip(), answer.strip(), sound=True, closed=True)


@given(st.lists(st.sampled_from([*TAGS, "text", " "])))
def test_what_is_accepted_has_each_tag_once_and_in_order(pieces):
    parts = take_apart("".join(pieces), "on")
    tags = [piece for piece in pieces if piece in TAGS]
    assert not parts.sound or tags == list(TAGS if parts.closed else TAGS[:3])


def test_hostile_text_is_parsed_in_linear_time():
    started = time.perf_counter()
    take_apart("<think>" * 50_000, "on")
    assert time.perf_counter() - started < 0.5
