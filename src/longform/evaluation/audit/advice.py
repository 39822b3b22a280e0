"""Recommendations from an audit: whether to train with a judge, in which position, and with which panel.

The rules below are applied in order, and each names its figure. Rejections use interval bounds, so that a few odd verdicts
do not reject a judge, and too few pairs are reported as such.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from longform.evaluation.audit.agreement import Panel
from longform.evaluation.audit.figures import JudgeFigures
from longform.evaluation.estimates import ClusteredEstimate
from longform.evaluation.tables import show

MIN_PAIRS = 30
"""Minimum number of pairs for a conclusion about a share; with fewer, its interval is wider than a third."""
MIN_PROMPTS = 10
"""Minimum number of prompts for a meaningful interval over prompts."""
CHANCE = 0.5
"""Accuracy of guessing. The lower bound must be above it; where people chose the shorter text, the upper bound must be."""
CONSISTENT_ENOUGH = 0.7
"""Minimum consistency in both orders. Below it, position decides three verdicts of ten, so both orders are needed."""
MAX_TURNED = 0.1
"""Maximum rate of verdicts flipped by an attack beyond those flipped by a neutral line; training would exploit more."""
MAX_SILENT = 0.1
"""Maximum rate of missing verdicts."""
MAX_NOISE = 0.2
"""Maximum rate of differing repeats."""
MAX_LEAN = 0.05
"""Maximum bias towards the longer text or the judge's own texts, relative to people, and towards the first text."""

AdvisedUse = Literal["second", "both", "do not train", "too few pairs"]


@dataclass(frozen=True, slots=True)
class Advice:
    """The recommendation for one judge."""

    judge: str
    use: AdvisedUse
    """The position to train with, or why not to train."""
    because: list[str]
    cautions: list[str] = field(default_factory=list)

    @property
    def is_fit(self) -> bool:
        """Whether the judge is recommended for training."""
        return self.use in ("second", "both")


@dataclass(frozen=True, slots=True)
class PanelAdvice:
    """Whether to train with a panel of judges."""

    use: bool
    panel: Panel
    because: str


def advise(judge: str, figures: JudgeFigures) -> Advice:
    """Apply the rules to one judge."""
    cautions = _cautions(figures)
    refused = _refuse(figures)
    if refused is not None:
        use, why = refused
        return Advice(judge, use, [why], cautions)
    agreement = (
        "agreement with people is unknown: no pair has a label that prefers a text"
        if figures.accuracy is None
        else f"accuracy {describe(figures.accuracy)} is above chance"
    )
    use, why = _position(figures)
    return Advice(judge, use, [agreement, why], cautions)


def advise_panel(panel: Panel | None) -> PanelAdvice | None:
    """Recommend the panel if it follows the labels significantly better than the best single judge."""
    if panel is None:
        return None
    names = " and ".join(panel.judges)
    gain = f"the mean of {names} follows people by {describe(panel.follows)}; gain over {panel.best} {describe(panel.gain)}"
    if few := _few(panel.gain._replace(n=panel.gain.n // 2)):  # its items are orders, two of a pair
        return PanelAdvice(False, panel, f"{gain}; {few}")
    if panel.gain.value.low > 0:
        return PanelAdvice(True, panel, f"{gain}: their errors differ")
    return PanelAdvice(False, panel, f"{gain}: the gain is not significant")


def rank(figures: Mapping[str, JudgeFigures], advice: Mapping[str, Advice]) -> list[str]:
    """Return the judges recommended for training, sorted by how well they follow people."""

    def follows(judge: str) -> float:
        figure = figures[judge].follows_one_order
        return -math.inf if figure is None or math.isnan(figure.value.estimate) else figure.value.estimate

    return sorted((it for it in figures if advice[it].is_fit), key=lambda it: (-follows(it), it))


def describe(figure: ClusteredEstimate) -> str:
    """Format a figure as text: `0.74 (0.70 to 0.78, n 400)`."""
    estimate, interval = f"{figure.value.estimate:.2f}", show(figure.cell, digits=2)
    bounds = interval.removeprefix(f"{estimate} (").removesuffix(")")
    return f"{estimate} ({bounds}, n {figure.n})"


def _refuse(figures: JudgeFigures) -> tuple[AdvisedUse, str] | None:
    """Return why a judge is rejected, by the first rule that applies; None if it is not."""
    effect, accuracy, shorter = figures.attack_effect, figures.accuracy, figures.accuracy_shorter
    if effect is not None and effect.n >= MIN_PAIRS and effect.value.low > MAX_TURNED:
        return "do not train", f"attacks flip {describe(effect)} more verdicts than a neutral line"
    judged = figures.consistency or figures.ties
    if judged is None:
        return "too few pairs", "every verdict is missing"
    if few := _few(judged):
        return "too few pairs", few
    if accuracy is None:
        return None
    if few := _few(figures.consistent_and_correct_decided or accuracy):
        return "too few pairs", f"accuracy {describe(accuracy)}: {few}"
    if not accuracy.value.low > CHANCE:
        return "do not train", f"accuracy {describe(accuracy)} is not above chance"
    if shorter is not None and shorter.n >= MIN_PAIRS and shorter.value.high < CHANCE:
        why = (
            f"accuracy {describe(shorter)} where people chose the shorter text is below chance: it would reward length"
        )
        return "do not train", why
    return None


def _few(figure: ClusteredEstimate) -> str:
    """Describe what is too few about the pairs of a figure; empty if they are enough."""
    if figure.n < MIN_PAIRS:
        return f"only {figure.n} of at least {MIN_PAIRS} pairs"
    if figure.prompts < MIN_PROMPTS:
        return f"only {figure.prompts} of at least {MIN_PROMPTS} prompts"
    return ""


def _position(figures: JudgeFigures) -> tuple[AdvisedUse, str]:
    consistency = figures.consistency
    if consistency is None:
        return "both", "position bias is unknown: no pair was judged in both orders"
    one, both = figures.follows_one_order, figures.follows_both_orders
    gain = ""
    if one is not None and both is not None and not math.isnan(one.value.estimate + both.value.estimate):
        gain = f"; both orders follow people by {describe(both)}, one by {describe(one)}"
    if consistency.value.estimate < CONSISTENT_ENOUGH:
        return "both", f"consistency {describe(consistency)} is below {CONSISTENT_ENOUGH}{gain}"
    return "second", f"consistency {describe(consistency)}{gain}"


def _cautions(figures: JudgeFigures) -> list[str]:
    effect, lead = figures.attack_effect, figures.first_lead
    limits = (
        (figures.no_verdict, MAX_SILENT, "no verdict on {} of the questions: these rollouts are wasted"),
        (figures.retest, MAX_NOISE, "{} of repeats differ: use several samples (rewards.samples)"),
        (figures.length_lean, MAX_LEAN, "prefers the longer text {} more often than people"),
        (figures.self_lean, MAX_LEAN, "favours its own texts by {}: keep them out of its ladders"),
    )
    cautions = [
        wording.format(describe(figure))
        for figure, limit, wording in limits
        if figure is not None and figure.n >= MIN_PAIRS and figure.value.low > limit
    ]
    if lead is not None and lead.n >= MIN_PAIRS and not -MAX_LEAN <= lead.value.estimate <= MAX_LEAN:
        cautions.append(f"the first text wins {describe(lead)} more than half the time")
    if effect is not None and effect.n < MIN_PAIRS:
        cautions.append(f"too few attacks for a conclusion on injection: {effect.n} verdicts")
    return cautions
