"""Thoughts are told from text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.thoughts import SplitText, split_thoughts


@pytest.mark.parametrize(
    ("content", "split"),
    [
        ("A day.", SplitText("", "A day.")),
        ("  A day.\n", SplitText("", "  A day.\n")),
        ("<think>hm</think>A day.", SplitText("hm", "A day.")),
        ("\n<THINK>hm</think>\n\nA day.", SplitText("hm", "A day.")),
        ("hm</think>\n\nA day.", SplitText("hm", "A day.")),
        ("<think>hm", SplitText("hm", "", is_complete=False)),
        ("<think>", SplitText("", "", is_complete=False)),
        ("<think></think>", SplitText("", "")),
        ("<think>one</think><think>two</think>A day.", SplitText("one\n\ntwo", "A day.")),
        ("Text with <think>no thoughts</think> in it.", SplitText("", "Text with <think>no thoughts</think> in it.")),
        ("<thinking>hm</thinking>A day.", SplitText("hm", "A day.")),
        (
            "<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>A day.<|end_of_solution|>",
            SplitText("hm", "A day."),
        ),
        ("<|channel|>final<|message|>A day.", SplitText("", "A day.")),
        ("<|channel|>analysis<|message|>hm<|end|>", SplitText("hm", "", is_complete=False)),
        ("<answer>A day.</answer>", SplitText("", "<answer>A day.</answer>")),
    ],
)
def test_what_is_thought_and_what_is_text(content, split):
    assert split_thoughts(content) == split


@given(st.text())
def test_a_text_without_tags_is_unchanged(text):
    if not any(sign in text for sign in "<[◁"):
        assert split_thoughts(text) == SplitText("", text)


@given(st.text(alphabet="ab <>/\n", max_size=30), st.text(alphabet="xy \n", min_size=1, max_size=30))
def test_nothing_of_the_thoughts_is_in_the_text(thoughts, text):
    split = split_thoughts(f"<think>{thoughts}</think>{text}")
    if "<think>" not in thoughts and "</think>" not in thoughts:
        assert split == SplitText(thoughts.strip(), text.strip())
