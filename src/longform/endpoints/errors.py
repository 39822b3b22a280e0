"""Why an endpoint gave no answer.

The cause decides what the caller does: a judge turns it into a rollout without a verdict, never into a loss. What the
user has to mend (a key, a name, an address) is a `BadInputError` instead, and what ends a run a `StoppedError`.
"""

from typing import Literal

Cause = Literal[
    "timeout", "connection", "rate_limit", "server_error", "bad_response", "refused", "empty", "too_long", "rejected"
]
"""`refused`: a content filter or the model declined. `too_long`: the endpoint says that its context is exceeded.
`rejected`: the endpoint took other requests but not this one (HTTP 4xx)."""

TRANSIENT: frozenset[Cause] = frozenset(
    {"timeout", "connection", "rate_limit", "server_error", "bad_response", "empty"}
)
"""Causes worth another try."""


class EndpointError(Exception):
    """One request stays without an answer after all its tries."""

    def __init__(self, cause: Cause, message: str, *, request_hash: str) -> None:
        super().__init__(f"{message} ({cause})")
        self.cause: Cause = cause
        self.request_hash = request_hash
