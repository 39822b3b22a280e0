"""What a step's rollouts look like in numbers: outcomes, missing verdicts by cause and length, lengths, repetition."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from longform.judging.pairwise import Verdict
from longform.rewards.closing import VERDICT_SCORES
from longform.text.repetition import repeated_ngram_share, repeated_sentence_share
from longform.text.words import count_words
from longform.training.rollouts import WrittenRollout

LENGTH_BINS = (500, 2000, 4000)
"""Words; the bins of LongBench-Write."""


def rollout_metrics(rollouts: Sequence[WrittenRollout], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Metrics of one step. Means of outcomes are over rollouts with a verdict."""
    words = np.array([count_words(rollout.text) for rollout in rollouts])
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    judged = len(verdicts) - outcomes[None]
    metrics = {f"outcome/{name}": outcomes[name] / judged for name in VERDICT_SCORES if judged}
    if judged:
        metrics["reward/mean"] = sum(VERDICT_SCORES[name] * outcomes[name] for name in VERDICT_SCORES) / judged
    metrics |= {
        "no_verdict/share": outcomes[None] / len(verdicts),
        "text/words": float(words.mean()),
        "text/tokens": float(np.mean([len(rollout.written.tokens) for rollout in rollouts])),
        "text/cut_off": float(np.mean([rollout.written.finish_reason == "length" for rollout in rollouts])),
        "text/repetition": float(np.mean([repeated_ngram_share(rollout.text) for rollout in rollouts])),
        "text/repeated_sentences": float(np.mean([repeated_sentence_share(rollout.text) for rollout in rollouts])),
        "judge/cost": sum(verdict.cost or 0.0 for verdict in verdicts),
    }
    missing = [
        (verdict.cause, count) for verdict, count in zip(verdicts, words, strict=True) if verdict.outcome is None
    ]
    for cause, count in Counter(cause for cause, _ in missing).items():
        metrics[f"no_verdict/{cause}"] = float(count)
    for name, count in Counter(length_bin(int(count)) for _, count in missing).items():
        metrics[f"no_verdict/words_{name}"] = float(count)
    return metrics


def length_bin(words: int) -> str:
    """The length bin of a text, such as `500-2000`."""
    edges = (0, *LENGTH_BINS)
    low = max(edge for edge in edges if words >= edge)
    higher = [edge for edge in LENGTH_BINS if edge > low]
    return f"{low}-{higher[0]}" if higher else f"{low}+"
