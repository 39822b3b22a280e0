"""Signatures in what the policy writes: form, length, and texts that win a reward without being better written.

A base model rarely produces the structure at first and learns it, so a low rate counts only once it has stopped rising.
Paraphrase, stuffed keywords and copying are compared with the beginning of the run, in medians over half a window: what is
normal differs between kinds of text, and a longer poem has more refrains.
"""

from itertools import accumulate, pairwise
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from longform.monitors.keywords import COUNT, words_at
from longform.monitors.series import TEXTS, Finding, Points, Series, ends, latest_window, pooled_share, typical, values

MAX_CUT_OFF = 0.5
"""Share of texts that end at the token limit: beyond it the judge compares fragments, and length teaches nothing."""
LONGER = 1.25
"""Words against the beginning. Half a window holds 128 texts or more: a standard error of about 0.06 for the ratio, where
lengths spread by half their mean."""
MORE_REPETITION = 0.1
"""Share of four-word sequences, or of sentences, that have been read before, above that of the beginning. Longer texts
repeat a little more by themselves; one in ten is padding."""
EXAMINER_ERRORS = 4.0
"""Standard errors by which the examiner's grade has to fall. It is held against the best of all earlier validations, whose
luck costs about one of them."""
PROGRESS = 0.2
"""What counts as a rise in the training judge's eyes, in rungs: about three standard errors of 64 verdicts."""


def cut_off(series: Series) -> Finding | None:
    """Most texts end at the token limit: mean share over the window."""
    window = latest_window(series, count=TEXTS)
    shares = values(series, "text/cut_off", window) if window else []
    if window is None or not shares or fmean(shares) <= MAX_CUT_OFF:
        return None
    return Finding(
        "cut-off",
        window.first,
        window.last,
        f"{fmean(shares):.0%} of {window.cases} texts in {window} end at the token limit",
        "Raise generation.max_tokens, or ask for shorter texts in the prompts.",
    )


def length_by_repetition(series: Series) -> Finding | None:
    """Texts grow and repeat themselves more: medians over half a window, now against the beginning of the run."""
    window = latest_window(series, count=TEXTS)
    words = series.get("text/words", ())
    if window is None or not words:
        return None
    half = window.steps // 2
    before, now = ends(words, half)
    if now < LONGER * before:
        return None
    for name, what in (("text/repetition", "four-word sequences"), ("text/repeated_sentences", "sentences")):
        first, last = ends(series.get(name, ()), half)
        if last > first + MORE_REPETITION:
            return Finding(
                "length-by-repetition",
                words[-half][0],
                words[-1][0],
                f"texts have grown from {before:.0f} to {now:.0f} words, and {last:.0%} of their {what} have been read "
                f"before, where it was {first:.0%}",
                "The reward pays for padding: change rewards.judge, or give the prompts a length_range.",
            )
    return None


def judge_examiner_apart(series: Series) -> Finding | None:
    """The training judge sees progress while the examiner's grade falls.

    Two validations in a row are averaged, and the last two are held against the best two before them. The grade has to fall
    by four standard errors (validation/grade_error, as if the texts of two validations had nothing in common, which is
    cautious); over the same time mean rung plus mean reward has to rise.
    """
    pairs = _validation_pairs(series)
    if len(pairs) < 3:  # the last two validations, and two that are not among them
        return None
    now, best = pairs[-1], max(pairs[:-2], key=lambda pair: pair.grade)
    error = sqrt(now.error**2 + best.error**2)
    if best.grade - now.grade <= EXAMINER_ERRORS * error or now.progress - best.progress <= PROGRESS:
        return None
    return Finding(
        "judge-examiner-apart",
        best.step,
        now.step,
        f"from step {best.step} to {now.step} the examiner's grade fell from {best.grade:.2f} ± {best.error:.2f} to "
        f"{now.grade:.2f} ± {now.error:.2f}, while mean rung plus mean reward rose from {best.progress:.2f} to "
        f"{now.progress:.2f}",
        "The policy has learned to please rewards.judge alone: take the checkpoint of the best grade, and train with "
        "another judge or a panel.",
    )


class _Pair(NamedTuple):
    """Two validations in a row."""

    step: int
    """Of the second."""
    grade: float
    error: float
    """Standard error of `grade`."""
    progress: float
    """Mean rung faced plus mean reward in the steps of these validations: a rung more is worth as much as all reward."""


