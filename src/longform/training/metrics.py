"""What a step's rollouts look like in numbers: outcomes, missing verdicts by cause and length, lengths, repetition."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from longform.judging.asking import total_cost
from longform.judging.pairwise import OUTCOMES
from longform.records.database import ValidationText
from longform.rewards.judged import Rewarded
from longform.text.repetition import repeated_ngram_share, repeated_sentence_share
from longform.text.words import count_words
from longform.training.rollouts import WrittenRollout

LENGTH_BINS = (500, 2000, 4000)
"""Words; the bins of LongBench-Write."""


def rollout_metrics(rollouts: Sequence[WrittenRollout], rewarded: Sequence[Rewarded]) -> dict[str, float]:
    """Metrics of one step. Means of rewards and outcomes are over the rollouts that have one."""
    words = [count_words(rollout.text) for rollout in rollouts]
    return {
        **_reward_metrics(rewarded),
        "text/count": float(len(rollouts)),
        "text/words": float(np.mean(words)),
        "text/tokens": float(np.mean([len(rollout.written.tokens) for rollout in rollouts])),
        "text/cut_off": float(np.mean([rollout.written.finish_reason == "length" for rollout in rollouts])),
        "text/repetition": float(np.mean([repeated_ngram_share(rollout.text) for rollout in rollouts])),
        "text/repeated_sentences": float(np.mean([repeated_sentence_share(rollout.text) for rollout in rollouts])),
        "no_verdict/share": float(np.mean([it.score is None for it in rewarded])),
        **_silence_metrics(rewarded, words),
    }


def grade_error(validated: Sequence[ValidationText]) -> dict[str, float]:
    """Standard error of the mean grade of a validation; nothing where fewer than two texts have one."""
    grades = [it.grade for it in validated if it.grade is not None]
    if len(grades) < 2:
        return {}
    return {"validation/grade_error": float(np.std(grades, ddof=1)) / len(grades) ** 0.5}


def _reward_metrics(rewarded: Sequence[Rewarded]) -> dict[str, float]:
    """Rewards, outcomes, and how far the judges agree with each other and with themselves."""
    scores = [it.score for it in rewarded if it.score is not None]
    metrics = {"reward/count": float(len(scores))}
    cost = total_cost(it.cost for it in rewarded)
    if cost is not None:
        metrics["judge/cost"] = cost
    if scores:
        metrics |= {"reward/mean": float(np.mean(scores)), "reward/spread": float(np.std(scores))}
    outcomes = Counter(it.outcome for it in rewarded if it.outcome is not None)
    metrics |= {f"outcome/{name}": outcomes[name] / outcomes.total() for name in OUTCOMES if outcomes}
    disagreements = [it.disagreement for it in rewarded if it.disagreement is not None]
    if disagreements:
        metrics["judge/disagreement"] = float(np.mean(disagreements))
    unheard = [it.unheard for it in rewarded if it.unheard is not None]
    if unheard:
        metrics["judge/unheard"] = float(np.mean(unheard))
    consistent = [it.consistent for it in rewarded if it.consistent is not None]
    if consistent:
        metrics |= {"judge/inconsistency": 1 - float(np.mean(consistent)), "judge/rechecked": float(len(consistent))}
    return metrics


def _silence_metrics(rewarded: Sequence[Rewarded], words: Sequence[int]) -> dict[str, float]:
    """Counts of missing rewards by cause and by the length bin of the response."""
    missing = [(it.cause, length_bin(count)) for it, count in zip(rewarded, words, strict=True) if it.score is None]
    causes, bins = Counter(cause for cause, _ in missing), Counter(name for _, name in missing)
    return {f"no_verdict/{cause}": float(count) for cause, count in causes.items()} | {
        f"no_verdict/words_{name}": float(count) for name, count in bins.items()
    }


def length_bin(words: int) -> str:
    """The length bin of a text, such as `500-2000`."""
    edges = (0, *LENGTH_BINS)
    low = max(edge for edge in edges if words >= edge)
    higher = [edge for edge in LENGTH_BINS if edge > low]
    return f"{low}-{higher[0]}" if higher else f"{low}+"
