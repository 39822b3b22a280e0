"""Keyword stuffing: what is beyond natural use, in short texts and in long ones."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.text.repetition import stuffed_share

STORY = (
    "Felix dwelt in the quiet castle. He owned a crown. One morning Felix packed some soup. Then came wind. "
    "Felix lost the crown on the road. He searched the whole castle. A kind deer guided him to the river. "
    "Felix discovered the crown beside the water. Felix went home and slept until morning."
)


def test_a_story_may_name_its_hero_again_and_again():
    assert stuffed_share(STORY) == 0.0


def test_each_further_use_beyond_the_limit_counts():
    # 100 words; the first content word may be used 6 times, the second 6 / sqrt(2) = 4.2 times, the third 3.5 times.
    others = [f"word{i}" for i in range(80)]
    assert stuffed_share(" ".join([*others, *["lamp"] * 6, *["the"] * 14])) == 0.0
    assert stuffed_share(" ".join([*others, *["lamp"] * 10, *["the"] * 10])) == pytest.approx(4 / 100)
    text = " ".join([*others, *["lamp"] * 9, *["oil"] * 6, *["tin"] * 5])
    assert stuffed_share(text) == pytest.approx((3 + 2 + 2) / 100)


def test_in_a_long_text_the_limit_is_a_share():
    others = [f"word{i}" for i in range(9000)]
    assert stuffed_share(" ".join([*others, *["lamp"] * 500, *["the"] * 500])) == 0.0
    assert stuffed_share(" ".join([*others, *["lamp"] * 1000])) == pytest.approx(500 / 10_000)


def test_function_words_are_free():
    assert stuffed_share("the of and to in " * 50) == 0.0


def test_chinese_words_are_counted_by_pairs_of_characters():
    # 80 characters, 40 words: 量子 stands 16 times, may stand 6 times, and takes two characters each time.
    filler = [chr(0x4E10 + 7 * i) for i in range(48)]
    text = "".join("量子" + "".join(filler[3 * i : 3 * i + 3]) for i in range(16))
    assert stuffed_share(text) == pytest.approx(10 * 2 / 80)
    assert stuffed_share("的" * 100) == 0.0
    assert stuffed_share("哈" * 100) == pytest.approx(0.94, abs=0.03)


FILLER = "夜里渡口起了风船家收好缆绳点灯坐在舱边听雨岸上有人喊他名字声音被吹得很远"


@pytest.mark.parametrize("word", "未来 赋能 梦想 重要 中国 能力 智能 现代化 目的 了解 夢想 國中 智慧".split())  # noqa: SIM905
def test_half_a_text_of_any_content_word_is_charged_alike(word):
    def half(word):
        return "".join(word + FILLER[start : start + len(word)] for start in range(30)) * 2

    alike = "命运" if len(word) == 2 else "命运线"
    assert stuffed_share(half(word)) == pytest.approx(stuffed_share(half(alike)), abs=0.05)
    assert stuffed_share(half(word)) > 0.4


@pytest.mark.parametrize("word", "我们 因为 如果 没有 他说 的人 这个 时候 我們 沒有 這個 時候".split())  # noqa: SIM905
def test_chinese_function_words_are_free_whole(word):
    assert stuffed_share("".join(word + chr(0x4E10 + 7 * index) for index in range(60))) == 0.0


def test_both_forms_of_a_chinese_text_are_charged_alike():
    simplified, traditional = "智能时代的梦想与未来", "智能時代的夢想與未來"
    assert stuffed_share(traditional * 20) == stuffed_share(simplified * 20) > 0.5


@pytest.mark.parametrize("text", ["", "...", "one", "灯", "the the the"])
def test_a_text_without_content_is_not_stuffed(text):
    assert stuffed_share(text) == 0.0


@given(st.text("ab 的水灯火.\n", max_size=300))
def test_shares_lie_between_nothing_and_everything(text):
    assert 0.0 <= stuffed_share(text) <= 1.0


def test_one_more_use_of_a_word_never_lowers_the_number_of_stuffed_words():
    """The share itself may fall: a further use within the limit makes the text longer and adds nothing to be charged."""
    previous = 0
    for times in range(200):
        text = STORY + " quantum" * times
        stuffed = round(stuffed_share(text) * len(text.split()))
        assert stuffed >= previous
        previous = stuffed


@given(
    st.lists(st.sampled_from(["lamp", "oil", "tin", "the", "crown"]), max_size=100), st.sampled_from(["lamp", "oil"])
)
def test_in_a_short_text_one_more_use_of_any_word_never_lowers_the_number_of_stuffed_words(words, added):
    """Up to 120 words the limits do not depend on the length of the text."""
    before, after = (round(stuffed_share(" ".join(it)) * len(it)) for it in (words, [*words, added]))
    assert before <= after <= before + 1


def test_every_use_beyond_the_limit_raises_the_share():
    shares = [stuffed_share(STORY + " quantum" * times) for times in range(7, 60)]
    assert shares == sorted(shares)
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize("piece", ["word ", "水", "a"])
def test_hostile_texts_take_linear_time(piece):
    assert_linear(lambda length: stuffed_share(piece * (length // len(piece))), 10_000)


def test_many_different_words_take_linear_time():
    source = random.Random(1)
    words = ["".join(source.choices("abcdefghij", k=7)) for _ in range(40_000)]
    assert stuffed_share(" ".join(words)) == 0.0
    assert_linear(lambda count: stuffed_share(" ".join(words[:count])), 5_000)
