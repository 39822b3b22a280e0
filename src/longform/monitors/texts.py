"""Signatures in the policy's texts: format, length, diversity, and reward hacking without better writing.

A base model rarely follows the format at first and learns it, so a low rate counts only once it has stopped rising.
Rewording, keyword stuffing and copying are compared with the beginning of the run, in medians over half a window, because
the normal level differs between kinds of text and grows with their length.
"""

from itertools import accumulate
from statistics import fmean

from longform.monitors.keywords import COUNT, words_at
from longform.monitors.series import TEXTS, Finding, Points, Series, ends, latest_window, pooled_share, typical, values

MAX_CUT_OFF = 0.5
"""Maximum fraction of texts that end at the token limit; above it, the judge mostly compares fragments."""
LONGER = 1.25
"""Ratio of lengths to the beginning of the run. Half a window has at least 128 texts, so the ratio has a standard error of
about 0.06 if the standard deviation of the lengths is half their mean."""
MORE_REPETITION = 0.1
"""Increase in the fraction of repeated word 4-grams or sentences since the beginning of the run. Longer texts repeat
slightly more in any case; one in ten is padding."""


def cut_off(series: Series) -> Finding | None:
    """Most texts end at the token limit (mean over the window)."""
    window = latest_window(series, count=TEXTS)
    shares = values(series, "text/cut_off", window) if window else []
    if window is None or not shares or fmean(shares) <= MAX_CUT_OFF:
        return None
    return Finding(
        "cut-off",
        window.first,
        window.last,
        f"{fmean(shares):.0%} of {window.cases} texts in {window} end at the token limit",
        "Raise generation.max_tokens, or request shorter texts in the prompts.",
    )


def length_by_repetition(series: Series) -> Finding | None:
    """Texts become longer and more repetitive (medians over half a window, compared with the beginning of the run)."""
    window = latest_window(series, count=TEXTS)
    words = series.get("text/words", ())
    if window is None or not words:
        return None
    half = window.steps // 2
    before, now = ends(words, half)
    if now < LONGER * before:
        return None
    for name, what in (("text/repetition", "word 4-grams"), ("text/repeated_sentences", "sentences")):
        first, last = ends(series.get(name, ()), half)
        if last > first + MORE_REPETITION:
            return Finding(
                "length-by-repetition",
                words[-half][0],
                words[-1][0],
                f"texts have grown from {before:.0f} to {now:.0f} words, and {last:.0%} of their {what} are repeats, up "
                f"from {first:.0%}",
                "The reward favours padding: change rewards.judge, or add a length_range to the prompts.",
            )
    return None


LOW_SHARE = 0.5
"""Minimum fraction of well-formed responses, or of answers within their length range."""
RISING = 0.05
"""Minimum gain of a low share over two windows while it is being learned. The difference of two windows of 256 texts has a
standard deviation of 0.04."""
LOST = 0.2
"""Maximum fall of a share below its best window: five of these standard deviations."""
FEW_WORDS = 8
"""Minimum length of a plan, in words; a shorter one adds little to the request."""
PLAN_LEFT = 0.25
"""Minimum fraction of the plan's length in its best window."""


def structure_broken(series: Series) -> Finding | None:
    """Too few responses follow the format of generation.think, or fewer than before."""
    evidence = _low_or_lost(series, "text/structure", "responses are well-formed")
    if evidence is None:
        return None
    advice = (
        "Read some responses; then raise the weight of the format reward or set its `required`, lower optim.lr, or raise "
        "generation.max_tokens if responses are cut off."
    )
    return _over_latest(series, "structure-broken", evidence, advice)


def out_of_range(series: Series) -> Finding | None:
    """Fewer answers than before are within their length range, or too few despite a length reward."""
    taught = "reward/length/mean" in series
    evidence = _low_or_lost(series, "text/in_range", "answers are within their length_range", low=taught)
    if evidence is None:
        return None
    advice = "Add a length reward, or raise its weight; check that generation.max_tokens allows the requested lengths."
    return _over_latest(series, "out-of-range", evidence, advice)


