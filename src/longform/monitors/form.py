"""Signatures in the form of what the policy writes: the structure asked for, the length asked for, the plan.

A base model begins with next to none of it, and learns it; so a low share counts only once it has stopped rising.
"""

from itertools import accumulate

from longform.monitors.finding import Finding
from longform.monitors.series import TEXTS, Points, Series, ends, latest_window, pooled_share, typical

LOW_SHARE = 0.5
"""Of responses that keep the structure, or of answers inside their range."""
RISING = 0.05
"""What a low share gains over two windows where it is being learned. Chance moves the difference of two windows of 256 texts
by 0.04 (standard deviation)."""
LOST = 0.2
"""How far a share may fall below the best window before it: five of these standard deviations."""
FEW_WORDS = 8
"""A plan with fewer says hardly more than the request."""
PLAN_LEFT = 0.25
"""Of the plan's length in its best window."""


def structure_broken(series: Series) -> Finding | None:
    """Too few responses keep the structure that generation.think asks for, or fewer than before."""
    evidence = _low_or_lost(series, "text/structure", "responses keep the structure")
    if evidence is None:
        return None
    advice = (
        "Read some responses; then give the format reward more weight or `required`, lower optim.lr, or raise "
        "generation.max_tokens where they are cut off."
    )
    return _over_latest(series, "structure-broken", evidence, advice)


def out_of_range(series: Series) -> Finding | None:
    """Fewer answers than before have the length their prompt asks for, or too few where a length reward teaches it."""
    taught = "reward/length/mean" in series
    evidence = _low_or_lost(series, "text/in_range", "answers are inside their length_range", low=taught)
    if evidence is None:
        return None
    advice = "Add the length reward, or give it more weight; see that generation.max_tokens leaves room for the range."
    return _over_latest(series, "out-of-range", evidence, advice)


def plan_withers(series: Series) -> Finding | None:
    """The plan shrinks to a few words while the structure is kept: medians over half a window."""
    window = latest_window(series, count=TEXTS)
    structure = typical(series, "text/structure", window) if window else None
    plans = series.get("text/think_words", ())
    if window is None or structure is None or structure < LOW_SHARE or not plans:
        return None
    half = window.steps // 2
    now, longest = ends(plans, half)[1], max(_medians(plans, half))
    if now >= FEW_WORDS and now >= PLAN_LEFT * longest:
        return None
    return Finding(
        "plan-withers",
        window.first,
        window.last,
        f"plans have {now:.0f} words in {window} (median), where they had {longest:.0f}, and {structure:.0%} of the "
        "responses keep the structure",
        "No reward reads the plan, so it costs nothing to drop it. Compare with generation.think: direct; ask for more in "
        "generation.think_prompt, or begin from a policy that plans.",
    )


def _low_or_lost(series: Series, name: str, what: str, *, low: bool = True) -> str | None:
    """What is wrong with a share, in a sentence: pooled over the window, against the windows before it.

    `low`: whether one that has always been low is wrong.
    """
    window = latest_window(series, count=TEXTS)
    now = pooled_share(series, name, window, count=TEXTS) if window else None
    if window is None or now is None:
        return None
    earlier = _pooled(series, name, window.steps)[: -window.steps]
    if not earlier:
        return None
    if max(earlier) - now > LOST:
        return f"{now:.0%} of the {what} in {window}, where it was {max(earlier):.0%} before"
    if low and now < LOW_SHARE and len(earlier) > window.steps and now - earlier[-1 - window.steps] < RISING:
        return f"{now:.0%} of the {what} in {window}, and {earlier[-1 - window.steps]:.0%} two such windows before"
    return None


def _pooled(series: Series, name: str, steps: int) -> list[float]:
    """The share over every run of so many steps, each step weighted by its texts."""
    weights = dict(series.get(TEXTS, ()))
    points = [(value, weights.get(step, 0.0)) for step, value in series.get(name, ())]
    hits = [0.0, *accumulate(value * weight for value, weight in points)]
    texts = [0.0, *accumulate(weight for _, weight in points)]
    ranges = [(end - steps, end) for end in range(steps, len(texts)) if texts[end] > texts[end - steps]]
    return [(hits[end] - hits[start]) / (texts[end] - texts[start]) for start, end in ranges]


def _medians(points: Points, count: int) -> list[float]:
    """Of every run of `count` values."""
    return [ends(points[place : place + count], count)[1] for place in range(max(len(points) - count, 0) + 1)]


def _over_latest(series: Series, name: str, evidence: str, advice: str) -> Finding | None:
    window = latest_window(series, count=TEXTS)
    return None if window is None else Finding(name, window.first, window.last, evidence, advice)
