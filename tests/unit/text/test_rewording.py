"""Sentences that say an earlier one again in most of its words: what is found and what is left alone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.repetition import repeated_sentence_share, reworded_sentence_share

SENTENCES = (
    "Every evening the keeper carried two cans of oil up the winding stairs.",
    "Her brother had drowned off the northern reef in a gale.",
    "The inspector praised the careful repair but fined her for the missing tin.",
    "When the harbour froze, villagers brought bread and salted herring across the ice.",
)
TEXT = " ".join(SENTENCES)
CHINESE = "发大水的那年夏天，渡口的木桩被冲走了三根。他把信折好压在茶壶底下，第二天照样下河。"


@pytest.mark.parametrize(
    "again",
    [
        "Up the winding stairs the keeper carried two cans of oil every evening.",
        "In the evenings she would carry cans of oil up those winding stairs, the keeper.",
        "Villagers brought bread and salted herring across the ice when the harbour froze.",
    ],
)
def test_a_sentence_turned_around_is_reworded_and_no_copy(again):
    assert reworded_sentence_share(f"{TEXT} {again}") == pytest.approx(1 / 5)
    assert repeated_sentence_share(f"{TEXT} {again}") == 0.0


@pytest.mark.parametrize("again", [SENTENCES[0], SENTENCES[3].replace("bread", "cheese")])
def test_a_near_copy_is_left_to_repetition(again):
    assert reworded_sentence_share(f"{TEXT} {again}") == 0.0
    assert repeated_sentence_share(f"{TEXT} {again}") == pytest.approx(1 / 5)


def test_chinese_sentences_are_compared_too():
    assert reworded_sentence_share(CHINESE) == 0.0
    assert reworded_sentence_share(CHINESE + "渡口的木桩被冲走了三根，那是发大水的那年夏天。") == pytest.approx(1 / 3)


def test_dialogue_in_traditional_characters_is_charged_like_the_same_in_simplified_ones():
    traditional = "“我不知道。”她說，“我真的不知道。”“我也不知道。”他說，“我也真的不知道。”"
    traditional += "“這是為了你們。”“那還是不要給我們了吧。”"
    assert reworded_sentence_share(traditional) == 0.0


@pytest.mark.parametrize(
    "honest",
    [
        TEXT,
        '"I don\'t know," she said quietly. "I don\'t think so." "You don\'t know," he said. "I think so, I said."',
        "“我不知道。”她说，“我真的不知道。”“我也不知道。”他说，“我也真的不知道。”",
        "On Monday the mill ground wheat for the baker. On Tuesday the mill ground rye for the monks. "
        "On Wednesday the mill ground barley for the brewer.",
        "The nets are hung along the wall,\nthe gulls have gone to rest,\nand still the bell of Aldermoor\nis calling from "
        "the west.\n\nMy father mended all these nets\nand laid them on the quay,\nand still the bell of Aldermoor\n"
        "is calling out to me.",
    ],
    ids=["prose", "dialogue", "Chinese dialogue", "parallel sentences", "refrain"],
)
def test_honest_texts_are_left_alone(honest):
    assert reworded_sentence_share(honest) == 0.0


@pytest.mark.parametrize("text", ["", "...", "One.", "It was not that he did not want to go there. He did not."])
def test_a_text_with_nothing_to_compare_is_not_reworded(text):
    assert reworded_sentence_share(text) == 0.0


def test_short_sentences_count_where_they_are_asked_for():
    text = "Felix lost the crown. Then on the road Felix lost the crown."
    assert reworded_sentence_share(text) == 0.0
    assert reworded_sentence_share(text, min_words=2) == pytest.approx(1 / 2)


def test_what_shares_no_word_goes_undetected():
    again = "Night after night fuel for that lamp went upstairs in tired arms."
    assert reworded_sentence_share(f"{TEXT} {again}") == 0.0


@given(st.lists(st.sampled_from([*SENTENCES, "木桩被水冲走了三根，那是夏天的事情。", "a.", "\n\n", "🙂"]), max_size=12))
def test_shares_lie_between_nothing_and_everything(parts):
    assert 0.0 <= reworded_sentence_share(" ".join(parts)) < 1.0


@pytest.mark.parametrize(
    "text",
    [
        " ".join(f"The old keeper number {i} climbed {i * i} winding stairs to the cold lantern." for i in range(3000)),
        "word " * 100_000,
        "a" * 500_000,
        "水" * 50_000,
        "Alpha beta gamma delta epsilon zeta. " * 5000,
    ],
    ids=["much alike", "one long sentence", "one long word", "one character", "copies"],
)
def test_hostile_texts_take_linear_time(text):
    started = time.process_time()
    reworded_sentence_share(text)
    assert time.process_time() - started < 20.0
