"""Rules of the curriculum as pure functions (Writing-RL, dynamic reference scheduling).

A prompt's rung is read once per (prompt, step), so that all responses of a group are compared with the same reference. Wins
stage a promotion by one rung. It is committed together with the update, and only if the prompt is still on the same rung.
Validation never promotes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from longform.curriculum.settings import CurriculumSettings


class PromptOutcome(NamedTuple):
    """The outcomes of a prompt's rollouts in one step."""

    prompt_index: int
    """Row of the prompt in the ladders file."""
    rung: int
    """Rung of the reference."""
    outcomes: tuple[str | None, ...]
    """win, tie, loss, or None (missing verdict), one per rollout."""
    text_hashes: tuple[str, ...] = ()
    """Hashes of the responses; needed if one of them may become a rung (top: self)."""


class RungUpdate(NamedTuple):
    """The effect of a visit on the state: the new streak and the new rung."""

    prompt_index: int
    faced: int
    rung: int
    streak: int
    own_text: str | None = None
    """Hash of the policy's own response that becomes the new rung after the last reference (top: self)."""

    @property
    def promoted(self) -> bool:
        """Whether the prompt moves up."""
        return self.rung > self.faced


def own_rung(rungs: Sequence[str], policy: str) -> int | None:
    """Return the index of the initial policy's response in a ladder; None if it has none."""
    return next((rung for rung, model in enumerate(rungs) if model == policy), None)


def starting_rung(rungs: Sequence[str], settings: CurriculumSettings, *, policy: str) -> int:
    """Return a prompt's first rung; in mode `fixed`, its only one.

    Args:
        rungs: Models of the references, weakest first.
        settings: Settings of the curriculum.
        policy: Model name of the policy's own references.

    Raises:
        ValueError: the ladder does not contain the reference that the settings name.
    """
    if settings.mode == "fixed":
        wanted = policy if settings.reference == "self" else settings.reference
        if wanted == "best":
            return len(rungs) - 1
        own = own_rung(rungs, str(wanted))
        if own is None:
            raise ValueError(f"has no reference of {wanted!r}, which curriculum.reference asks for")
        return own
    if settings.mode == "dynamic" and settings.start == "own":
        own = own_rung(rungs, policy)
        if own is None:
            raise ValueError(f"has no reference of the policy {policy!r}, which curriculum.start: own asks for")
        return own
    return 0


def staged_rung(num_rungs: int, *, stages: int, progress: float, draw: float) -> int:
    """Mode `staged`: draw a rung from the part of the ladder for the current stage of the run.

    Args:
        num_rungs: Number of references.
        stages: Number of parts, from weak to strong; a ladder with fewer rungs than parts repeats some.
        progress: Fraction of the steps already taken, in [0, 1).
        draw: Uniform number in [0, 1).
    """
    stage = min(int(progress * stages), stages - 1)
    low = stage * num_rungs // stages
    high = max((stage + 1) * num_rungs // stages, low + 1)
    return min(low + int(draw * (high - low)), num_rungs - 1)


def mixed_rung(num_rungs: int, *, draw: float) -> int:
    """Mode `mixed`: draw a rung uniformly; `draw` is uniform in [0, 1)."""
    return min(int(draw * num_rungs), num_rungs - 1)


def rung_update(visit: PromptOutcome, *, streak: int, num_rungs: int, settings: CurriculumSettings) -> RungUpdate:
    """Return the effect of one visit on a prompt's streak and rung in mode `dynamic`.

    A visit is won if any of its rollouts wins (paper: one rollout per prompt, a strict win promotes) or, if `wins` is a
    fraction, if that fraction of its verdicts are wins. A visit with no verdict leaves the streak unchanged. At the top,
    `stay` keeps the last reference; with `retire`, the rung `num_rungs` marks the prompt as finished; with `self`, this and
    all later rungs are the policy's own winning response, the first of the group.
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


def apply_updates(rungs: np.ndarray, streaks: np.ndarray, updates: Sequence[RungUpdate]) -> list[RungUpdate]:
    """Apply updates to the state in place; return the promotions that took effect.

    Args:
        rungs: [prompts] int32, the current rung of each prompt.
        streaks: [prompts] int32, consecutive visits won on that rung.
        updates: Updates from `rung_update`; an update is dropped if its prompt has changed rungs in the meantime.
    """
    promotions = []
    for it in updates:
        if rungs[it.prompt_index] == it.faced:
            rungs[it.prompt_index], streaks[it.prompt_index] = it.rung, it.streak
            if it.promoted:
                promotions.append(it)
    return promotions