def plan_withers(series: Series) -> Finding | None:
    """Plans shrink to a few words while responses stay well-formed (medians over half a window)."""
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
        f"plans have {now:.0f} words in {window} (median), down from {longest:.0f}, and {structure:.0%} of the responses "
        "are well-formed",
        "No reward depends on the plan, so it shrinks. Compare with generation.think: direct; request more planning "
        "in generation.think_prompt, or start from a policy that plans.",
    )


def _low_or_lost(series: Series, name: str, what: str, *, low: bool = True) -> str | None:
    """Describe what is wrong with a share, pooled over the window and compared with earlier windows; None if it is fine.

    Args:
        series: Metrics of the run.
        name: Metric of the share.
        what: Subject and predicate of the sentence, such as "responses are well-formed".
        low: Whether a share that has always been low is wrong.
    """
    window = latest_window(series, count=TEXTS)
    now = pooled_share(series, name, window, count=TEXTS) if window else None
    if window is None or now is None:
        return None
    earlier = _pooled(series, name, window.steps)[: -window.steps]
    if not earlier:
        return None
    if max(earlier) - now > LOST:
        return f"{now:.0%} of the {what} in {window}, down from {max(earlier):.0%}"
    if low and now < LOW_SHARE and len(earlier) > window.steps and now - earlier[-1 - window.steps] < RISING:
        return f"{now:.0%} of the {what} in {window}, and {earlier[-1 - window.steps]:.0%} two windows earlier"
    return None


def _pooled(series: Series, name: str, steps: int) -> list[float]:
    """Return the share over every window of `steps` consecutive steps, weighted by the number of texts."""
    weights = dict(series.get(TEXTS, ()))
    points = [(value, weights.get(step, 0.0)) for step, value in series.get(name, ())]
    hits = [0.0, *accumulate(value * weight for value, weight in points)]
    texts = [0.0, *accumulate(weight for _, weight in points)]
    ranges = [(end - steps, end) for end in range(steps, len(texts)) if texts[end] > texts[end - steps]]
    return [(hits[end] - hits[start]) / (texts[end] - texts[start]) for start, end in ranges]


def _medians(points: Points, count: int) -> list[float]:
    """Return the median of every window of `count` consecutive values."""
    return [ends(points[index : index + count], count)[1] for index in range(max(len(points) - count, 0) + 1)]


def _over_latest(series: Series, name: str, evidence: str, advice: str) -> Finding | None:
    window = latest_window(series, count=TEXTS)
    return None if window is None else Finding(name, window.first, window.last, evidence, advice)


MORE_REDUNDANCY = 0.1
"""Maximum increase in the fraction of reworded sentences. In language models' prose the fraction is 0.01."""
MORE_STUFFING = 0.05
"""Maximum increase in the fraction of words spent on repeating single words; normal texts have almost none."""
MORE_COPYING = {"prompt": 0.04, "reference": 0.1}
"""Maximum increase in the fraction of copied words. Normal answers reuse a title or a phrase: in healthy runs of the
miniature the fraction copied from the request rose by at most 0.02. With good references, a writer that improves also comes
closer to their wording (from 0.02 to 0.08)."""


def padding_by_paraphrase(series: Series) -> Finding | None:
    """More sentences share most of their words with an earlier one, whether or not the texts have become longer.

    Single sentences of this kind are rarely paraphrases in normal prose; a rise by a tenth of all sentences is padding.
    """
    before, now = _words(series)
    return _risen(
        series,
        "text/redundancy",
        MORE_REDUNDANCY,
        name="padding-by-paraphrase",
        what="sentences share most of their words with an earlier one",
        detail=f"; texts went from {before:.0f} to {now:.0f} words",
        advice="The reward favours padding: change rewards.judge, or add a length reward.",
    )


def keyword_stuffing(series: Series) -> Finding | None:
    """More words are repetitions of single words."""
    return _risen(
        series,
        "text/stuffing",
        MORE_STUFFING,
        name="keyword-stuffing",
        what="words repeat single words beyond natural use",
        detail=_named(series),
        advice="The judge favours certain words: set `stuffing` of the format reward above 0, or change rewards.judge.",
    )


