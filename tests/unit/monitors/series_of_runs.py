"""Made-up metrics of runs: sound ones with the noise that 32 rollouts a step give, and what is to be seen in place of it."""

from typing import Any

import numpy as np

ROLLOUTS = 32
VALIDATED = 64


def sound_run(instead: dict[str, Any] | None = None, *, seed=0, steps=40, wins=0.6):
    """The metrics of a sound run that learns a little, as series; `instead` gives other values for some metrics.

    A value is a number, or a function of the step; one that gives None leaves the metric out.
    """
    rng, of_texts, of_progress = (np.random.default_rng(it) for it in (seed, [seed, 1], [seed, 2]))
    series = {}
    series["validation/grade"] = [(0, rng.normal(6, 1.5 / VALIDATED**0.5))]
    series["validation/grade_error"] = [(0, 1.5 / VALIDATED**0.5)]
    for step in range(1, steps + 1):
        for name, value in (_step(rng, step, wins) | _texts(of_texts)).items():
            series.setdefault(name, []).append((step, float(value)))
        for name, value in _progress(of_progress, step).items():
            series.setdefault(name, []).append((step, float(value)))
    for name, value in (instead or {}).items():
        given: list[tuple[int, Any]] = [(n, value(n) if callable(value) else value) for n in range(1, steps + 1)]
        series[name] = [(step, float(number)) for step, number in given if number is not None]
    return {name: points for name, points in series.items() if points}


def _step(rng, step, wins) -> dict[str, Any]:
    won, tied, lost = rng.multinomial(ROLLOUTS, [wins, 0.05, 0.95 - wins])
    rewards = np.repeat([1.0, 0.5, 0.0], [won, tied, lost])
    rechecked = rng.binomial(ROLLOUTS, 0.25)
    metrics = {
        "reward/count": ROLLOUTS,
        "text/count": ROLLOUTS,
        "reward/mean": rewards.mean(),
        "reward/spread": rewards.std(),
        "outcome/win": won / ROLLOUTS,
        "outcome/tie": tied / ROLLOUTS,
        "outcome/loss": lost / ROLLOUTS,
        "curriculum/promotions": won,
        "curriculum/mean_rung_faced": step / 10 + rng.normal(0, 0.1),
        "no_verdict/share": rng.binomial(ROLLOUTS, 0.03) / ROLLOUTS,
        "policy/loss": rng.standard_t(4) * 0.01,
        "policy/grad_norm": rng.lognormal(-1, 0.3),
        "policy/entropy": 0.6 * 0.99**step + rng.normal(0, 0.02),
        "policy/kl_to_start": 0.004 * step + rng.normal(0, 0.01),
        "policy/kl_of_update": rng.normal(0.001, 0.002),
        "critic/loss": rng.lognormal(-2.5, 0.3),
        "critic/grad_norm": rng.lognormal(-0.5, 0.5),
        "text/words": np.mean(rng.lognormal(6, 0.5, ROLLOUTS)),
        "text/repetition": np.mean(rng.beta(1, 25, ROLLOUTS)),
        "text/repeated_sentences": np.mean(rng.beta(0.5, 25, ROLLOUTS)),
        "text/cut_off": rng.binomial(ROLLOUTS, 0.05) / ROLLOUTS,
    }
    if rechecked:
        metrics |= {"judge/rechecked": rechecked, "judge/inconsistency": rng.binomial(rechecked, 0.1) / rechecked}
    if step % 5 == 0:
        error = 1.5 / VALIDATED**0.5
        metrics |= {"validation/grade": rng.normal(6 + step / 25, error), "validation/grade_error": error}
    return metrics


def _progress(rng, step) -> dict[str, Any]:
    """Where the prompts are, and how much the texts differ: a little less with every step, as they become better."""
    alike = 0.1 * step / (step + 20)
    return {
        "curriculum/mean_rung": step / 10,
        "curriculum/at_top": min(step / 400, 1),
        "text/self_bleu": rng.normal(0.05 + alike, 0.02),
        "text/distinct": rng.normal(0.7 - alike, 0.03),
        "text/group_self_bleu": rng.normal(0.3 + alike, 0.05),
        "text/group_distinct": rng.normal(0.6 - alike, 0.05),
    }


def _texts(rng) -> dict[str, Any]:
    """What a run with two rewards and plans measures besides."""
    length = rng.normal(0.5, 0.05)
    return {
        "text/structure": rng.binomial(ROLLOUTS, 0.95) / ROLLOUTS,
        "text/in_range": rng.binomial(ROLLOUTS, 0.7) / ROLLOUTS,
        "text/think_words": np.mean(rng.lognormal(4, 0.5, ROLLOUTS)),
        "text/redundancy": np.mean(rng.beta(0.5, 25, ROLLOUTS)),
        "text/stuffing": np.mean(rng.beta(0.2, 40, ROLLOUTS)),
        "text/copied_from_prompt": np.mean(rng.beta(0.5, 25, ROLLOUTS)),
        "text/copied_from_reference": np.mean(rng.beta(0.5, 25, ROLLOUTS)),
        "text/keywords": 0,
        "reward/length/mean": rng.normal(0.8, 0.05),
        "reward/length/spread": rng.normal(0.3, 0.03),
        "reward/length/share": length,
        "reward/pairwise/mean": rng.normal(0.6, 0.05),
        "reward/pairwise/spread": rng.normal(0.3, 0.03),
        "reward/pairwise/share": 1 - length,
        "reward/largest_share": max(length, 1 - length),
        "group/without_spread": rng.binomial(ROLLOUTS, 0.2) / ROLLOUTS,
    }
