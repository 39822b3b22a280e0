"""Distinct n-grams and self-BLEU, against BLEU written from the paper, and on cases worked out by hand."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.text.diversity import MAX_UNITS, distance_factors, distinct_share, self_bleu

WORDS = ["amber", "birch", "copper", "dawn", "ember"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=6)


def bleu(candidate, references):
    """BLEU-4 of Papineni et al. 2002, section 2, text by text: no n-gram of another text is looked at twice."""
    orders = min(4, len(candidate))
    logs = 0.0
    for n in range(1, orders + 1):
        grams = Counter(tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1))
        clipped = 0
        for gram, count in grams.items():
            in_references = [
                sum(tuple(other[i : i + n]) == gram for i in range(len(other) - n + 1)) for other in references
            ]
            clipped += min(count, max(in_references))
        logs += math.log((clipped or 0.1) / sum(grams.values()))
    lengths = sorted(len(other) for other in references)
    closest = min(lengths, key=lambda length: abs(length - len(candidate)))
    penalty = 1 if len(candidate) >= closest else math.exp(1 - closest / len(candidate))
    return penalty * math.exp(logs / orders)


@given(TEXTS)
def test_self_bleu_is_the_mean_bleu_of_each_text_with_the_others_as_references(texts):
    words = [text.split() for text in texts if text]
    if len(words) < 2:
        assert self_bleu(texts) is None
    else:
        expected = [bleu(it, words[:index] + words[index + 1 :]) for index, it in enumerate(words)]
        assert self_bleu(texts) == pytest.approx(sum(expected) / len(expected))


@given(TEXTS, st.integers(1, 4))
def test_distinct_is_the_number_of_different_ngrams_over_that_of_all(texts, n):
    grams = [tuple(words[i : i + n]) for text in texts for words in [text.split()] for i in range(len(words) - n + 1)]
    assert distinct_share(texts, n=n) == (len(set(grams)) / len(grams) if grams else None)


def test_equal_texts_have_self_bleu_1_and_texts_without_a_common_word_nearly_none():
    text = "seven boats went out in the morning"
    assert self_bleu([text] * 5) == pytest.approx(1)
    assert self_bleu([text, "nobody ever saw another lantern glow there"]) == pytest.approx(
        math.exp(sum(math.log(0.1 / count) for count in (7, 6, 5, 4)) / 4)
    )


def test_case_and_marks_do_not_matter_and_chinese_characters_are_words():
    assert self_bleu(["Seven boats went out.", "seven, boats; went OUT"]) == pytest.approx(1)
    assert distinct_share(["白日依山尽"]) == 1
    assert distinct_share(["白白白白"]) == pytest.approx(1 / 3)


def test_the_order_of_the_texts_does_not_matter():
    texts = ["amber birch amber", "birch amber", "dawn ember dawn ember dawn", "amber birch dawn"]
    assert self_bleu(texts) == pytest.approx(self_bleu(texts[::-1]) or 0)


def test_empty_texts_are_left_out():
    assert self_bleu(["", "amber birch", "  "]) is None
    assert self_bleu(["", "amber birch", "amber birch"]) == pytest.approx(1)
    assert distinct_share(["", "amber"]) is None
    with pytest.raises(ValueError, match="at least 1"):
        distinct_share(["amber"], n=0)


def test_only_the_beginning_of_a_long_text_counts():
    same, other = "amber " * MAX_UNITS, "birch copper " * 50
    assert self_bleu([same + other, same]) == pytest.approx(1)
    assert distinct_share([same + other]) == distinct_share([same])


def test_the_cost_grows_with_the_length_of_texts_and_not_with_its_square():
    draw = random.Random(0)
    words = [f"w{int(draw.paretovariate(1))}" for _ in range(40_000)]

    def measure(length):
        texts = [" ".join(words[start : start + length]) for start in range(0, 8 * length, length)]
        self_bleu(texts)
        distinct_share(texts)

    assert_linear(measure, 500)


def test_the_distance_is_that_of_words_and_pairs_and_the_largest_is_one():
    # Words: 1 - 1/3 and 1 - 0; pairs: nothing in common. The third text shares nothing with the others.
    texts = ["amber birch", "amber copper", "dawn ember"]
    near = (2 / 3 + 1) / 2
    assert distance_factors(texts) == pytest.approx([(near + 1) / 2, (near + 1) / 2, 1.0])
    assert distance_factors(["amber birch", "amber birch", "dawn"]) == pytest.approx([0.5, 0.5, 1.0])


def test_where_nothing_can_be_told_apart_every_factor_is_one():
    assert distance_factors(["amber birch"] * 3) == [1.0] * 3
    assert distance_factors(["amber", "", "  "]) == [1.0] * 3
    assert distance_factors([]) == []


@given(TEXTS)
def test_factors_lie_between_0_and_1_whatever_the_order(texts):
    found = distance_factors(texts)
    assert all(0 <= it <= 1 for it in found)
    assert distance_factors(texts[::-1])[::-1] == pytest.approx(found)
