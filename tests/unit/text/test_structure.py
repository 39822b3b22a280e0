"""One think, then one answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.structure import parse_think_answer

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def test_a_well_formed_response_is_taken_apart():
    assert parse_think_answer(" <think> plan </think>\n\n<answer>\nOnce.\n</answer> ") == ("plan", "Once.", True)


def test_a_missing_end_of_the_answer_is_flagged():
    assert parse_think_answer("<think>plan</think><answer>Once upon") == ("plan", "Once upon", False)


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
    assert parse_think_answer(text) is None


@given(st.text(), st.text())
def test_any_texts_between_the_tags_are_read_back(think, answer):
    if any(tag in think + answer for tag in TAGS):
        return
    parsed = parse_think_answer(f"<think>{think}</think><answer>{answer}</answer>")
    assert parsed == (think.strip(), answer.strip(), True)


@given(st.lists(st.sampled_from([*TAGS, "text", " "])))
def test_what_is_accepted_has_each_tag_once_and_in_order(pieces):
    parsed = parse_think_answer("".join(pieces))
    tags = [piece for piece in pieces if piece in TAGS]
    assert parsed is None or tags == list(TAGS if parsed.closed else TAGS[:3])


def test_hostile_text_is_parsed_in_linear_time():
    started = time.perf_counter()
    parse_think_answer("<think>" * 50_000)
    assert time.perf_counter() - started < 0.5