def _validation_pairs(series: Series) -> list[_Pair]:
    grades, errors = series.get("validation/grade", ()), dict(series.get("validation/grade_error", ()))
    rewards, rungs = dict(series.get("reward/mean", ())), dict(series.get("curriculum/mean_rung_faced", ()))
    pairs = []
    for (first, one), (second, other) in pairwise(grades):
        progress = [rewards[step] + rungs.get(step, 0.0) for step in (first, second) if step in rewards]
        if progress and first in errors and second in errors:
            error = sqrt(errors[first] ** 2 + errors[second] ** 2) / 2
            pairs.append(_Pair(second, (one + other) / 2, error, fmean(progress)))
    return pairs


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


MORE_REDUNDANCY = 0.1
"""Share of sentences that say an earlier one again, above that of the beginning. Of language models' prose it is 0.01."""
MORE_STUFFING = 0.05
"""Share of words spent on repeating single words; honest texts hardly have any."""
MORE_COPYING = {"prompt": 0.04, "reference": 0.1}
"""Share of words in copied runs. Honest answers take up a title or a phrase, and go on doing so: in sound runs of the
miniature the share taken from the request rose by at most 0.02. Where references are good, a writer that becomes better
also comes nearer to their words (from 0.02 to 0.08)."""


def padding_by_paraphrase(series: Series) -> Finding | None:
    """More sentences say an earlier one again in other words, whether or not the texts have grown."""
    before, now = _words(series)
    return _risen(
        series,
        "text/redundancy",
        MORE_REDUNDANCY,
        name="padding-by-paraphrase",
        what=f"sentences say an earlier one again in other words; texts went from {before:.0f} to {now:.0f} words",
        advice="The reward pays for padding: set `redundancy` of the format reward above 0, or change rewards.judge.",
    )


def keyword_stuffing(series: Series) -> Finding | None:
    """More words are spent on repeating single words."""
    return _risen(
        series,
        "text/stuffing",
        MORE_STUFFING,
        name="keyword-stuffing",
        what="words repeat single words beyond natural use" + _named(series),
        advice="The judge likes certain words: set `stuffing` of the format reward above 0, or change rewards.judge.",
    )


def copied_from_prompt(series: Series) -> Finding | None:
    """More of the answers is copied from the request."""
    return _copied(series, "prompt", "request")


def copied_from_reference(series: Series) -> Finding | None:
    """More of the answers is copied from the reference that is faced."""
    return _copied(series, "reference", "reference that they face")


def keyword_drift(series: Series) -> Finding | None:
    """Single words are used again and again, several times as often as at first, and the more the higher the reward."""
    window = latest_window(series, count=TEXTS)
    if window is None or not words_at(series, window.last):
        return None
    return Finding(
        "keyword-drift",
        window.first,
        window.last,
        f"words that rise with the reward make up several times as much of the answers as at first{_named(series)}",
        "Read texts with these words. If the prompts do not ask for them, set `stuffing` of the format reward above 0, or "
        "change rewards.judge.",
    )


def _copied(series: Series, source: str, what: str) -> Finding | None:
    return _risen(
        series,
        f"text/copied_from_{source}",
        MORE_COPYING[source],
        name=f"copied-from-{source}",
        what=f"words stand in runs that are copied from the {what}",
        advice="The judge likes what it was given: set `copying` of the format reward above 0, or change rewards.judge.",
    )


def _risen(series: Series, metric: str, least: float, *, name: str, what: str, advice: str) -> Finding | None:
    """A share that lies more than `least` above what it was at first."""
    window = latest_window(series, count=TEXTS)
    points = series.get(metric, ())
    if window is None or not points or points[-1][0] < window.first:
        return None
    first, last = ends(points, window.steps // 2)
    if last <= first + least:
        return None
    evidence = f"{last:.0%} of the {what}; at first it was {first:.0%}"
    return Finding(name, window.first, window.last, evidence, advice)


def _words(series: Series) -> tuple[float, float]:
    """Typical lengths, at first and now."""
    window = latest_window(series, count=TEXTS)
    return ends(series.get("text/words", ()), window.steps // 2) if window else (0.0, 0.0)


def _named(series: Series) -> str:
    """The words that drift now, with their shares of all words."""
    points = series.get(COUNT, ())
    words = words_at(series, points[-1][0]) if points else {}
    return f" ({', '.join(f'{word} {share:.1%}' for word, share in words.items())})" if words else ""
