"""The rules of a predicted length range (LongWriter-Zero, arXiv 2506.18841, the prompt of its range predictor).

The ends of a range [lo, hi] are multiples of 100; hi is at most 12,000 words and the span at most 3,000. If the request
states a count, the range is that count plus or minus 10%: [1800, 2200] for 2,000 words, [1800, 2000] for no more than 2,000,
[2000, 2200] for at least 2,000. [0, 0] means that the text would be longer than 12,000 words or is impossible.

Our additions: a stated range ("800 to 1,000 words") is the range; if it spans more than 3,000, any range inside it is valid.
Ends are clipped to 12,000. An end that is not a multiple of 100 may be rounded down or up if both roundings together widen
the range by at most 100; "no more than 850" is only rounded down and "at least 850" only up, so that no bound is violated.
An example published with the rules, [6000, 10000] for a paper on green cities, breaks the rule on the span.
"""

from enum import StrEnum

from longform.text.stated_counts import StatedCount, find_stated_count

STEP = 100
MAX_WORDS = 12_000
WIDEST_SPAN = 3_000
UNWRITTEN = (0, 0)

Range = tuple[int, int]
"""(lo, hi), in words."""


class Rule(StrEnum):
    """The rules of a range."""

    GRID = "ends that are not multiples of 100"
    ORDER = "lo below 0 or above hi"
    MOST = "hi above 12,000"
    SPAN = "a span of more than 3,000"
    STATED = "a count other than the one stated in the request"


def rule_violations(request: str, predicted: Range) -> list[Rule]:
    """Return the rules that `predicted` breaks as the length range of `request`; none for [0, 0]."""
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
    """Whether a range matches a stated count; if the count's own range is too wide, whether it is inside that."""
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
    """Return the ends of a count's range before rounding, clipped to 12,000."""
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
    """Return the valid multiples of 100 for either end: the exact value or its neighbours; of a lone bound, the inner."""
    low, high = _exact_ends(count)
    lows = {_round_up(low)} if count.high is None else {_round_down(low), _round_up(low)}
    highs = {_round_down(high)} if count.low is None else {_round_down(high), _round_up(high)}
    return lows, highs


def _round_down(end: float) -> int:
    return int(end // STEP) * STEP


def _round_up(end: float) -> int:
    return -_round_down(-end)
