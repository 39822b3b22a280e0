"""Figures of a ladder from the verdicts on its neighbouring rungs; pure functions.

Rung 1 is the weakest. A pair of neighbours has an outcome if it has a verdict in both orders: two equal verdicts decide, two
different ones are a tie. Of a winner, `a` is the lower rung and `b` the upper one.

- *Inversion*: the lower rung wins.
- *Free* rung: the policy's own response beats it, directly or through a chain of neighbours, so the initial policy is
  promoted from it without learning. Rungs below the own response are mostly free; `curriculum.start: own` skips them.
- *Unreachable* top: the last rung is another writer's text, beats the rung below, and is graded at least `gap` points
  higher: only one competitor writes so well, so the prompt is likely to stay on this rung.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longform.curriculum.schedule import own_rung
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.judging.pairwise import agreed
from longform.records.schemas import GAME_SCORES, ORDERS, Game, Ladder, Reference, Winner
from longform.statistics.bradley_terry import Cells, fit

GAP = 2.0
"""Grade points above the rung below from which the top counts as unreachable. Judges give most texts between 6 and 9."""
_DIGITS = 6
"""Decimals of a strength. Rounding gives equal results equal strengths, so that the tie rules decide."""


@dataclass(frozen=True, slots=True)
class RungVerdicts:
    """A ladder with the outcomes of its neighbouring rungs."""

    ladder: Ladder
    winners: tuple[Winner | None, ...]
    """For each rung but the last, the outcome against the next one; None if a verdict is missing in one of the orders."""

    @property
    def cluster(self) -> str:
        """The prompt, which the intervals resample."""
        return self.ladder.request

    def free_rungs(self, policy: str) -> set[int] | None:
        """Return the indices of the free rungs; None if the ladder has no response of the policy."""
        own = own_rung(self.ladder.rungs, policy)
        if own is None:
            return None
        free: set[int] = set()
        below = own
        while below > 0 and self.winners[below - 1] == "b":
            below -= 1
            free.add(below)
        above = own
        while above < len(self.winners) and self.winners[above] == "a":
            above += 1
            free.add(above)
        return free

    def is_top_unreachable(self, *, gap: float, policy: str | None = None) -> bool | None:
        """Whether the last rung is unreachable; None if unknown: only one rung, ranks instead of grades, or no outcome."""
        references = self.ladder.references
        if len(references) < 2 or self.ladder.meta.get("scores") == "ranks" or self.winners[-1] is None:
            return None
        is_far = round(references[-1].score - references[-2].score - gap, 9) >= 0
        return references[-1].model != policy and self.winners[-1] == "b" and is_far


@dataclass(frozen=True, slots=True)
class PositionFigures:
    """Shares of the outcomes at one position of the ladders, with intervals over prompts."""

    lower: int | None
    """Number of the lower rung, from 1; None for all positions together."""
    in_order: ClusteredEstimate | None
    """Share of the pairs in which the upper rung wins."""
    inverted: ClusteredEstimate | None
    tied: ClusteredEstimate | None
    missing: int
    """Pairs without an outcome."""


@dataclass(frozen=True, slots=True)
class RungFigures:
    """How often a rung is free."""

    rung: int | None
    """From 1; None for all rungs together."""
    free: ClusteredEstimate
    """Over the ladders with a response of the policy; that response itself is not counted."""


def collect_verdicts(ladders: Sequence[Ladder], games: Sequence[Game]) -> list[RungVerdicts]:
    """Join ladders and games; a game's field `rung` is the index of its lower rung, which is `model_a`."""
    found: dict[tuple[str, int], dict[str | None, Winner]] = {}
    for game in games:
        found.setdefault((game.prompt_id, rung_of(game)), {})[game.order] = game.winner

    def outcome(ladder: Ladder, lower: int) -> Winner | None:
        orders = found.get((ladder.id, lower), {})
        return agreed(orders["ab"], orders["ba"]) if orders.keys() >= set(ORDERS) else None

    return [
        RungVerdicts(ladder, tuple(outcome(ladder, lower) for lower in range(len(ladder.references) - 1)))
        for ladder in ladders
    ]


def rung_of(game: Game) -> int:
    """Return the index of a game's lower rung; -1 for a game of another command."""
    rung = (game.model_extra or {}).get("rung")
    return rung if isinstance(rung, int) and not isinstance(rung, bool) else -1


def position_figures(checked: Sequence[RungVerdicts], bootstrap: Bootstrap) -> list[PositionFigures]:
    """Return the figures of all positions together, then of each from the bottom."""
    longest = max((len(it.winners) for it in checked), default=0)
    figures = []
    for lower in (None, *range(longest)):
        pairs = [
            (winner, it.cluster)
            for it in checked
            for index, winner in enumerate(it.winners)
            if lower is None or index == lower
        ]
        decided = [(winner, cluster) for winner, cluster in pairs if winner is not None]
        wanted: tuple[Winner, ...] = ("b", "a", "tie")
        shares = [bootstrap.mean([(float(winner == it), cluster) for winner, cluster in decided]) for it in wanted]
        number = None if lower is None else lower + 1
        figures.append(PositionFigures(number, *shares, missing=len(pairs) - len(decided)))
    return figures


def free_figures(checked: Sequence[RungVerdicts], policy: str, bootstrap: Bootstrap) -> list[RungFigures]:
    """Return the share of free rungs, of all together and of each; empty if no ladder has a response of the policy."""
    flags: list[tuple[int, float, str]] = []
    for it in checked:
        free = it.free_rungs(policy)
        if free is not None:
            own = own_rung(it.ladder.rungs, policy)
            rungs = (rung for rung in range(len(it.ladder.references)) if rung != own)
            flags += [(rung, float(rung in free), it.cluster) for rung in rungs]
    figures = []
    for rung in (None, *sorted({rung for rung, *_ in flags})):
        share = bootstrap.mean([(is_free, cluster) for at, is_free, cluster in flags if rung in (None, at)])
        if share is not None:
            figures.append(RungFigures(None if rung is None else rung + 1, share))
    return figures


def reorder(checked: RungVerdicts, games: Sequence[Game], *, policy: str | None = None) -> Ladder | None:
    """Return the ladder in ascending order of Bradley-Terry strength; None if an outcome is missing or it has one rung.

    References with equal strengths are ordered as `select` orders them: by score, then the policy's own response before
    others, then by model name. Scores stay as they were graded; `strength` holds what the order follows.

    Args:
        checked: The ladder and its outcomes.
        games: The games of this ladder, two for each pair of neighbours.
        policy: Model name of the policy's own response.
    """
    ladder = checked.ladder
    if not checked.winners or None in checked.winners:
        return None
    lower = np.array([rung_of(game) for game in games])
    wins = np.array([[GAME_SCORES[game.winner]] for game in games])
    cells = Cells(lower, lower + 1)
    fitted = fit(cells, np.ones_like(wins), wins, models=len(ladder.references)).models[:, 0]
    rated = [
        Reference.model_validate({**reference.model_dump(), "strength": round(float(strength), _DIGITS) + 0.0})
        for reference, strength in zip(ladder.references, fitted, strict=True)
    ]
    rated.sort(key=lambda it: (it.strength, it.score, it.model != policy, it.model))
    return Ladder.model_validate({**ladder.model_dump(), "references": rated})
