"""Reliability of a reward model on held-out pairs.

In addition to accuracy, it reports the two shortcuts that reward models most often learn instead of writing quality:
length and single words. Calibration is computed from score differences.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longform.evaluation.tables import plain
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.schemas import Preference, PromptRow
from longform.rewards.writing_model import WritingModel
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.statistics.correlation import clustered_rank_correlation
from longform.statistics.paired import pair_wins
from longform.text.repetition import content_terms, units
from longform.text.words import count_han, count_words_of_any_script
from longform.training.supervised.preferences import (
    EXAMINATION,
    HELD_OUT,
    CurvePoint,
    ExaminationSettings,
    read_preferences,
)
from longform.writers.paths import is_model_folder

Scorer = Callable[[Sequence[tuple[PromptRow, str]]], Sequence[float]]
"""Function from (prompt, text) pairs to standardized scores."""

EQUAL_LENGTH = 0.1
"""Texts have equal length if the longer one has at most this fraction more words."""
BINS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Lower bounds of the calibration bins; the last one ends at 1."""
INSERTIONS = 3
"""Number of insertions of a probed word into a text."""
CHUNK = 256
"""Texts that are scored between two reports of progress."""
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
    max_pairs: int | None = None,
    words: int = 40,
    texts: int = 24,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Examination:
    """Evaluate a reward model on pairs.

    Args:
        score: Returns standardized scores.
        preferences: Pairs of prompts that it was not trained on.
        spread: Standard deviation of the scores before standardization, needed for probabilities.
        max_pairs: Number of pairs to draw; None takes all.
        words: Number of words to probe: those that chosen texts use more than rejected ones.
        texts: Number of texts that each word is inserted into.
        seed: Seed of their choice and of the bootstrap.
        on_progress: Called with (texts scored, texts).

    Raises:
        ValueError: there are no pairs.
    """
    if not preferences:
        raise ValueError("needs at least one pair")
    if max_pairs is not None and len(preferences) > max_pairs:
        preferences = random.Random(seed).sample(preferences, k=max_pairs)
    probe = plan_probe(preferences, words=words, texts=texts, seed=seed)
    score = _reporting(score, total=2 * len(preferences) + len(probe.rows), on_progress=on_progress)
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
    effects = measure_keywords(score, probe, seed=seed)
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


class Probe(NamedTuple):
    """Texts with inserted words."""

    words: list[str]
    """Words that chosen texts favour."""
    tried: list[str]
    """They and the control words."""
    texts: list[tuple[PromptRow, str]]
    """What each of them is inserted into."""
    rows: list[tuple[PromptRow, str]]
    """The texts with each word, word by word."""


def plan_probe(preferences: Sequence[Preference], *, words: int, texts: int, seed: int) -> Probe:
    """Insert each word that chosen texts favour, and control words, into some of the texts.

    A word is inserted `INSERTIONS` times at random positions, whether it makes sense there or not. The effect of any
    insertion, which lengthens a text and breaks its sentences, is estimated with words that chosen and rejected texts
    use equally, at the same positions.
    """
    stream = random.Random(seed)
    probed, controls = favoured_words(preferences, most=words)
    pairs = [
        (PromptRow(id=str(index), prompt=it.prompt), text)
        for index, it in enumerate(preferences)
        for text in (it.chosen, it.rejected)
        if text.strip()
    ]
    chosen = stream.sample(pairs, k=min(texts, len(pairs)))
    if not probed or not controls or not chosen:
        return Probe([], [], [], [])
    tried = [*probed, *controls]
    rows = [
        (prompt, insert(text, word, random.Random(f"{seed}/{index}")))
        for word in tried
        for index, (prompt, text) in enumerate(chosen)
    ]
    return Probe(probed, tried, chosen, rows)


def measure_keywords(score: Scorer, probe: Probe, *, seed: int) -> list[KeywordEffect]:
    """Measure the effect of inserting each probed word, less that of the control words; strongest first.

    Intervals are simultaneous for all words (Bonferroni).
    """
    probed, tried, chosen, rows = probe
    if not rows:
        return []
    scores = np.array(score(rows)).reshape(len(tried), len(chosen))
    shifts = scores[: len(probed)] - scores[len(probed) :].mean(0)
    clusters = [prompt.request for prompt, _ in chosen]
    level = 1 - (1 - LEVEL) / len(probed)
    effects = [
        KeywordEffect(word, clustered_interval(shift, clusters, level=level, resamples=_PROBE_RESAMPLES, seed=seed))
        for word, shift in zip(probed, shifts, strict=True)
    ]
    return sorted(effects, key=lambda it: -it.shift.estimate)


def examine_folder(
    folder: Path,
    pairs: Path,
    *,
    settings: ExaminationSettings,
    batch: int,
    curve: Sequence[CurvePoint] = (),
    trust_remote_code: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Examination:
    """Evaluate the reward model in a folder on a file of pairs, and write the result into the folder.

    The file is `examination.json` for the model's own held-out pairs, examination-NAME.json for others.

    Args:
        folder: Of the reward model.
        pairs: Preferences file.
        settings: Budget of the examination.
        batch: Texts that are scored at once.
        curve: The model's learning curve, to be written with the result.
        trust_remote_code: Whether code in the folder may run.
        on_progress: Called with (texts scored, texts).

    Raises:
        BadInputError: there is no reward model in the folder, or the file has a bad pair.
    """
    if not is_model_folder(str(folder)):
        raise BadInputError(f"out: no reward model at {folder}; run without --examine to train one")
    preferences = read_preferences(pairs)
    model = WritingModel(str(folder), field="out", trust_remote_code=trust_remote_code)
    found = examine(
        lambda texts: model.scores(texts, batch=batch),
        preferences,
        spread=model.scale.spread,
        **settings.model_dump(),
        on_progress=on_progress,
    )
    own = pairs.resolve() == (folder / HELD_OUT).resolve()
    name = EXAMINATION if own else f"{Path(EXAMINATION).stem}-{pairs.stem}.json"
    content = plain(found) | {"curve": plain(list(curve))}
    write_text(folder / name, json.dumps(content, indent=1) + "\n")
    return found


def _reporting(score: Scorer, *, total: int, on_progress: Callable[[int, int], None]) -> Scorer:
    """A scorer that works in chunks and reports after each."""
    done = 0

    def scored(texts: Sequence[tuple[PromptRow, str]]) -> list[float]:
        nonlocal done
        found: list[float] = []
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            found += score(part)
            done += len(part)
            on_progress(done, total)
        return found

    return scored


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
