"""The published rules of a length range, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.text.length_rules import UNWRITTEN, Range, Rule, _exact_ends, _is_beyond, _rounded_ends, rule_violations
from longform.text.stated_counts import StatedCount

PLAIN = "Write a story about a lighthouse."


@pytest.mark.parametrize(
    ("predicted", "broken"),
    [
        ((800, 1000), []),
        ((0, 0), []),
        ((0, 3000), []),
        ((9000, 12_000), []),
        ((850, 1000), [Rule.GRID]),
        ((800, 1001), [Rule.GRID]),
        ((1000, 800), [Rule.ORDER]),
        ((-100, 800), [Rule.ORDER]),
        ((10_000, 12_100), [Rule.MOST]),
        ((0, 3100), [Rule.SPAN]),
        ((6000, 10_000), [Rule.SPAN]),  # published as an example, against the published rule
        ((-50, 13_000), [Rule.GRID, Rule.ORDER, Rule.MOST, Rule.SPAN]),
    ],
)
def test_each_rule_is_named_where_it_is_broken(predicted, broken):
    assert rule_violations(PLAIN, predicted) == broken


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("2,000 words", (1800, 2200)),
        ("no more than 2,000 words", (1800, 2000)),
        ("at least 2,000 words", (2000, 2200)),
        ("2000字", (1800, 2200)),
        ("不超过2000字", (1800, 2000)),
        ("不少于2000字", (2000, 2200)),
        ("800 to 1,000 words", (800, 1000)),
        ("at least 12,000 words", (12_000, 12_000)),
    ],
)
def test_a_stated_count_decides_the_range(request_, expected):
    low, high = expected
    assert rule_violations(request_, expected) == []
    assert rule_violations(request_, (0, 0)) == []
    for other in ((low - 100, high), (low, high + 100), (low - 100, high + 100), (low + 100, high + 100)):
        assert Rule.STATED in rule_violations(request_, other)


@pytest.mark.parametrize(
    ("request_", "kept", "broken"),
    [
        # 1350 to 1650: either end may be rounded down or up.
        ("1500字", [(1400, 1700), (1300, 1600), (1300, 1700), (1400, 1600)], [(1200, 1600), (1300, 1800)]),
        # 180 to 220: not both ends outwards.
        ("a 200-word note", [(200, 200), (100, 200), (200, 300)], [(100, 300), (0, 200)]),
        ("850 to 1,000 words", [(800, 1000), (900, 1000)], [(700, 1000), (800, 1100)]),
        ("520 to 580 words", [(500, 600)], [(400, 600), (500, 700)]),
        # A bound is no end that may be rounded past itself.
        ("no more than 500 words", [(400, 500), (500, 500)], [(400, 600), (300, 500)]),
        ("at least 500 words", [(500, 600), (500, 500)], [(400, 600), (500, 700)]),
        ("no more than 850 words", [(700, 800), (800, 800)], [(800, 900), (700, 900)]),
        ("at least 850 words", [(900, 900), (900, 1000)], [(800, 900), (800, 1000)]),
        ("at most 150 words", [(100, 100)], [(100, 200), (200, 200)]),
        ("at least 110 words", [(200, 200)], [(100, 200), (100, 100)]),
    ],
)
def test_only_an_end_that_had_to_be_rounded_may_move_and_no_bound_is_passed(request_, kept, broken):
    assert {it: rule_violations(request_, it) for it in kept} == {it: [] for it in kept}
    assert {it: rule_violations(request_, it) for it in broken} == {it: [Rule.STATED] for it in broken}


def test_a_wide_stated_range_bounds_the_answer():
    wide = "5,000 to 10,000 words"
    assert rule_violations(wide, (5000, 8000)) == []
    assert rule_violations(wide, (6000, 8000)) == []
    assert rule_violations(wide, (7000, 10_000)) == []
    assert rule_violations(wide, (4900, 7000)) == [Rule.STATED]
    assert rule_violations(wide, (8000, 10_100)) == [Rule.STATED]


def test_a_count_beyond_12000_leaves_only_zero():
    assert stated_range(StatedCount(20_000, 20_000)) == (0, 0)
    assert rule_violations("a 20,000-word novel", (9000, 12_000)) == [Rule.STATED]
    assert rule_violations("a 20,000-word novel", (0, 0)) == []


def test_a_count_of_a_part_is_not_enforced():
    assert rule_violations("Write ten chapters of 500 words each.", (4500, 5500)) == []


@given(st.integers(100, 12_000), st.sampled_from(["at most", "at least", "about"]))
def test_the_range_of_a_stated_count_keeps_every_rule_and_its_bound(count, phrase):
    stated = {"at most": StatedCount(None, count), "at least": StatedCount(count, None)}
    low, high = stated_range(stated.get(phrase, StatedCount(count, count)))
    assert rule_violations(f"{phrase} {count:,} words", (low, high)) == []
    assert phrase != "at most" or high <= count
    assert phrase != "at least" or low >= count


@given(st.integers(100, 11_000), st.integers(1, 3000))
def test_the_range_of_a_stated_range_keeps_every_rule(low, width):
    expected = stated_range(StatedCount(low, low + width))
    if low * 20 > low + width:  # further apart, the ends are not read as those of one range
        assert rule_violations(f"{low:,} to {low + width:,} words", expected) == []


def stated_range(count: StatedCount) -> Range:
    """The range that follows from a stated count, rounded to the nearest; [0, 0] for one that is beyond 12,000 words."""
    if _is_beyond(count):
        return UNWRITTEN
    exact_low, exact_high = _exact_ends(count)
    lows, highs = _rounded_ends(count)
    low = max(lows, key=lambda end: (-abs(end - exact_low), end))
    high = max(highs, key=lambda end: (-abs(end - exact_high), end))
    return (low, max(low, high)) if count.high is None else (min(low, high), high)
