"""Why a call to an endpoint failed.

A judge turns such a failure into a missing verdict, which masks the rollout and never counts as a loss. Configuration errors
(key, name, address) are a `BadInputError` instead, and what stops a run is a `StoppedError`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

Cause = Literal[
    "timeout",
    "connection",
    "rate_limit",
    "server_error",
    "bad_response",
    "incomplete",
    "cut_off",
    "refused",
    "empty",
    "too_long",
    "rejected",
]
"""`incomplete`: the endpoint broke off the answer. `cut_off`: the answer used up `max_tokens` in its thoughts or before any
text. `refused`: a content filter or the model declined. `too_long`: the endpoint says that its context is exceeded.
`rejected`: the endpoint took other requests but not this one (HTTP 4xx)."""

TRANSIENT: frozenset[Cause] = frozenset(
    {"timeout", "connection", "rate_limit", "server_error", "bad_response", "incomplete", "empty"}
)
"""Causes after which a request is retried."""


class EndpointError(Exception):
    """A request failed in all its attempts.

    Args:
        cause: see `Cause`.
        message: explanation that begins with the endpoint.
        request_hash: hash of the request.
        said: the explanation without the endpoint; by default `message`.
    """

    def __init__(self, cause: Cause, message: str, *, request_hash: str, said: str | None = None) -> None:
        super().__init__(f"{message} ({cause})")
        self.cause: Cause = cause
        self.request_hash = request_hash
        self.said = message if said is None else said


def describe_causes(counts: Mapping[str, int]) -> str:
    """Format the causes of failures, most frequent first: `timeout 3, refused 1`."""
    return ", ".join(f"{cause} {count}" for cause, count in Counter(counts).most_common())
