"""A prompt that holds a benchmark's prompt is found, however long it is and whatever stands around it."""

import pytest

from longform.selection.contamination import CHARACTERS, WORDS, Benchmarks
from longform.selection.duplicates import TokenizedText

TEST = "Describe the lighthouse at the edge of the northern sea as its keeper sees it on the last night before winter"
SHORT = "Write a 1000-word China travel guide"
CHINESE = "请以一位老守塔人的口吻写一篇关于北方海边灯塔最后一个冬夜的散文，不少于一千字"
SHORT_CHINESE = "法真简介，200字左右"


def _find(text, *prompts, near=0.8):
    named = [(f"b{i}", TokenizedText(prompt)) for i, prompt in enumerate(prompts)]
    return Benchmarks(named, near=near).find(TokenizedText(text))


@pytest.mark.parametrize("prompt", [TEST, SHORT, CHINESE, SHORT_CHINESE])
@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("You are a poet. ", " Thanks!"), ("好的。", "谢谢" * 40), ("word " * 500, " word" * 500)],
)
def test_a_prompt_that_holds_a_benchmarks_is_found(prompt, before, after):
    overlap = _find(before + prompt + after, "Some other prompt of this benchmark that nobody holds", prompt)
    assert overlap is not None
    assert overlap.id == "b1"


@pytest.mark.parametrize("prompt", ["請以一位老守塔人的口吻寫一篇關於北方海邊燈塔最後一個冬夜的散文，不少於一千字"])
def test_a_benchmarks_prompt_in_traditional_characters_is_found(prompt):
    for text in (prompt, f"好的。{prompt}謝謝", prompt[:28]):
        overlap = _find(text, "Some other prompt", CHINESE)
        assert overlap is not None
        assert overlap.id == "b1"


def test_what_is_shared_is_said():
    words = TEST.lower().split()
    shared = _find(f"begin {' '.join(words[3:16])} end", TEST)
    assert shared == ("b0", " ".join(words[3:16]))
    assert _find(TEST.upper(), TEST) == ("b0", "same words")
    near = _find(f"{TEST} arrives", TEST)
    assert near is not None
    assert near.by.startswith("similarity 0.9")


def test_a_run_is_long_enough_or_no_overlap():
    words = TEST.lower().split()
    characters = TokenizedText(CHINESE).plain.replace(" ", "")
    assert _find(f"begin {' '.join(words[: WORDS.long])} end", TEST)
    assert _find(f"begin {' '.join(words[: WORDS.long - 1])} end", TEST) is None
    assert _find(f"开始{characters[: CHARACTERS.long]}结束", CHINESE)
    assert _find(f"开始{characters[: CHARACTERS.long - 1]}结束", CHINESE) is None


@pytest.mark.parametrize("prompt", ["Write a good poem", "写一首好诗吧"])
def test_prompts_of_a_few_words_count_only_as_a_whole(prompt):
    assert _find(f"{prompt} about the sea and the moon", prompt) is None
    assert _find(f"{prompt}!", prompt) == ("b0", "same words")


def test_a_short_prompt_is_held_whole_or_not():
    assert _find("Write a 1000-word China travel story for me", SHORT) is None
    assert _find("Rewrite a 1000-word China travel guides", SHORT) is None


def test_without_benchmarks_nothing_overlaps():
    assert _find(TEST) is None
    assert _find(TEST, "?!") is None
