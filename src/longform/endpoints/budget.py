"""The cost of calls, and a limit that stops a run before its next call.

Calls in flight when the limit is reached are completed, so the cost may end slightly above it. Calls of unknown cost are
counted, not estimated.
"""

import threading

from longform.records.errors import StoppedError


class Budget:
    """A cost meter, shared by all endpoints of a run; safe across threads.

    Args:
        limit: in the currency of models.yaml; None only counts.
        spent: known cost on record from before, for a run that is resumed.
        unknown: calls on record whose cost is not known.
        resume: what to type to go on, for the error.
    """

    def __init__(
        self, limit: float | None = None, *, spent: float = 0.0, unknown: int = 0, resume: str = "a larger budget"
    ) -> None:
        self.limit = limit
        self.spent = spent
        self.unknown = unknown
        self._resume = resume
        self._lock = threading.Lock()

    def check(self) -> None:
        """Call before a paid request.

        Raises:
            StoppedError: the limit is reached.
        """
        if self.limit is not None and self.spent >= self.limit:
            unknown = f" (and {self.unknown} calls of unknown cost)" if self.unknown else ""
            raise StoppedError(f"budget of {self.limit:g} spent: {self.spent:.4f}{unknown}; resume with {self._resume}")

    def add(self, cost: float | None) -> None:
        """Add the cost of a call; None if unknown."""
        with self._lock:
            if cost is None:
                self.unknown += 1
            else:
                self.spent += cost
