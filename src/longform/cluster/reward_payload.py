"""What a reward worker returns for one response: the text as it was judged, and its reward results."""

import pickle
from typing import Any, NamedTuple

from longform.rewards.reward import RewardResult, RewardResults, scores_by_kind
from longform.text.structure import ParsedResponse

EXTRA = "longform"
"""Its key in verl's `reward_extra_info`."""
NOT_WRITTEN = "not_written"
"""Cause of a missing score: verl lost the response before it was judged."""


class RewardPayload(NamedTuple):
    """One response with its rewards."""

    text: str
    response: ParsedResponse
    """Parsed from `text`."""
    results: RewardResults
    finish_reason: str
    tokens: int
    stopped: str | None = None
    """Why the run has to stop: the budget is spent, a key is wrong."""
    needs_fix: bool = False
    """A configuration error, not a resumable stop."""


def lost(kinds: list[str]) -> RewardPayload:
    """Stands in for a response that never came back; it is masked out of the update."""
    results = {kind: RewardResult(None, cause=NOT_WRITTEN) for kind in kinds}
    return RewardPayload("", ParsedResponse("", "", False), results, NOT_WRITTEN, 0)


def extra_fields(payload: RewardPayload) -> dict[str, Any]:
    """What verl stores with a rollout: scores by name for its own logs, and the pickled payload.

    verl's queue turns tuples into lists, and passes bytes unchanged.
    """
    return {**(scores_by_kind(payload.results) or {}), EXTRA: pickle.dumps(payload)}


def read_payload(extra: dict[str, Any]) -> RewardPayload:
    """Unpack `extra_fields`. The bytes come from a worker of the same run, through Ray, and are trusted."""
    return pickle.loads(extra[EXTRA])
