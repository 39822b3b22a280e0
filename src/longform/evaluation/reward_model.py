"""Reliability of a reward model on held-out pairs.

In addition to accuracy, it reports the two shortcuts that reward models most often learn instead of writing quality:
length and single words. Calibration is computed from score differences.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from longform.records.schemas import Preference, PromptRow
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.statistics.correlation import clustered_rank_correlation
from longform.statistics.paired import pair_wins
from longform.text.repetition import content_terms, units
from longform.text.words import count_han, count_words_of_any_script

Scorer = Callable[[Sequence[tuple[PromptRow, str]]], Sequence[float]]
"""Function from (prompt, text) pairs to standardized scores."""

EQUAL_LENGTH = 0.1
"""Texts have equal length if the longer one has at most this fraction more words."""
BINS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Lower bounds of the calibration bins; the last one ends at 1."""
INSERTIONS = 3
"""Number of insertions of a probed word into a text."""
CONTROLS = 8
"""Number of control words, which measure the effect of inserting any word."""
LEVEL = 0.95
_PROBE_RESAMPLES = 20_000


class CalibrationBin(NamedTuple):
    """Pairs for which the model's predicted probability is in this bin."""

    low: float
    pairs: int
    expected: float
    """Mean predicted probability of the text that the model prefers."""
    observed: float
    """Fraction of the pairs in which that text is the chosen one."""


class KeywordEffect(NamedTuple):
    """Effect of inserting a word on the score, relative to control words, in standard deviations of scores."""

    word: str
    shift: Interval


@dataclass(frozen=True, slots=True)
class Examination:
    """Evaluation of a reward model on preferences. 95% intervals are over prompts; ties count half."""

    pairs: int
    prompts: int
    accuracy: Interval
    """Fraction of pairs in which the chosen text has the higher score."""
    longer_wins: Interval
    """Accuracy of always preferring the longer text."""
    equal_length_pairs: int
    equal_length_accuracy: Interval | None
    """Accuracy on pairs of about equal length; None if there are none."""
    calibration: list[CalibrationBin]
    calibration_error: float
    """Mean distance of predicted and observed, weighted by pairs (expected calibration error; Naeini et al. 2015)."""
    length_correlation: Interval
    """Rank correlation of score and words among the texts of a prompt, -1 to 1."""
    keywords: list[KeywordEffect]
    """Probed words that raise the score more than the control words, strongest first."""
    probed: int
    """Number of probed words."""


def examine(
    score: Scorer,
    preferences: Sequence[Preference],
    *,
    spread: float,
    words: int = 40,
    texts: int = 24,
    seed: int = 0,
) -> Examination:
    """Evaluate a reward model on pairs.

    Args:
        score: Returns standardized scores.
        preferences: Pairs of prompts that it was not trained on.
        spread: Standard deviation of the scores before standardization, needed for probabilities.
        words: Number of words to probe: those that chosen texts use more than rejected ones.
        texts: Number of texts that each word is inserted into.
        seed: Seed of their choice and of the bootstrap.

    Raises:
        ValueError: there are no pairs.
    """
    if not preferences:
        raise ValueError("needs at least one pair")
    prompts = [PromptRow(id=str(index), prompt=it.prompt) for index, it in enumerate(preferences)]
    clusters = [prompt.request for prompt in prompts]
    scores = np.array(
        score(
            [
                (prompt, text)
                for prompt, it in zip(prompts, preferences, strict=True)
                for text in (it.chosen, it.rejected)
            ]
        )
    ).reshape(-1, 2)
    lengths = np.array(
        [[count_words_of_any_script(it.chosen), count_words_of_any_script(it.rejected)] for it in preferences]
    )
    is_right = pair_wins(scores)
    is_equal = lengths.max(1) <= (1 + EQUAL_LENGTH) * lengths.min(1)
    equal = np.flatnonzero(is_equal)
    bins = calibrate(np.abs(scores[:, 0] - scores[:, 1]) * spread, is_right)
    effects = probe_keywords(score, preferences, prompts, words=words, texts=texts, seed=seed)
    return Examination(
        pairs=len(preferences),
        prompts=len(set(clusters)),
        accuracy=clustered_interval(is_right, clusters, seed=seed),
        longer_wins=clustered_interval(pair_wins(lengths), clusters, seed=seed),
        equal_length_pairs=len(equal),
        equal_length_accuracy=(
            clustered_interval(is_right[equal], [clusters[it] for it in equal], seed=seed) if len(equal) else None
        ),
        calibration=bins,
        calibration_error=sum(it.pairs * abs(it.expected - it.observed) for it in bins) / len(preferences),
        length_correlation=clustered_rank_correlation(
            scores.ravel(), lengths.ravel(), [it for it in clusters for _ in range(2)], seed=seed
        ),
        keywords=[it for it in effects if it.shift.low > 0],
        probed=len(effects),
    )


