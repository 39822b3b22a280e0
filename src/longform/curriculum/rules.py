"""The rules of the curriculum, as pure functions of settings and numbers (Writing-RL, dynamic reference scheduling).

A prompt's rung is read once for each (prompt, step), so that every response of a group faces one reference. Wins stage a
promotion; it is committed with the update that the win belongs to, by at most one rung, and only if the prompt still
stands on the rung that was faced. Validation does not pass here at all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from longform.curriculum.settings import CurriculumSettings


class PromptOutcome(NamedTuple):
    """One prompt faced in one step, and how its rollouts came out."""

    prompt_index: int
    """Row of the prompt in the ladders file."""
    rung: int
    """The rung that was faced."""
    outcomes: tuple[str | None, ...]
    """win, tie, loss, or None (no verdict), one for each rollout of the prompt."""
    text_hashes: tuple[str, ...] = ()
    """Of the rollouts' responses; needed where one of them may become a rung (top: self)."""


class RungUpdate(NamedTuple):
    """What a visit means for the state: the new streak, and the new rung where there is a promotion."""

    prompt_index: int
    faced: int
    rung: int
    streak: int
    own_text: str | None = None
    """Hash of the policy's own response that is the new rung, where the ladder had none left (top: self)."""

    @property
    def promoted(self) -> bool:
        """Whether the prompt moves up."""
        return self.rung > self.faced


def own_rung(rungs: Sequence[str], policy: str) -> int | None:
    """Index of the initial policy's own response among the models of a ladder; None where it is not there."""
    return next((rung for rung, model in enumerate(rungs) if model == policy), None)


def starting_rung(rungs: Sequence[str], settings: CurriculumSettings, *, policy: str) -> int:
    """The rung a prompt faces first; for mode `fixed`, the only one.

    Args:
        rungs: the models of its references, weakest first.
        settings: of the curriculum.
        policy: the model name that the policy's own references carry.

    Raises:
        ValueError: the reference that the settings name is not on this ladder.
    """
    if settings.mode == "fixed":
        wanted = policy if settings.reference == "self" else settings.reference
        if wanted == "best":
            return len(rungs) - 1
        found = own_rung(rungs, str(wanted))
        if found is None:
            raise ValueError(f"has no reference of {wanted!r}, which curriculum.reference asks for")
        return found
    if settings.mode == "dynamic" and settings.start == "own":
        found = own_rung(rungs, policy)
        if found is None:
            raise ValueError(f"has no reference of the policy {policy!r}, which curriculum.start: own asks for")
        return found
    return 0


def staged_rung(num_rungs: int, *, stages: int, progress: float, draw: float) -> int:
    """Mode `staged`: a rung drawn from the part of the ladder that belongs to this share of the steps.

    Args:
        num_rungs: references of the prompt.
        stages: parts, from weak to strong; a ladder with fewer rungs than parts repeats some.
        progress: share of the steps already taken, in [0, 1).
        draw: uniform in [0, 1).
    """
    stage = min(int(progress * stages), stages - 1)
    low = stage * num_rungs // stages
    high = max((stage + 1) * num_rungs // stages, low + 1)
    return min(low + int(draw * (high - low)), num_rungs - 1)


def mixed_rung(num_rungs: int, *, draw: float) -> int:
    """Mode `mixed`: every rung equally likely; `draw` is uniform in [0, 1)."""
    return min(int(draw * num_rungs), num_rungs - 1)


def rung_update(visit: PromptOutcome, *, streak: int, num_rungs: int, settings: CurriculumSettings) -> RungUpdate:
    """What one visit does to a prompt's streak and rung in mode `dynamic`.

    A visit is won when any of its rollouts wins (paper: one rollout a prompt, a strict win promotes), or with a share for
    `wins`, when that share of its verdicts are wins. A visit without any verdict leaves the streak as it is: silence is
    neither a win nor a loss. At the top, `stay` faces the last reference for good; with `retire` the rung after it,
    `num_rungs`, means that the prompt is done; with `self` that rung and all later ones are the policy's own winning
    response, the first of the group.
    """
    stays = RungUpdate(visit.prompt_index, visit.rung, visit.rung, streak)
    verdicts = [outcome for outcome in visit.outcomes if outcome is not None]
    if not verdicts:
        return stays
    share = verdicts.count("win") / len(verdicts)
    won = share >= settings.wins if settings.wins < 1 else share > 0
    streak = streak + 1 if won else 0
    at_top = visit.rung >= num_rungs - 1
    if streak < settings.wins or (at_top and settings.top == "stay"):
        return stays._replace(streak=streak)
    own_text = visit.text_hashes[visit.outcomes.index("win")] if at_top and settings.top == "self" else None
    return RungUpdate(visit.prompt_index, visit.rung, visit.rung + 1, 0, own_text)


def apply_updates(rungs: np.ndarray, streaks: np.ndarray, climbs: Sequence[RungUpdate]) -> list[RungUpdate]:
    """Write climbs into the state, in place; returns the promotions that took effect.

    Args:
        rungs: [prompts] int32, the rung each prompt stands on.
        streaks: [prompts] int32, visits won in a row on that rung.
        climbs: staged by `climb`; one whose prompt no longer stands on the rung it faced is dropped.
    """
    promotions = []
    for it in climbs:
        if rungs[it.prompt_index] == it.faced:
            rungs[it.prompt_index], streaks[it.prompt_index] = it.rung, it.streak
            if it.promoted:
                promotions.append(it)
    return promotions
