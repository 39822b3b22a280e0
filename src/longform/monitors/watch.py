"""Check all signatures, either at every step of a running run or afterwards over the whole run.

Both process the steps in order and check every signature on the same metrics: those of the first steps and of the latest
ones up to that step. So a diagnosis equals the live findings, and the cost per step is bounded.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from longform.monitors.learning import (
    diverged,
    engine_mismatch,
    entropy_collapse,
    flat_reward,
    judge_inconsistent,
    judge_silent,
    kl_runaway,
    loss_spike,
    never_wins,
    panel_incomplete,
    reward_dominates,
    won_too_easily,
)
from longform.monitors.progress import judge_examiner_apart, plateau_between_rungs
from longform.monitors.series import MAX_STEPS, MIN_STEPS, Finding, Series, latest_window
from longform.monitors.texts import (
    copied_from_prompt,
    copied_from_reference,
    cut_off,
    diversity_falls,
    keyword_drift,
    keyword_stuffing,
    length_by_repetition,
    out_of_range,
    padding_by_paraphrase,
    plan_withers,
    structure_broken,
)

SIGNATURES: tuple[Callable[[Series], Finding | None], ...] = (
    diverged,
    loss_spike,
    kl_runaway,
    engine_mismatch,
    entropy_collapse,
    never_wins,
    won_too_easily,
    plateau_between_rungs,
    flat_reward,
    judge_silent,
    panel_incomplete,
    judge_inconsistent,
    judge_examiner_apart,
    reward_dominates,
    length_by_repetition,
    padding_by_paraphrase,
    keyword_stuffing,
    keyword_drift,
    diversity_falls,
    copied_from_prompt,
    copied_from_reference,
    structure_broken,
    out_of_range,
    plan_withers,
    cut_off,
)
"""Functions that take the metrics up to a step and return a finding if that step shows the failure."""

UNWATCHED = {
    "judge-inconsistent": ("rewards.recheck above 0, or a panel", ("judge/inconsistency", "judge/disagreement")),
    "judge-examiner-apart": ("a validation", ("validation/grade",)),
}
"""Signatures that depend on optional settings: the setting, and the metrics of which at least one must exist."""

OPENING = MAX_STEPS // 2
"""Number of first values kept per metric, the baseline of later ones."""
KEPT = 256
"""Number of values kept per metric: the first and the latest."""
STEPS_UNTIL_GONE = MIN_STEPS
"""Steps without a failure after which it is reported again if it recurs; avoids repeats near a threshold."""


class Watch:
    """Reports new failures at each step."""

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[int, float]]] = {}
        self._last_seen: dict[str, int] = {}

    @classmethod
    def over(cls, series: Series) -> "Watch":
        """Restore the watch of a run from its metrics; earlier findings are not reported again."""
        watch = cls()
        for step, metrics in steps_of(series):
            watch.see(step, metrics)
        return watch

    def see(self, step: int, metrics: Mapping[str, float]) -> list[Finding]:
        """Return the failures that begin with this step. A failure is reported again only after it has disappeared."""
        showing = self.look(step, metrics)
        new = [it for it in showing if step - self._last_seen.get(it.name, -STEPS_UNTIL_GONE - 1) > STEPS_UNTIL_GONE]
        self._last_seen |= {it.name: step for it in showing}
        return new

    def look(self, step: int, metrics: Mapping[str, float]) -> list[Finding]:
        """Store the metrics of a step; return all failures that the step shows."""
        for name, value in metrics.items():
            if value == value:  # skip NaN, which is not recorded either
                points = self._kept.setdefault(name, [])
                points.append((step, value))
                if len(points) > KEPT:
                    del points[OPENING]
        return [finding for signature in SIGNATURES if (finding := signature(self._kept)) is not None]


def diagnose(series: Series) -> list[Finding]:
    """Return all failures of a run, ordered by first step; a failure that disappeared and recurred is listed twice.

    The evidence is from the last step that showed the failure.
    """
    watch = Watch()
    findings: dict[str, list[tuple[int, Finding]]] = {}
    for step, metrics in steps_of(series):
        for finding in watch.look(step, metrics):
            episodes = findings.setdefault(finding.name, [])
            if episodes and step - episodes[-1][0] <= STEPS_UNTIL_GONE:
                episodes[-1] = step, replace(finding, first=episodes[-1][1].first)
            else:
                episodes.append((step, finding))
    return sorted((finding for episodes in findings.values() for _, finding in episodes), key=lambda it: it.first)


def unwatched(series: Series) -> dict[str, str]:
    """Return the signatures that cannot be checked for this run, with the missing requirement."""
    return {name: need for name, (need, metrics) in UNWATCHED.items() if not any(map(series.__contains__, metrics))}


def is_too_early(series: Series) -> bool:
    """Whether a run has too few steps or verdicts for most signatures."""
    return latest_window(series) is None


def steps_of(series: Series) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the metrics of each step in order."""
    steps: dict[int, dict[str, float]] = {}
    for name, points in series.items():
        for step, value in points:
            steps.setdefault(step, {})[name] = value
    yield from sorted(steps.items())
