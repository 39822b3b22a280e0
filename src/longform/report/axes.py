"""Axes: a range that fits the data, ticks at round numbers, and the map from data to pixels."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Axis(NamedTuple):
    """An axis; the defaults fit its range to the data."""

    title: str = ""
    domain: tuple[float, float] | None = None
    """Both ends; None uses those of the data."""
    exact: bool = False
    """Whether the axis ends with its data; by default it ends on the surrounding ticks."""
    whole: bool = False
    """Ticks at whole numbers only, as for counts and steps."""
    ticks: int = 5
    """Approximate number of intervals between ticks."""


class AxisScale(NamedTuple):
    """The linear map from data to pixels along one axis."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float
    """Pixel of `high`."""

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


class Ticks(NamedTuple):
    """Round numbers: multiples of `digit` * 10^`exponent`, with digit 1, 2 or 5."""

    digit: int
    exponent: int

    @property
    def step(self) -> float:
        """The distance of two ticks."""
        return float(f"{self.digit}e{self.exponent}")

    def between(self, low: float, high: float) -> list[float]:
        """Return the ticks from `low` to `high`, both included."""
        first, last = math.ceil(low / self.step - 1e-9), math.floor(high / self.step + 1e-9)
        return [self.multiple(number) for number in range(first, last + 1)]

    def around(self, low: float, high: float) -> tuple[float, float]:
        """Return the last tick that is not above `low`, and the first that is not below `high`."""
        first, last = math.floor(low / self.step + 1e-9), math.ceil(high / self.step - 1e-9)
        return self.multiple(first), self.multiple(last)

    def multiple(self, number: int) -> float:
        """Return the tick `number` without rounding error: 3 * 0.1 is 0.3."""
        return float(f"{number * self.digit}e{self.exponent}")

    def label(self, value: float) -> str:
        """Format a tick."""
        if self.exponent < -4 or (abs(value) >= 1e6 and self.exponent >= 4):
            return f"{value:g}"
        return f"{value:,.{max(0, -self.exponent)}f}"


def round_ticks(low: float, high: float, *, about: int = 5, whole: bool = False) -> Ticks:
    """Return the finest round ticks with at most `about` intervals between `low` and `high`, which differ."""
    raw = (high - low) / about
    exponent = math.floor(math.log10(raw))
    digit = next(it for it in (1, 2, 5, 10) if it * 10.0**exponent >= raw * (1 - 1e-9))
    if digit == 10:
        digit, exponent = 1, exponent + 1
    return Ticks(1, 0) if whole and exponent < 0 else Ticks(digit, exponent)


def fit_axis(axis: Axis, values: Iterable[float]) -> tuple[float, float, Ticks]:
    """Return both ends of an axis and its ticks.

    Args:
        axis: The axis.
        values: Data along it; values that are not finite are ignored.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = axis.domain or (min(finite, default=0.0), max(finite, default=0.0))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a single value is drawn in the middle, zero at the bottom
        around = 1.0 if axis.whole else 0.2 * max(abs(low), abs(high))
        low, high = (low - around, high + around) if around and low else (0.0, 1.0)
    ticks = round_ticks(low, high, about=axis.ticks, whole=axis.whole)
    return (low, high, ticks) if axis.domain or axis.exact else (*ticks.around(low, high), ticks)
