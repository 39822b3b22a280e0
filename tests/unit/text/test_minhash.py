"""Signatures estimate similarity, and only texts that share a band are compared."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.minhash import character_signatures, earlier_likes


def grams(text, length):
    return {text[i : i + length] for i in range(max(1, len(text) - length + 1))}


@pytest.mark.parametrize("shared", [0.2, 0.5, 0.8])
def test_signatures_agree_as_often_as_texts_share_ngrams(shared):
    source = random.Random(7)
    one = "".join(source.choices("abcdefghijklmnop", k=2000))
    other = one[: int(2000 * shared)] + "".join(source.choices("abcdefghijklmnop", k=int(2000 * (1 - shared))))
    expected = len(grams(one, 4) & grams(other, 4)) / len(grams(one, 4) | grams(other, 4))
    first, second = character_signatures([one, other], length=4, bands=32)
    assert np.mean(first == second) == pytest.approx(expected, abs=0.15)


@given(st.lists(st.text("ab水", max_size=12), max_size=8))
def test_a_signature_is_of_its_own_text_alone(texts):
    together = character_signatures(texts, length=4, bands=3)
    assert together.shape == (len(texts), 6)
    for text, signature in zip(texts, together, strict=True):
        assert np.array_equal(signature, character_signatures([text], length=4, bands=3)[0])


def test_an_empty_text_adds_nothing_to_the_signature_of_several():
    text, empty = character_signatures(["the old keeper", ""], length=4, bands=3)
    assert np.array_equal(np.minimum(text, empty), text)


def test_only_texts_that_share_a_band_are_compared():
    asked = []

    def is_like(later, earlier):
        asked.append((later, earlier))
        return True

    signatures = np.array([[1, 1, 5, 5], [2, 2, 6, 6], [3, 3, 5, 5], [1, 1, 6, 6]], dtype=np.uint32)
    assert earlier_likes(signatures, is_like) == {2: 0, 3: 0}
    assert asked == [(2, 0), (3, 0)]


def test_equal_hashes_in_different_bands_are_no_meeting():
    assert earlier_likes(np.array([[1, 1, 2, 2], [2, 2, 1, 1]], dtype=np.uint32), lambda later, earlier: True) == {}


def test_a_text_that_is_like_another_stands_for_nothing_itself():
    signatures = np.array([[1, 1, 7, 7], [1, 1, 8, 8], [3, 3, 8, 8]], dtype=np.uint32)
    assert earlier_likes(signatures, lambda later, earlier: True) == {1: 0}


def test_no_texts_are_like_nothing():
    assert earlier_likes(character_signatures([], length=4, bands=3), lambda later, earlier: True) == {}
