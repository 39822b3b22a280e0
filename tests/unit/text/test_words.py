"""The LongWriter word count with its quirks, LongBench-Write's length score, and the token estimate."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.words import (
    LENGTH_BINS,
    count_han,
    count_words,
    count_words_of_any_script,
    estimate_tokens,
    is_countable,
    length_bin_name,
    longbench_length_score,
)

MIXED = st.text(st.sampled_from("ab Z9_é'-\n文字，。") | st.characters(), max_size=80)
LENGTHS = st.integers(1, 40_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("The quick brown fox.", 4),
        ("我爱写作。", 4),
        ("我爱 Python 写作", 5),
        ("don't", 2),
        ("well-known", 2),
        ("In 2024 it cost 3.50", 3),
        ("用Python写", 2),
        ("don't stop", 3),
        ("三只 cats", 3),
        ("2024 年", 1),
        ("x1 2nd a_b", 0),
        ("café naïve", 0),
        ("《红楼梦》，1791", 3),
        ("ひらがな 한글 русский", 0),
        ("\u3400\u4dff\ua000", 0),
        ("\u4e00\u9fff", 2),
    ],
)
def test_words_are_counted_as_longwriter_counts_them(text, words):
    assert count_words(text) == words


@given(MIXED)
def test_the_count_is_that_of_the_published_expressions(text):
    assert count_words(text) == len(re.findall(r"[\u4e00-\u9fff]", text)) + len(re.findall(r"\b[a-zA-Z]+\b", text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Он долго смотрел на море, и море молчало.", 8),
        ("Он открыл файл main.py и начал писать.", 8),
        ("그는 오래도록 바다를 바라보았다.", 4),
        ("Ο άνθρωπος κοίταζε τη θάλασσα.", 5),
        ("Anh ấy nhìn ra biển thật lâu.", 7),
        ("उसने समुद्र को देखा।", 4),
        ("نظر الرجل إلى البحر", 4),
        ("彼は長い間海を見ていた。", 11),
        ("ひらがなだけ", 6),
        # The published count, quirks included, where Chinese or plain Latin letters are most of a text.
        ("The café served naïve guests for years and years.", 7),
        ("The letter α is Greek.", 4),
        ("他在《ノート》里写了很多关于大海和远方以及少年时代的句子，从来没有给人看过。", 31),
        ("他学会了русский这个词", 7),
        ("", 0),
    ],
)
def test_words_of_other_scripts_are_counted_where_they_are_most_of_a_text(text, words):
    assert count_words_of_any_script(text) == words


@given(st.text(st.sampled_from("ab Z9_'-\n文字，。“”…") | st.characters(max_codepoint=127), max_size=80))
def test_texts_in_chinese_and_plain_latin_have_the_published_count(text):
    assert count_words_of_any_script(text) == count_words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("เขามองทะเลอยู่นาน", False),
        ("ကျွန်တော်", False),
        ("Write a story about ทะเล", True),
        ("Он смотрел", True),
        ("写一个故事", True),
        ("", True),
        ("123", True),
    ],
)
def test_what_cannot_be_counted_is_known(text, expected):
    assert is_countable(text) == expected


@given(MIXED)
def test_han_characters_are_counted_one_by_one(text):
    assert count_han(text) == sum("\u4e00" <= character <= "\u9fff" for character in text)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("The old keeper climbed the stairs of the lighthouse, as he did each night. " * 100, 1500, 2600),
        ("老人每天晚上都爬上灯塔的楼梯。" * 100, 1400, 1600),
        ("1234567890 " * 100, 1000, 1200),
        ("x" * 4000, 1000, 1000),
        ("", 0, 0),
    ],
)
def test_the_token_estimate_is_rather_high_than_low(text, least, most):
    assert least <= estimate_tokens(text) <= most


@given(MIXED, MIXED)
def test_a_longer_text_is_never_estimated_shorter_by_more_than_the_seam(one, other):
    assert estimate_tokens(one + " x " + other) >= max(estimate_tokens(one), estimate_tokens(other)) - 1


def test_a_length_bin_begins_at_its_first_number_of_words():
    assert [length_bin_name(it) for it in (499, 499.5, 500, 1999, 2000, 4000)] == [
        *[LENGTH_BINS[0]] * 2,
        *[LENGTH_BINS[1]] * 2,
        *LENGTH_BINS[2:],
    ]


@pytest.mark.parametrize(
    ("required", "written", "score"),
    [
        (1000, 1000, 100),
        (1000, 2500, 50),  # 1 - 1.5 / 3
        (1000, 500, 50),  # 1 - 1 / 2
        (1000, 800, 87.5),  # 1 - 0.25 / 2
        (1000, 1300, 90),
        (1000, 4000, 0),
        (1000, 9000, 0),
        (900, 300, 0),
        (1000, 1, 0),
    ],
)
def test_the_length_score_is_linear_in_the_ratio_as_published(required, written, score):
    assert longbench_length_score(required=required, written=written) == pytest.approx(score)


def test_an_empty_text_has_a_length_score_of_zero():
    assert longbench_length_score(required=100, written=0) == 0


@given(LENGTHS, LENGTHS)
def test_length_scores_are_between_0_and_100_and_100_only_at_the_required_length(required, written):
    score = longbench_length_score(required=required, written=written)
    assert 0 <= score <= 100
    assert (score == 100) == (required == written)


@given(LENGTHS, LENGTHS, LENGTHS)
def test_a_length_closer_to_the_required_one_never_scores_lower(required, first, second):
    near, far = sorted((first, second), key=lambda written: abs(written - required))
    if (near > required) == (far > required):
        assert longbench_length_score(required=required, written=near) >= longbench_length_score(
            required=required, written=far
        )


@pytest.mark.parametrize("lengths", [(0, 5), (-1, 5), (5, -1)])
def test_impossible_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="positive required length"):
        longbench_length_score(required=lengths[0], written=lengths[1])
