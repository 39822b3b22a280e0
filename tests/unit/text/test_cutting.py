"""What is too long loses its middle, and fits."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import NOISE_SECONDS, cpu_seconds
from longform.text.cutting import cut_middle, cut_middle_tokens
from longform.text.words import estimate_tokens

PIECES = st.sampled_from(["word ", "a", "字", "。", "12", "  \n", "\u2028", "Longer words stand here. "])


def test_a_text_that_fits_stays_as_it_is():
    assert cut_middle("A short text.", 100) == "A short text."
    assert cut_middle("", 2) == ""


def test_beginning_and_end_stay_in_equal_parts():
    text = "".join(f"w{i:05d} " for i in range(20_000))
    kept = cut_middle(text, 10_000)
    assert kept.startswith("w00000 w00001")
    assert kept.endswith("w19998 w19999 ")
    assert 9_000 < estimate_tokens(kept) <= 10_000
    halves = [sum(int(word[1:]) < 10_000 for word in kept.split() if len(word) == 6), len(kept.split())]
    assert 0.45 < halves[0] / halves[1] < 0.55


@given(st.lists(PIECES, max_size=400).map("".join), st.integers(2, 300))
def test_what_is_kept_is_the_text_or_fits_its_limit(text, limit):
    kept = cut_middle(text, limit)
    if kept == text:
        return
    # Where the ends meet a word may become one, and a run of white space, which then counts up to one token a character.
    longest_gap = max(map(len, re.findall(r"\s+", kept)), default=0)
    assert estimate_tokens(kept) <= limit + 4 + longest_gap
    assert any(text.startswith(kept[:place]) and text.endswith(kept[place:]) for place in range(len(kept) + 1))


@given(st.text(max_size=300), st.integers(2, 80))
def test_a_tokenizer_keeps_the_first_and_last_half_of_its_tokens(text, limit):
    kept = cut_middle_tokens(
        text, limit, encode=lambda it: [ord(sign) for sign in it], decode=lambda ids: "".join(map(chr, ids))
    )
    assert kept == (text if len(text) <= limit else text[: limit // 2] + text[-(limit - limit // 2) :])


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_a_limit_without_room_is_refused(limit):
    with pytest.raises(ValueError, match="at least 2 tokens"):
        cut_middle("text", limit)
    with pytest.raises(ValueError, match="at least 2 tokens"):
        cut_middle_tokens("text", limit, encode=lambda it: [1], decode=lambda ids: "")


def test_the_cost_hangs_on_what_is_kept():
    short, long = (
        cpu_seconds(lambda text=text: cut_middle(text, 2_000)) for text in ("word " * 200_000, "word " * 4_000_000)
    )
    assert long < 5 * short + NOISE_SECONDS
