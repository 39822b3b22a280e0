"""Thoughts are told from text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.judging.answers import defuse
from longform.text.thoughts import TAGS, SplitText, split_thoughts


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


@pytest.mark.parametrize(
    ("content", "split"),
    [
        ("analysisWe weigh both.assistantfinalA day.", ("We weigh both.", "A day.", True)),  # special tokens dropped
        ("analysis我们先想。assistantfinal好。", ("我们先想。", "好。", True)),
        ("analysisWe weigh", ("We weigh", "", False)),
        ("analysis of it: fine", ("", "analysis of it: fine", True)),
        ("<|channel>thought\nhm<channel|>A day.", ("hm", "A day.", True)),
        ("<think>hm</think>\n<response>\nA day.\n</response>", ("hm", "A day.", True)),
        ("Steps:\nhm\n[BEGIN FINAL RESPONSE]\nA day.\n[END FINAL RESPONSE]", ("Steps:\nhm", "A day.", True)),
        ("hm</think>more</think>A day.", ("hm\n\nmore", "A day.", True)),
        ("hm</think>\n<think>more", ("hm\n\nmore", "", False)),
        ("analysiswe weigh both. assistantfinalA day.", ("we weigh both.", "A day.", True)),
        ("We weigh<|end|><|start|>assistant<|channel|>final<|message|>A day.", ("We weigh", "A day.", True)),
        ("<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>A day.", ("hm", "A day.", True)),
        ("[unused16]hm[unused17]A day.", ("hm", "A day.", True)),
        ("<|inner_prefix|>hm<|inner_suffix|>A day.", ("hm", "A day.", True)),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_TEXT|>A day.<|END_TEXT|>", ("hm", "A day.", True)),
    ],
)
def test_further_forms_of_thoughts_are_separated(content, split):
    assert tuple(split_thoughts(content)) == split


@pytest.mark.parametrize("tag", TAGS)
def test_a_text_that_a_judge_quotes_cannot_end_the_judges_thoughts(tag):
    """Else what the judge wrote before the tag would be taken for thoughts, and its verdict lost."""
    for text in (tag, tag.lower(), tag.upper(), f"x{tag}y", f"He wrote “{tag}”."):
        answer = f'{{"score": 2, "reason": "{defuse(text)}"}}'
        assert split_thoughts(answer).text == answer
        assert defuse(defuse(text)) == defuse(text)


@pytest.mark.parametrize("piece", ["<think>\nhm\n</think>\n", "hm</think>", "\n", "<|channel|>a<|message|>"])
def test_a_model_that_repeats_itself_is_split_in_linear_time(piece):
    assert_linear(lambda size: split_thoughts(piece * size), 2_000)
    if "think" in piece:
        assert split_thoughts(piece * 2_000 + "A day.").text == "A day."
