"""Signatures over a run: live, step by step, and afterwards over the whole of it.

Both go through the steps in order and hold every signature against what is remembered at that step: the first steps of the
run and the latest ones. So a run's diagnosis is what its watch said, and either costs a bounded window a step.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from longform.monitors.learning import (
    diverged,
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
from longform.monitors.series import MAX_STEPS, MIN_STEPS, Finding, Series, latest_window
from longform.monitors.texts import (
    copied_from_prompt,
    copied_from_reference,
    cut_off,
    judge_examiner_apart,
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
    entropy_collapse,
    never_wins,
    won_too_easily,
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
    copied_from_prompt,
    copied_from_reference,
    structure_broken,
    out_of_range,
    plan_withers,
    cut_off,
)
"""Each looks at the metrics up to some step and says whether that step shows its failure."""

UNWATCHED = {
    "judge-inconsistent": ("rewards.recheck above 0, or a panel", ("judge/inconsistency", "judge/disagreement")),
    "judge-examiner-apart": ("a validation", ("validation/grade",)),
}
"""Signatures that need what a recipe may leave out: that, and the metrics of which one must be there."""

OPENING = MAX_STEPS // 2
"""First values of each metric that are kept: what later ones are held against."""
KEPT = 256
"""Values of each metric that are kept, the opening and the latest."""
GONE_AFTER = MIN_STEPS
"""Steps without a failure after which it counts as a new one: less would be flicker around a threshold."""


class Watch:
    """Says of each step which failures have begun."""

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[int, float]]] = {}
        self._last_seen: dict[str, int] = {}

    @classmethod
    def over(cls, series: Series) -> "Watch":
        """The watch of a run that has come this far; what it has already said is not said again."""
        watch = cls()
        for step, metrics in steps_of(series):
            watch.see(step, metrics)
        return watch

    def see(self, step: int, metrics: Mapping[str, float]) -> list[Finding]:
        """The failures that begin with this step. One that goes on is not named again until it has gone away."""
        found = self.look(step, metrics)
        new = [it for it in found if step - self._last_seen.get(it.name, -GONE_AFTER - 1) > GONE_AFTER]
        self._last_seen |= {it.name: step for it in found}
        return new

    def look(self, step: int, metrics: Mapping[str, float]) -> list[Finding]:
        """Remember the metrics of a step; the failures that show with it."""
        for name, value in metrics.items():
            if value == value:  # what is no number is not recorded either
                points = self._kept.setdefault(name, [])
                points.append((step, value))
                if len(points) > KEPT:
                    del points[OPENING]
        return [finding for signature in SIGNATURES if (finding := signature(self._kept)) is not None]


def diagnose(series: Series) -> list[Finding]:
    """Every failure of a run, by its first step; one that went away and came back stands there twice.

    The evidence is that of the last step that showed it.
    """
    watch = Watch()
    found: dict[str, list[tuple[int, Finding]]] = {}
    for step, metrics in steps_of(series):
        for finding in watch.look(step, metrics):
            episodes = found.setdefault(finding.name, [])
            if episodes and step - episodes[-1][0] <= GONE_AFTER:
                episodes[-1] = step, replace(finding, first=episodes[-1][1].first)
            else:
                episodes.append((step, finding))
    return sorted((finding for episodes in found.values() for _, finding in episodes), key=lambda it: it.first)


def unwatched(series: Series) -> dict[str, str]:
    """Signatures that this run cannot show, and what it would need for that."""
    return {name: need for name, (need, metrics) in UNWATCHED.items() if not any(map(series.__contains__, metrics))}


def is_too_early(series: Series) -> bool:
    """Whether a run has too few steps or verdicts for most signatures."""
    return latest_window(series) is None


def steps_of(series: Series) -> Iterator[tuple[int, dict[str, float]]]:
    """The metrics of each step, in order."""
    steps: dict[int, dict[str, float]] = {}
    for name, points in series.items():
        for step, value in points:
            steps.setdefault(step, {})[name] = value
    yield from sorted(steps.items())
