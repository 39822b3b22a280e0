"""What a reward worker hands back of one response: the text as it was judged, and the sheet of its rewards."""

import pickle
from typing import Any, NamedTuple

from longform.rewards.reward import Rewarded, ScoreSheet
from longform.text.structure import Parts

EXTRA = "longform"
"""The name that it has among verl's extra information of a reward."""
NOT_WRITTEN = "not_written"
"""Why there is no score: verl lost the response before it could be judged."""


class Scored(NamedTuple):
    """One response and what was made of it."""

    text: str
    sheet: ScoreSheet
    finish_reason: str
    tokens: int
    stopped: str | None = None
    """Why the run has to stop: the budget is spent, a key is wrong."""
    mends: bool = False
    """Whether what stops it has to be mended first, rather than only resumed."""


def lost(kinds: list[str]) -> Scored:
    """In place of a response that was never handed back: it takes no part in the update."""
    sheet = ScoreSheet(Parts("", "", False), {kind: Rewarded(None, cause=NOT_WRITTEN) for kind in kinds})
    return Scored("", sheet, NOT_WRITTEN, 0)


def extra_fields(scored: Scored) -> dict[str, Any]:
    """What verl keeps with a rollout: the scores by name for its own logs, and everything for us.

    verl's queue makes lists of tuples; bytes go through it as they are.
    """
    return {**(scored.sheet.scores or {}), EXTRA: pickle.dumps(scored)}


def read_scored(extra: dict[str, Any]) -> Scored:
    """What `extra_fields` packed; it comes from a worker of this run, through Ray, as all else here does."""
    return pickle.loads(extra[EXTRA])
