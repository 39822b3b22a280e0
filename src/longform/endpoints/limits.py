"""Limits of a run's calls: the budget, when to retry, and how long an outage is tolerated.

Near its limit, a budget admits fewer concurrent calls, so that their total stays within it; the last call may exceed it
slightly. If an endpoint does not state its token counts, they are estimated from the texts, and the estimated cost counts
against the budget. The cost of a call without prices is unknown; only the number of such calls is kept.

A request that could not be delivered has not failed: the endpoint never saw it and charges nothing. While an endpoint that
has answered before is unreachable, such attempts are not counted, so that a run survives the restart of a server.
"""

import asyncio
import random
import threading

from longform.endpoints.outcome import Outcome
from longform.records.errors import BudgetSpentError, StoppedError

PATIENCE_SECONDS = 180.0
"""Longest outage of an endpoint during which attempts are not counted."""
ALIKE_FAILURES = 12
"""Failures of one kind, without a usable answer before them, that stop a command."""
MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 300.0
MAX_RECONNECT_SECONDS = 10.0
"""Longest wait between two attempts to reach an endpoint that is down."""
_BUDGET_POLL_SECONDS = 0.02
"""Wait before a call that was not admitted asks the budget again."""


class Budget:
    """A cost meter, shared by all endpoints of a run; safe across threads.

    Args:
        limit: in the currency of models.yaml; None sets no limit, and cost is still summed.
        spent: known cost of the calls on record, for a run that is resumed.
        unknown: number of calls on record without a price.
        estimated: number of calls on record whose cost is estimated.
        resume: how to continue, for the error message.
    """

    def __init__(
        self,
        limit: float | None = None,
        *,
        spent: float = 0.0,
        unknown: int = 0,
        estimated: int = 0,
        resume: str = "a larger budget",
    ) -> None:
        self.limit = limit
        self.spent = spent
        self.unknown = unknown
        self.estimated = estimated
        self._resume = resume
        self._lock = threading.Lock()
        self._finished_cost, self._finished_calls = 0.0, 0
        self._reserved: list[float] = []
        """Expected cost of each call in flight."""

    async def admit(self, most: float | None) -> float:
        """Reserve the expected cost of a request, after waiting until the budget has room for it beside the calls in flight.

        Every admitted request must be followed by `release`.

        Args:
            most: maximum cost of the request, which is expected until a call has finished; after that, their mean cost is.
                None without prices.

        Returns:
            The reserved cost, for `release`.

        Raises:
            BudgetSpentError: the limit is reached.
        """
        while True:
            self.check()
            with self._lock:
                expected = self._finished_cost / self._finished_calls if self._finished_calls else most or 0.0
                if (
                    self.limit is None
                    or not self._reserved
                    or self.spent + sum(self._reserved) + expected <= self.limit
                ):
                    self._reserved.append(expected)
                    return expected
            await asyncio.sleep(_BUDGET_POLL_SECONDS)

    def release(self, expected: float) -> None:
        """Free the cost that `admit` reserved for a request, whether it succeeded or failed."""
        with self._lock:
            self._reserved.remove(expected)

    def check(self) -> None:
        """Check that the limit is not reached; without a reservation, for requests that are admitted otherwise.

        Raises:
            BudgetSpentError: the limit is reached.
        """
        if self.limit is not None and self.spent >= self.limit:
            unknown = f" (and {self.unknown} calls of unknown cost)" if self.unknown else ""
            estimated = f" ({self.estimated} calls estimated)" if self.estimated else ""
            raise BudgetSpentError(
                f"budget of {self.limit:g} spent: {self.spent:.4f}{estimated}{unknown}; resume with {self._resume}"
            )

    def add(self, cost: float | None, *, is_estimated: bool = False) -> None:
        """Add the cost of a call; None without a price."""
        with self._lock:
            self.estimated += is_estimated and cost is not None
            if cost is None:
                self.unknown += 1
            else:
                self.spent += cost
                self._finished_cost, self._finished_calls = self._finished_cost + cost, self._finished_calls + 1


class FailureWatch:
    """Stops a command whose first answers all fail for the same reason.

    Args:
        where: the endpoint, for the error.
        limit: number of such failures that stop the command; None never stops it and only keeps the first failure.
    """

    def __init__(self, where: str, limit: int | None = None) -> None:
        self.first = ""
        """The first failure with its cause, quoted."""
        self._where, self._limit = where, limit
        self._causes: list[str] | None = []

    def succeed(self) -> None:
        """Note a usable answer; from then on, failures do not stop the command."""
        self._causes = None

    def fail(self, cause: str, said: str) -> None:
        """Note a failure.

        Args:
            cause: one word, such as `refused`.
            said: the unusable answer, or the provider's error message.

        Raises:
            StoppedError: the first `limit` answers all failed for this cause.
        """
        self.first = self.first or f"{cause}: {said!r}"
        if self._causes is None or self._limit is None:
            return
        self._causes.append(cause)
        if len(self._causes) >= self._limit and len(set(self._causes)) == 1:
            raise StoppedError(
                f"{self._where}: the first {len(self._causes)} requests all failed alike ({self.first}); `longform calls` "
                "shows the recorded answers"
            )


class OutageTracker:
    """Tracks how long an endpoint has been unreachable, and whether that is still tolerated.

    Args:
        patience_seconds: longest tolerated outage. After that, attempts are counted again until the endpoint is reached.
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
