"""Signatures estimate similarity, and only texts that share a band are compared."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.minhash import (
    MAX_HASHES,
    ROWS,
    BandIndex,
    character_signatures,
    earlier_likes,
    signature,
    signatures,
)


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
    for text, found in zip(texts, together, strict=True):
        assert np.array_equal(found, character_signatures([text], length=4, bands=3)[0])


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


def test_the_signature_of_one_text_is_that_of_many():
    hashes = np.random.default_rng(1).integers(0, 1 << 32, size=9_001, dtype=np.uint32)
    starts = np.array([0, 5, 8_999])
    together = signatures(hashes, starts, bands=MAX_HASHES // ROWS)
    alone = [signature(part) for part in np.split(hashes, starts[1:])]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(("bands", "rows"), [(1, 4), (2, 2), (4, 1), (1, 3)])
def test_an_index_returns_the_texts_that_share_a_band(bands, rows):
    draw = np.random.default_rng(rows)
    texts = draw.integers(0, 3, size=(60, 4), dtype=np.uint32)
    index = BandIndex(bands, rows)
    for number, text in enumerate(texts):
        index.add(number, text)
    asked = draw.integers(0, 3, size=4, dtype=np.uint32)
    expected = [
        number
        for number, text in enumerate(texts)
        if any(np.array_equal(text[i * rows :][:rows], asked[i * rows :][:rows]) for i in range(bands))
    ]
    assert index.candidates(asked) == expected
    assert expected


def test_an_index_keeps_bands_apart():
    index = BandIndex(2, 2)
    index.add(0, np.array([1, 1, 2, 2], dtype=np.uint32))
    assert index.candidates(np.array([2, 2, 1, 1], dtype=np.uint32)) == []
