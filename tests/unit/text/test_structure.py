"""One think, then one answer."""

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from longform.text import thoughts
from longform.text.structure import ParsedResponse, parse_response

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def test_a_well_formed_response_is_taken_apart():
    text = " <think> plan </think>\n\n<answer>\nOnce.\n</answer> "
    assert parse_response(text, "on") == ParsedResponse("plan", "Once.", well_formed=True, closed=True)


def test_a_direct_response_has_an_answer_alone():
    assert parse_response("<answer> Once. </answer>", "direct") == ParsedResponse(
        "", "Once.", well_formed=True, closed=True
    )
    assert not parse_response("<think>plan</think><answer>Once.</answer>", "direct").well_formed
    assert not parse_response("Once.", "direct").well_formed


@given(st.text())
def test_without_thinking_the_whole_text_is_the_answer(text):
    """Of a text without the tags and channels of thoughts, which test_thoughts.py takes apart."""
    assume(not any(tag.casefold() in text.casefold() for tag in thoughts.TAGS))
    assume(not text.lstrip().startswith(("<|channel|>", "<|start|>", "analysis")))
    assert parse_response(text, "off") == ParsedResponse("", text.strip(), well_formed=True, closed=True)


def test_a_missing_end_of_the_answer_is_flagged():
    assert parse_response("<think>plan</think><answer>Once upon", "on") == ParsedResponse(
        "plan", "Once upon", True, closed=False
    )


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
    assert not parse_response(text, "on").well_formed


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
    parts = parse_response(text, "on")
    assert (parts.think, parts.answer) == (think, answer)


@given(st.text(), st.text())
def test_any_texts_between_the_tags_are_read_back(think, answer):
    if any(tag in think + answer for tag in TAGS):
        return
    parts = parse_response(f"<think>{think}</think><answer>{answer}</answer>", "on")
    assert parts == ParsedResponse(think.strip(), answer.strip(), well_formed=True, closed=True)


@given(st.lists(st.sampled_from([*TAGS, "text", " "])))
def test_what_is_accepted_has_each_tag_once_and_in_order(pieces):
    parts = parse_response("".join(pieces), "on")
    tags = [piece for piece in pieces if piece in TAGS]
    assert not parts.well_formed or tags == list(TAGS if parts.closed else TAGS[:3])


def test_hostile_text_is_parsed_in_linear_time():
    started = time.process_time()
    parse_response("<think>" * 50_000, "on")
    assert time.process_time() - started < 2.5