def calibrate(differences: np.ndarray, is_right: np.ndarray) -> list[CalibrationBin]:
    """Return the non-empty calibration bins.

    Args:
        differences: [pairs] raw score of the preferred text minus the other's, at least 0.
        is_right: [pairs] 1 if it is the chosen one, 0.5 for a tie, else 0.
    """
    expected = 1 / (1 + np.exp(-differences))
    indices = np.searchsorted(BINS, expected, side="right") - 1
    return [
        CalibrationBin(low, int(held.sum()), float(expected[held].mean()), float(is_right[held].mean()))
        for index, low in enumerate(BINS)
        if (held := indices == index).any()
    ]


def probe_keywords(
    score: Scorer, preferences: Sequence[Preference], prompts: Sequence[PromptRow], *, words: int, texts: int, seed: int
) -> list[KeywordEffect]:
    """Measure the effect of inserting each word that chosen texts favour, strongest first.

    A word is inserted `INSERTIONS` times at random positions, whether it makes sense there or not. The effect of any
    insertion, which lengthens a text and breaks its sentences, is estimated with words that chosen and rejected texts
    use equally, at the same positions, and subtracted. Intervals are simultaneous for all words (Bonferroni).
    """
    stream = random.Random(seed)
    probed, controls = favoured_words(preferences, most=words)
    pairs = [
        (prompt, text) for prompt, it in zip(prompts, preferences, strict=True) for text in (it.chosen, it.rejected)
    ]
    pairs = [pair for pair in pairs if pair[1].strip()]
    chosen = stream.sample(pairs, k=min(texts, len(pairs)))
    if not probed or not controls or not chosen:
        return []
    tried = [*probed, *controls]
    with_word = [
        (prompt, insert(text, word, random.Random(f"{seed}/{index}")))
        for word in tried
        for index, (prompt, text) in enumerate(chosen)
    ]
    scores = np.array(score(with_word)).reshape(len(tried), len(chosen))
    shifts = scores[: len(probed)] - scores[len(probed) :].mean(0)
    clusters = [prompt.request for prompt, _ in chosen]
    level = 1 - (1 - LEVEL) / len(probed)
    effects = [
        KeywordEffect(word, clustered_interval(shift, clusters, level=level, resamples=_PROBE_RESAMPLES, seed=seed))
        for word, shift in zip(probed, shifts, strict=True)
    ]
    return sorted(effects, key=lambda it: -it.shift.estimate)


def favoured_words(preferences: Sequence[Preference], *, most: int) -> tuple[list[str], list[str]]:
    """Return content words that more chosen than rejected texts use, by the difference, and words that both use equally.

    Chinese is split into pairs of characters.
    """
    chosen, rejected = (Counter[str](), Counter[str]())
    for it in preferences:
        chosen.update(set(content_terms(units(it.chosen))))
        rejected.update(set(content_terms(units(it.rejected))))
    words = {word for word in chosen.keys() | rejected.keys() if word.isalpha()}
    lead = {word: chosen[word] - rejected[word] for word in words}
    favoured = sorted((word for word in words if lead[word] > 0), key=lambda word: (-lead[word], word))[:most]
    alike = sorted(words - set(favoured), key=lambda word: (abs(lead[word]), -chosen[word] - rejected[word], word))
    return favoured, alike[:CONTROLS]


def insert(text: str, word: str, stream: random.Random) -> str:
    """Insert `word` into `text` `INSERTIONS` times: between words, or between characters of mainly Chinese texts."""
    parts, gap = (list(text), "") if 2 * count_han(text) > len(text) else (text.split(" "), " ")
    for _ in range(INSERTIONS):
        parts.insert(stream.randint(0, len(parts)), word)
    return gap.join(parts)


def agreement_with(score: Scorer, preferences: Sequence[Preference], *, seed: int = 0) -> Interval:
    """Return the fraction of pairs whose chosen text has the higher score, ties half, with its interval over prompts."""
    prompts = [PromptRow(id=str(index), prompt=it.prompt) for index, it in enumerate(preferences)]
    pairs = [
        (prompt, text) for prompt, it in zip(prompts, preferences, strict=True) for text in (it.chosen, it.rejected)
    ]
    scores = np.array(score(pairs)).reshape(-1, 2)
    return clustered_interval(pair_wins(scores), [prompt.request for prompt in prompts], seed=seed)
