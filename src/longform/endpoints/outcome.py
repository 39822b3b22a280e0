"""The outcome of one attempt at a request: an answer, or the cause of the failure and whether it was billed.

Whether the endpoint has answered before, in this process or on record, separates configuration errors from failures of
single texts: a rejected first request is taken for a wrong setting, a later one for an unusual text.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from longform.endpoints.errors import Cause
from longform.endpoints.models import ModelSpec
from longform.endpoints.request import clean_text
from longform.records.errors import BadInputError, LongformError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import APIStatusError

_REFUSAL_CODES = {"content_filter", "content_policy_violation", "data_inspection_failed", "moderation_blocked"}
_TOO_LONG_WORDS = ("context length", "maximum context", "context window", "context_length", "too long", "input length")
_NO_CREDIT_CODES = {"insufficient_quota", "insufficient_balance"}
_LONGEST_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: an answer if `cause` and `fatal` are None."""

    cause: Cause | None = None
    message: str = ""
    """The cause, for people."""
    fatal: LongformError | None = None
    """Set if no other request to the endpoint can succeed either."""
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    maybe_billed: bool = True
    """False if the endpoint certainly charged nothing."""
    unreachable: bool = False
    """True if no connection was established: the endpoint has not seen the request."""
    wait_seconds: float | None = None
    """From `Retry-After`."""

    def cost(self, spec: ModelSpec) -> float | None:
        """Cost of the attempt; None if unknown."""
        if not self.maybe_billed:
            return 0.0
        if spec.prices is None or self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return spec.prices.cost(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)


def read_answer(body: str) -> Outcome:
    """The outcome of an HTTP 200 whose body should be a chat completion."""
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        refusal = message.get("refusal")
        finish_reason = choice.get("finish_reason")
        usage = content.get("usage") or {}
        tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Outcome("bad_response", "the answer is not a chat completion")
    if not isinstance(text, str):
        return Outcome("bad_response", "the answer has no text")
    cause: Cause | None = None
    if finish_reason == "content_filter" or refusal:
        cause = "refused"
    elif not text.strip():
        cause = "empty"
    return Outcome(
        cause,
        "" if cause is None else "the answer is empty" if cause == "empty" else "the model or its filter declined",
        text=clean_text(text),
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        prompt_tokens=tokens[0] if isinstance(tokens[0], int) else None,
        completion_tokens=tokens[1] if isinstance(tokens[1], int) else None,
    )


def read_score(body: str) -> Outcome:
    """The outcome of an HTTP 200 whose body should be a reward model's score, in the form of vLLM's classification."""
    try:
        content = json.loads(body)
        (found,) = content["data"][0]["probs"]
        score = float(found)
        tokens = (content.get("usage") or {}).get("prompt_tokens")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return Outcome("bad_response", "the answer is no score of a reward model with one output")
    if not isfinite(score):
        return Outcome("bad_response", "the answer's score is no finite number")
    prompt_tokens = tokens if isinstance(tokens, int) else None
    return Outcome(text=repr(score), finish_reason="stop", prompt_tokens=prompt_tokens, completion_tokens=0)


def read_connection_failure(error: BaseException) -> Outcome:
    """The outcome of an attempt that failed before a status was received."""
    from aiohttp import ClientConnectorError

    chain = [error]
    while (cause := chain[-1].__cause__) is not None:  # each layer wraps the error of the one below
        chain.append(cause)
    # Only a connection that was never established is certainly free.
    unsent = any(isinstance(it, ClientConnectorError) for it in chain)
    said = quote(str(chain[-1])) or type(chain[-1]).__name__
    return Outcome("connection", said, maybe_billed=not unsent, unreachable=unsent)


def read_status(
    error: "APIStatusError", *, name: str, spec: ModelSpec, proven: bool, key: str | None, wants_score: bool = False
) -> Outcome:
    """The outcome of an HTTP 4xx or 5xx.

    Args:
        error: as the SDK raised it.
        name: the endpoint's, for messages.
        spec: the endpoint's.
        proven: whether the endpoint has answered before, in this process or on record.
        key: removed from quotes of the server.
        wants_score: whether the request was for a reward model's score.
    """
    status = error.status_code
    code = str(error.code or error.type or "").lower()
    said = quote(error.message, key=key)
    where = f"endpoint {name} at {spec.address}"
    if status == 402 or code in _NO_CREDIT_CODES:
        return _fatal(StoppedError(f"{where} reports that the account is out of credit"))
    if code in _REFUSAL_CODES or (status in (400, 403) and "moderation" in said.lower()):
        return Outcome("refused", said, maybe_billed=False)
    failure = StoppedError if proven else BadInputError  # after an answer the run can be resumed
    if status in (401, 403):
        return _fatal(failure(f"{where} {_key_trouble(spec)} (HTTP {status})"))
    if status == 404 and wants_score:
        hint = "serve it with `vllm serve MODEL --runner pooling`"
        return _fatal(failure(f"{where} scores no texts as {spec.model!r} (HTTP 404); {hint}"))
    if status == 404:
        hint = "check `model`, and that `base_url` ends with the version, as in /v1"
        return _fatal(failure(f"{where} knows no model {spec.model!r} (HTTP 404); {hint}"))
    wait_seconds = read_retry_after(error.response.headers)
    if status in (408, 504):
        return Outcome("timeout", f"HTTP {status}", wait_seconds=wait_seconds)
    if status == 429:
        return Outcome("rate_limit", "HTTP 429", maybe_billed=False, wait_seconds=wait_seconds)
    if status >= 500 or status in (409, 425):
        return Outcome("server_error", f"HTTP {status}", maybe_billed=False, wait_seconds=wait_seconds)
    if status == 413 or any(words in said.lower() for words in _TOO_LONG_WORDS):
        return Outcome("too_long", said, maybe_billed=False)
    if not proven:
        return _fatal(BadInputError(f"{where} rejects the request (HTTP {status}): {said}"))
    return Outcome("rejected", f"HTTP {status}: {said}", maybe_billed=False)


def read_retry_after(headers: "Mapping[str, str]") -> float | None:
    """Seconds of a `Retry-After` header, given as a number or a date; None without one."""
    stated = headers.get("retry-after", "").strip()
    if not stated:
        return None
    try:
        return max(0.0, float(stated))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(stated)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def quote(said: Any, *, key: str | None = None) -> str:
    """A server's message in one short line, without the key."""
    line = " ".join(str(said).split())
    if key:
        line = line.replace(key, "***")
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 3] + "..."


def _fatal(error: LongformError) -> Outcome:
    return Outcome(fatal=error, message=str(error), maybe_billed=False)


def _key_trouble(spec: ModelSpec) -> str:
    if spec.key_env is None:
        return "asks for a key: name its environment variable in `key_env`"
    return f"refuses the key from ${spec.key_env}"
