"""Copying: runs of words that stand in the request or the reference too."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.text.repetition import copied_share

SOURCE = [f"source{i}" for i in range(100)]
OWN = [f"own{i}" for i in range(100)]


def joined(*parts):
    return " ".join(word for part in parts for word in part)


def test_what_lies_in_a_shared_run_is_copied():
    assert copied_share(joined(OWN[:60], SOURCE[20:40], OWN[60:80]), joined(SOURCE)) == pytest.approx(20 / 100)
    assert copied_share(joined(SOURCE), joined(SOURCE)) == 1.0
    assert copied_share(joined(SOURCE[:8], OWN[:8]), joined(SOURCE), n=8) == 0.5
    assert copied_share(joined(SOURCE[:7], OWN[:9]), joined(SOURCE), n=8) == 0.0


def test_a_passage_copied_twice_counts_twice():
    assert copied_share(joined(SOURCE[:20], OWN[:60], SOURCE[:20]), joined(SOURCE)) == pytest.approx(40 / 100)


def test_overlapping_runs_are_counted_once():
    assert copied_share("x a b c d y", "a b c d", n=2) == pytest.approx(4 / 6)
    assert copied_share("a b c", "a b z b c", n=2) == 1.0


def test_case_and_marks_do_not_hide_a_copy():
    assert copied_share("The KEEPER, climbed: the winding stairs!", "the keeper climbed the winding stairs", n=4) == 1.0


def test_short_texts_need_shorter_runs():
    request = "Write a story about Felix in the castle and a crown. Use the words wind, deer and soup."
    story = "In the castle lived Felix. Use the words wind, deer and soup. He owned a crown and lost it in the wind."
    assert copied_share(story, request) == pytest.approx(7 / 22)
    assert copied_share("one two three", "one two three") == 0.0
    assert copied_share("one two three four", "one two three four") == 1.0


def test_chinese_runs_are_twice_as_many_characters():
    source = "".join(chr(0x4E10 + 7 * i) for i in range(80))
    own = "".join(chr(0x6E10 + 7 * i) for i in range(80))
    assert copied_share(own[:40] + source[10:50], source) == pytest.approx(0.5)
    assert copied_share(own[:40] + source[:15] + own[40:65], source) == 0.0


@pytest.mark.parametrize(("answer", "source"), [("", "a b c d"), ("a b c d", ""), ("", ""), ("...", "!")])
def test_nothing_is_copied_from_or_into_nothing(answer, source):
    assert copied_share(answer, source) == 0.0


def test_a_run_needs_a_length():
    with pytest.raises(ValueError, match="at least 1"):
        copied_share("a", "a", n=0)


@given(
    st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abce"), max_size=40), st.integers(1, 5)
)
def test_shares_agree_with_a_plain_count(answer, source, n):
    runs = {tuple(source[i : i + n]) for i in range(len(source) - n + 1)}
    covered = {i + place for i in range(len(answer) - n + 1) if tuple(answer[i : i + n]) in runs for place in range(n)}
    expected = len(covered) / len(answer) if len(source) >= n and len(answer) >= n else 0.0
    assert copied_share(joined(answer), joined(source), n=n) == pytest.approx(expected)


def test_long_texts_take_linear_time():
    source = random.Random(1)
    words = [f"w{source.randrange(3000)}" for _ in range(60_000)]

    def copy(count: int) -> None:
        assert copied_share(joined(words[:count]), joined(words[: count * 3 // 2])) == 1.0
        copied_share("a " * count, "a " * count)

    assert_linear(copy, 5_000)
