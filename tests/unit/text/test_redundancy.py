"""Sentences said again in other words: what is found, what is left alone, and by which measure."""

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.repetition import redundant_sentence_share, repeated_sentence_share

SENTENCES = (
    "Every evening the keeper carried two cans of oil up the winding stairs.",
    "Her brother had drowned off the northern reef in a gale.",
    "The inspector praised the careful repair but fined her for the missing tin.",
    "When the harbour froze, villagers brought bread and salted herring across the ice.",
)
TEXT = " ".join(SENTENCES)
CHINESE = "发大水的那年夏天，渡口的木桩被冲走了三根。他把信折好压在茶壶底下，第二天照样下河。"


class Meanings:
    """An encoder that knows what some sentences mean, and takes any other for something new."""

    def __init__(self, *groups):
        self._places = {sentence: place for place, group in enumerate(groups) for sentence in group}
        self.asked = []

    def encode(self, sentences):
        self.asked += sentences
        vectors = np.zeros((len(sentences), 1000))
        for row, sentence in enumerate(sentences):
            vectors[row, self._places.get(sentence, 100 + row)] = 3.0 + row
        return vectors


@pytest.mark.parametrize(
    "again",
    [
        "Up the winding stairs the keeper carried two cans of oil every evening.",
        "In the evenings she would carry cans of oil up those winding stairs, the keeper.",
        "Villagers brought bread and salted herring across the ice when the harbour froze.",
    ],
)
def test_a_sentence_turned_around_is_redundant_and_no_copy(again):
    assert redundant_sentence_share(f"{TEXT} {again}") == pytest.approx(1 / 5)
    assert repeated_sentence_share(f"{TEXT} {again}") == 0.0


@pytest.mark.parametrize("again", [SENTENCES[0], SENTENCES[3].replace("bread", "cheese")])
def test_a_near_copy_is_left_to_repetition(again):
    assert redundant_sentence_share(f"{TEXT} {again}") == 0.0
    assert repeated_sentence_share(f"{TEXT} {again}") == pytest.approx(1 / 5)


def test_chinese_sentences_are_compared_too():
    assert redundant_sentence_share(CHINESE) == 0.0
    assert redundant_sentence_share(CHINESE + "渡口的木桩被冲走了三根，那是发大水的那年夏天。") == pytest.approx(1 / 3)


def test_dialogue_in_traditional_characters_is_charged_like_the_same_in_simplified_ones():
    traditional = "“我不知道。”她說，“我真的不知道。”“我也不知道。”他說，“我也真的不知道。”"
    traditional += "“這是為了你們。”“那還是不要給我們了吧。”"
    assert redundant_sentence_share(traditional) == 0.0


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
    assert redundant_sentence_share(honest) == 0.0


@pytest.mark.parametrize("text", ["", "...", "One.", "It was not that he did not want to go there. He did not."])
def test_a_text_with_nothing_to_compare_is_not_redundant(text):
    assert redundant_sentence_share(text) == 0.0
    assert redundant_sentence_share(text, encoder=Meanings()) == 0.0


def test_short_sentences_count_where_they_are_asked_for():
    text = "Felix lost the crown. Then on the road Felix lost the crown."
    assert redundant_sentence_share(text) == 0.0
    assert redundant_sentence_share(text, min_words=2) == pytest.approx(1 / 2)


def test_an_encoder_sees_what_shares_no_word():
    again = "Night after night fuel for that lamp went upstairs in tired arms."
    assert redundant_sentence_share(f"{TEXT} {again}") == 0.0
    encoder = Meanings((SENTENCES[0], again))
    assert redundant_sentence_share(f"{TEXT} {again}", encoder=encoder) == pytest.approx(1 / 5)


def test_an_encoder_is_not_asked_about_copies_and_short_sentences():
    encoder = Meanings()
    redundant_sentence_share(f"{TEXT} {SENTENCES[1]} Nobody spoke.", encoder=encoder)
    assert encoder.asked == list(SENTENCES)


def test_embeddings_of_a_long_text_are_compared_across_blocks():
    source = random.Random(1)
    drawn = [" ".join("".join(source.choices("bcdfgaeiou", k=8)) for _ in range(8)) for _ in range(2100)]
    found = [f"{it.capitalize()}." for it in drawn]

    class Equal:
        def encode(self, sentences):
            vectors = np.zeros((len(sentences), 2100), dtype=np.float32)
            vectors[np.arange(len(sentences)), np.arange(len(sentences))] = 1.0
            vectors[2099] = vectors[3]
            vectors[1500] = vectors[1400]
            return vectors

    assert redundant_sentence_share(" ".join(found), encoder=Equal()) == pytest.approx(2 / 2100)


@given(st.lists(st.sampled_from([*SENTENCES, "木桩被水冲走了三根，那是夏天的事情。", "a.", "\n\n", "🙂"]), max_size=12))
def test_shares_lie_between_nothing_and_everything(parts):
    assert 0.0 <= redundant_sentence_share(" ".join(parts)) < 1.0


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
    redundant_sentence_share(text)
    assert time.process_time() - started < 20.0
