"""Repeated n-grams against a plain count, and near copies."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.repetition import (
    near_copies,
    repeated_ngram_share,
    repeated_sentence_share,
    repeats,
    units,
)
from longform.text.words import paragraphs, sentences

SENTENCE = "The old keeper climbed the winding stairs of the lighthouse again"


def plain_share(found, n):
    grams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@given(st.lists(st.sampled_from(["a", "b", "c", "dd", "E"]), max_size=60), st.integers(1, 9))
def test_english_ngrams_agree_with_a_plain_count(words, n):
    expected = plain_share([word.lower() for word in words], n)
    assert repeated_ngram_share(" ".join(words), n=n) == pytest.approx(expected)


@given(st.text("文字写作灯塔", max_size=60), st.integers(1, 5))
def test_chinese_ngrams_are_twice_as_many_characters(text, n):
    assert repeated_ngram_share(text, n=n) == pytest.approx(plain_share(list(text), 2 * n))


def test_long_ngrams_over_a_large_vocabulary_agree_with_a_plain_count():
    source = random.Random(1)
    words = [f"w{source.randrange(3000)}" for _ in range(2000)]
    words += words[500:700]
    for n in (4, 7, 20, 100):
        assert repeated_ngram_share(" ".join(words), n=n) == pytest.approx(plain_share(words, n))


def test_a_text_twice_repeats_half_of_itself():
    words = [f"word{i}" for i in range(1000)]
    assert repeated_ngram_share(" ".join(words)) == 0.0
    assert repeated_ngram_share(" ".join(words * 2)) == pytest.approx(0.5, abs=0.002)


def test_case_and_marks_do_not_hide_a_repetition():
    assert repeated_ngram_share("The sea was calm. the SEA, was calm!") == pytest.approx(1 / 5)


@pytest.mark.parametrize("text", ["", "one two three", "...", "灯塔"])
def test_a_text_too_short_to_repeat_itself_does_not(text):
    assert repeated_ngram_share(text) == 0.0


def test_an_ngram_needs_a_length():
    with pytest.raises(ValueError, match="at least 1"):
        repeated_ngram_share("a b", n=0)


def test_units_are_words_and_single_characters():
    assert units("Don't 写Python3 代码!") == ["don", "t", "写", "python3", "代", "码"]


@pytest.mark.parametrize(
    "copy",
    [
        SENTENCE,
        SENTENCE.upper() + "!",
        SENTENCE.replace("again", "once"),
        SENTENCE.replace("old", "very old"),
        SENTENCE.replace("winding ", ""),
    ],
)
def test_a_sentence_with_a_small_change_is_a_near_copy(copy):
    assert near_copies([SENTENCE, "Something quite different stood in between the two.", copy]) == {2: 0}


@pytest.mark.parametrize(
    "other",
    [
        "The young keeper descended the straight ladder of the windmill once",
        "Stairs again the of lighthouse climbed keeper winding the old",
        "A storm came up over the sea that evening and nobody slept",
    ],
)
def test_another_sentence_is_no_copy(other):
    assert near_copies([SENTENCE, other]) == {}


def test_chinese_sentences_are_compared_too():
    first = "老守塔人又一次爬上了灯塔那盘旋而上的石头楼梯。"
    assert near_copies([first, "那天晚上海上起了大风，谁也没有睡着。", first.replace("石头", "木头")]) == {2: 0}


def test_a_copy_of_a_copy_points_to_the_first():
    once, twice = SENTENCE.replace("again", "once"), SENTENCE.replace("again", "now")
    assert near_copies([SENTENCE, once, once, twice]) == {1: 0, 2: 0, 3: 0}


def test_short_segments_are_left_out():
    assert near_copies(["She nodded.", "She nodded."]) == {}
    assert repeated_sentence_share("She nodded. She nodded. " + SENTENCE + ".") == 0.0


def test_shares_count_the_copies_among_what_is_long_enough():
    other = "A storm came up over the sea that evening and nobody slept."
    assert repeated_sentence_share(f"{SENTENCE}. {other} {SENTENCE}. {SENTENCE}!") == 0.5
    assert repeats(f"{SENTENCE}.\n\n{other}\n\n{SENTENCE}.").paragraphs == pytest.approx(1 / 3)
    assert repeated_sentence_share("") == repeats("").paragraphs == 0.0


SEGMENTS = ["Nobody spoke.", "那年夏天发了大水，冲走了木桩。", "“走吧。”他说。", "e.g. 3.14", "...", "\n", "\n\n"]


@given(st.lists(st.sampled_from([f"{SENTENCE}.", *SEGMENTS]), max_size=15))
def test_equal_sentences_and_paragraphs_are_always_found(parts):
    text = " ".join(parts)
    for share, segments in zip(repeats(text), (sentences(text), paragraphs(text)), strict=True):
        words = ["".join(units(segment)) for segment in segments if len(units(segment)) >= 6]
        assert share * len(words) >= len(words) - len(set(words)) - 1e-9


def test_paragraphs_are_near_copies_where_their_sentences_are():
    other = "A storm came up over the sea that evening and nobody slept."
    text = (
        f"{SENTENCE}. {other} Nobody spoke.\n\n... {other}\n\n{SENTENCE}! {other.replace('sea', 'bay')} Nobody spoke."
    )
    assert repeats(text) == (pytest.approx(3 / 5), pytest.approx(1 / 3))


@given(st.text())
def test_units_are_the_same_whatever_else_the_text_holds(text):
    assert units(text) == units(f"{text} ß水é")[: -len(units("ß水é"))]


def test_near_copies_are_found_in_a_long_text():
    source = random.Random(2)
    vocabulary = [f"word{i}" for i in range(2000)]
    segments = [" ".join(source.choices(vocabulary, k=15)) for _ in range(600)]
    copied = {600 + i: 5 * i for i in range(60)}
    segments += [segments[original].replace(segments[original].split()[7], "changed") for original in copied.values()]
    assert near_copies(segments) == copied


@pytest.mark.parametrize(
    "segments",
    [
        [f"{SENTENCE} {i} {i * i}" for i in range(3000)],
        ["a b c d e f g " * 5000] * 3 + ["a b c d e f h " * 5000] * 3,
        ["x" * 50_000 + f" a b c d e f {i}" for i in range(4)],
    ],
    ids=["much alike", "long and alike", "one long word"],
)
def test_hostile_segments_take_linear_time(segments):
    started = time.process_time()
    near_copies(segments)
    assert time.process_time() - started < 15.0