def copied_from_prompt(series: Series) -> Finding | None:
    """A larger part of the answers is copied from the request."""
    return _copied(series, "prompt", "request")


def copied_from_reference(series: Series) -> Finding | None:
    """A larger part of the answers is copied from the current reference."""
    return _copied(series, "reference", "current reference")


def keyword_drift(series: Series) -> Finding | None:
    """Single words are repeated, make up several times their initial share, and correlate with the reward."""
    window = latest_window(series, count=TEXTS)
    if window is None or not words_at(series, window.last):
        return None
    return Finding(
        "keyword-drift",
        window.first,
        window.last,
        f"words that correlate with the reward make up several times their initial share of the answers{_named(series)}",
        "Read texts with these words. If the prompts do not call for them, set `stuffing` of the format reward above 0, or "
        "change rewards.judge.",
    )


LESS_DIVERSE = 0.2
"""Minimum rise of self-BLEU. In healthy runs of the miniature it rose by at most 0.11, among responses to one prompt by
0.14; normal texts for different prompts have 0.02 to 0.07."""
DISTINCT_LEFT = 0.75
"""Maximum ratio of the share of distinct word pairs to its initial value; in the miniature it stayed above 0.85."""
_AMONG = {"": "the responses of a step", "group_": "the responses to one prompt"}
"""What is compared, by the metrics' prefix."""


def diversity_falls(series: Series) -> Finding | None:
    """Responses become similar: self-BLEU has risen and distinct word pairs have fallen since the beginning of the run.

    Medians over half a window keep a single step with similar prompts from counting. Both measures must have moved, because
    texts that only become longer also have fewer distinct pairs.
    """
    window = latest_window(series, count=TEXTS)
    if window is None:
        return None
    half = window.steps // 2
    for prefix, what in _AMONG.items():
        alike, distinct = (series.get(f"text/{prefix}{name}", ()) for name in ("self_bleu", "distinct"))
        if not alike or not distinct or alike[-1][0] < window.first:
            continue
        (before, now), (first, left) = ends(alike, half), ends(distinct, half)
        if now >= before + LESS_DIVERSE and left <= DISTINCT_LEFT * first:
            return Finding(
                "diversity-falls",
                window.first,
                window.last,
                f"the self-BLEU of {what} is {now:.2f}, up from {before:.2f} at the beginning, and {left:.0%} of their "
                f"word pairs are distinct, down from {first:.0%}",
                "Lower optim.lr, raise optim.kl_coef or optim.entropy_coef, or return to an earlier checkpoint; read some "
                "texts: does rewards.judge favour one pattern?",
            )
    return None


def _copied(series: Series, source: str, what: str) -> Finding | None:
    return _risen(
        series,
        f"text/copied_from_{source}",
        MORE_COPYING[source],
        name=f"copied-from-{source}",
        what=f"words are in passages copied from the {what}",
        advice="The judge rewards copying: set `copying` of the format reward above 0, or change rewards.judge.",
    )


def _risen(
    series: Series, metric: str, min_rise: float, *, name: str, what: str, advice: str, detail: str = ""
) -> Finding | None:
    """Find a share that has risen by more than `min_rise` since the beginning of the run."""
    window = latest_window(series, count=TEXTS)
    points = series.get(metric, ())
    if window is None or not points or points[-1][0] < window.first:
        return None
    first, last = ends(points, window.steps // 2)
    if last <= first + min_rise:
        return None
    evidence = f"{last:.0%} of the {what}, up from {first:.0%} at the beginning{detail}"
    return Finding(name, window.first, window.last, evidence, advice)


def _words(series: Series) -> tuple[float, float]:
    """Return the median lengths at the beginning and now, in words."""
    window = latest_window(series, count=TEXTS)
    return ends(series.get("text/words", ()), window.steps // 2) if window else (0.0, 0.0)


def _named(series: Series) -> str:
    """List the words that drift now, with their shares of all words."""
    points = series.get(COUNT, ())
    words = words_at(series, points[-1][0]) if points else {}
    return f" ({', '.join(f'{word} {share:.1%}' for word, share in words.items())})" if words else ""
