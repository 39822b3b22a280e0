"""When to retry, and how long an outage of an endpoint is tolerated.

A request that could not be delivered has not failed: the endpoint never saw it and charges nothing. While an endpoint that
has answered before is unreachable, such attempts are not counted, so that a run survives the restart of a server.
"""

import random

from longform.endpoints.outcome import Outcome

PATIENCE_SECONDS = 180.0
MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 300.0
MAX_RECONNECT_SECONDS = 10.0
"""Between two attempts to reach an endpoint that is down."""


class OutageTracker:
    """How long an endpoint has been unreachable, and whether that is still tolerated.

    Args:
        patience_seconds: longest tolerated outage. After it attempts count again, until the endpoint is reached.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._since: float | None = None

    def record(self, outcome: Outcome, *, now: float) -> None:
        """Record an attempt that ended at `now`, in seconds of a monotonic clock."""
        if not outcome.unreachable:
            self._since = None
        elif self._since is None:
            self._since = now

    def is_tolerated(self, *, now: float) -> bool:
        """Whether the endpoint is down, and not for longer than is tolerated."""
        return self._since is not None and now - self._since < self._patience_seconds


def wait_seconds(outcome: Outcome, *, attempt: int, first: float) -> float:
    """Seconds to wait after a failed attempt: what the endpoint asks for, else exponential backoff, with jitter.

    Args:
        outcome: of the attempt.
        attempt: its number, from 1.
        first: the wait after the first attempt.
    """
    jitter = random.uniform(0.75, 1.25)
    if outcome.wait_seconds is not None:
        return min(outcome.wait_seconds, MAX_RETRY_AFTER_SECONDS) + jitter * first
    longest = MAX_RECONNECT_SECONDS if outcome.unreachable else MAX_BACKOFF_SECONDS
    return min(first * 2 ** min(attempt - 1, 20), longest) * jitter
