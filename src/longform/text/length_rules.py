"""The rules of a predicted length range (LongWriter-Zero, arXiv 2506.18841, the prompt of its range predictor).

A range [lo, hi] of words keeps to a grid of 100, ends at 12,000 at most and spans 3,000 at most. Where the request states a
count, the range is that count give or take a tenth: [1800, 2200] for 2,000 words, [1800, 2000] for no more than 2,000,
[2000, 2200] for at least 2,000. [0, 0] says that the text would be longer than 12,000 words or cannot be written at all.

Ours: a stated range ("800 to 1,000 words") is the range, and one that spans more than 3,000 is a frame for it. Ends are cut
at 12,000. An end that is no multiple of 100 may be rounded down or up, as long as both roundings together widen the range
by one step of 100 at most; "no more than 850" is rounded down alone and "at least 850" up, so that no bound is passed.
An example that was published beside the rules, [6000, 10000] for a paper on green cities, breaks the rule of the span.
"""

from enum import StrEnum

from longform.text.stated_counts import StatedCount, find_stated_count

STEP = 100
MAX_WORDS = 12_000
WIDEST_SPAN = 3_000
UNWRITTEN = (0, 0)

Range = tuple[int, int]
"""[lo, hi] in words."""


class Rule(StrEnum):
    """What a range can break."""

    GRID = "ends that are no multiples of 100"
    ORDER = "lo below 0 or above hi"
    MOST = "hi above 12,000"
    SPAN = "a span of more than 3,000"
    STATED = "another count than the request states"


def rule_violations(request: str, predicted: Range) -> list[Rule]:
    """The rules that `predicted` breaks as the length range of `request`; none for [0, 0]."""
    if predicted == UNWRITTEN:
        return []
    low, high = predicted
    broken = {
        Rule.GRID: low % STEP != 0 or high % STEP != 0,
        Rule.ORDER: not 0 <= low <= high,
        Rule.MOST: high > MAX_WORDS,
        Rule.SPAN: high - low > WIDEST_SPAN,
        Rule.STATED: not _follows(predicted, find_stated_count(request)),
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def _follows(predicted: Range, count: StatedCount | None) -> bool:
    """Whether a range is one that a count calls for; where that spans too much, whether it lies inside."""
    if count is None:
        return True
    if _is_beyond(count):
        return False
    low, high = predicted
    exact_low, exact_high = _exact_ends(count)
    span = exact_high - exact_low
    if span > WIDEST_SPAN:
        return exact_low <= low and high <= exact_high
    lows, highs = _rounded_ends(count)
    return low in lows and high in highs and high - low <= span + STEP


def _is_beyond(count: StatedCount) -> bool:
    return min(end for end in count if end is not None) > MAX_WORDS


def _exact_ends(count: StatedCount) -> tuple[float, float]:
    """Where the range of a count would end if there were no grid, cut at 12,000."""
    match count:
        case StatedCount(int(low), int(high)) if low < high:
            ends = low, high
        case StatedCount(None, int(high)):
            ends = high * 9 / 10, high
        case StatedCount(int(low), None):
            ends = low, low * 11 / 10
        case _:
            ends = count.largest * 9 / 10, count.largest * 11 / 10
    return min(MAX_WORDS, ends[0]), min(MAX_WORDS, ends[1])


def _rounded_ends(count: StatedCount) -> tuple[set[int], set[int]]:
    """What either end may be on the grid: the exact one, or its two neighbours; of a lone bound the inner one."""
    low, high = _exact_ends(count)
    lows = {_round_up(low)} if count.high is None else {_round_down(low), _round_up(low)}
    highs = {_round_down(high)} if count.low is None else {_round_down(high), _round_up(high)}
    return lows, highs


def _round_down(end: float) -> int:
    return int(end // STEP) * STEP


def _round_up(end: float) -> int:
    return -_round_down(-end)
