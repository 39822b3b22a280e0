"""When to try again, and how long an endpoint that went away is waited for.

A request that cannot even be delivered has not failed: the endpoint never saw it and charges nothing. So while an
endpoint that has answered before cannot be reached, such a try is not counted; the restart of a server is waited out.
"""

import random

from longform.endpoints.outcome import Outcome

PATIENCE_SECONDS = 180.0
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
LONGEST_LOOK_SECONDS = 10.0
"""Between two looks whether an endpoint is back."""


class Absence:
    """Since when an endpoint has been away, and whether it is still waited for.

    Args:
        patience_seconds: how long an absence is waited out; after it tries count again, until the endpoint is reached.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._since: float | None = None

    def see(self, outcome: Outcome, *, now: float) -> None:
        """Take note of a try that ended at `now`, in seconds of a clock that only moves forward."""
        if not outcome.unreachable:
            self._since = None
        elif self._since is None:
            self._since = now

    def is_bearable(self, *, now: float) -> bool:
        """Whether the endpoint is away, and not for longer than it is waited for."""
        return self._since is not None and now - self._since < self._patience_seconds


def wait_seconds(outcome: Outcome, *, attempt: int, first: float) -> float:
    """Seconds to wait after a try that failed: what the endpoint asks for, or twice as long each time, with jitter.

    Args:
        outcome: of the try.
        attempt: its number, from 1.
        first: the wait after the first try.
    """
    jitter = random.uniform(0.75, 1.25)
    if outcome.wait_seconds is not None:
        return min(outcome.wait_seconds, LONGEST_RETRY_AFTER_SECONDS) + jitter * first
    longest = LONGEST_LOOK_SECONDS if outcome.unreachable else LONGEST_BACKOFF_SECONDS
    return min(first * 2 ** min(attempt - 1, 20), longest) * jitter
