"""What a failed request means: HTTP statuses, errors inside an HTTP 200, broken connections, and when to come back.

Whether the endpoint has answered before, in this process or on record, separates configuration errors from failures of
single texts. An HTTP 400 before any answer may be either; the client decides when a second, different request gets it too.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Outcome, read_json, read_usage, stated_error, unwrapped
from longform.endpoints.transport import HttpAnswer
from longform.records.errors import BadInputError, LongformError, StoppedError

_LONGEST_QUOTE = 200
_REFUSAL_CODES = {
    "content_filter",
    "content_policy_violation",
    "data_inspection_failed",
    "datainspectionfailed",
    "moderation_blocked",
    "sensitive_words_detected",
    "1301",
    "1026",  # MiniMax: the question
    "1027",  # MiniMax: the answer
}
_REFUSAL_WORDS = (
    "content exists risk",
    "content management policy",
    "content policy",
    "moderation",
    "inappropriate content",
    "flagged as potentially violating",
    "usage policies",
    "敏感内容",
    "content_filter",
    "content filter",
    "usage guidelines",
    "sensitive information",
    "sensitive content",
    "high risk",
)
_TOO_LONG_CODES = {"exceed_context_size_error", "context_length_exceeded", "string_above_max_length", "1261"}
_TOO_LONG_WORDS = (
    "context length",
    "maximum context",
    "context window",
    "context_length",
    "context size",
    "too long",
    "input length",
    "maximum prompt length",
    "max_model_len",
    "reduce the length",
    "too many tokens",
    "input token count",
    "model token limit",
    "`inputs` tokens",
    "`inputs` must have",
    "超长",
    "最大长度",
)
_NO_CREDIT_CODES = {"insufficient_quota", "insufficient_balance", "arrearage", "billing_hard_limit_reached", "1113"} | {
    "exceeded_current_quota_error",
    "accountoverdueerror",
    "allocationquota.freetieronly",
    "budget_exceeded",
}
_NO_CREDIT_WORDS = (
    "credit balance",
    "insufficient balance",
    "insufficient credit",
    "insufficient_quota",
    "exceeded your current quota",
    "out of credit",
    "account is in good standing",
    "payment required",
    "balance is insufficient",
    "overdue balance",
    "credits yet",
    "api usage limits",
    "free tier of the model has been exhausted",
    "spending limit",
    "余额不足",
    "欠费",
)
_BUSY = (429, 503, 529)
_BUSY_CODES = {"rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "capacity_exceeded"}
_BUSY_CODES |= {"1302", "1303", "1305"}
_OVERLOADED_CODES = {"overloaded_error", "engine_overloaded_error"}
_BAD_KEY_WORDS = ("api key not valid", "invalid api key", "incorrect api key", "api key expired", "login fail")
_SETTINGS = (
    # What a message about a parameter says, and what to do in models.yaml.
    (
        re.compile(r"max_completion_tokens\W{0,3}instead|(use|using|try) \W?max_completion_tokens"),
        "set `token_parameter: max_completion_tokens`",
    ),
    (
        re.compile(
            r"(unknown|unrecognized|unsupported|unexpected|extra|not permitted|not supported).*max_completion_tokens"
        ),
        "set `token_parameter: max_tokens`",
    ),
    (
        re.compile(
            r"max_tokens|max_completion_tokens|max_output_tokens|max_new_tokens|completion tokens"
            r"|maximum tokens you requested"
        ),
        "set a smaller `max_tokens`",
    ),
    (re.compile(r"temperature.*top_p|top_p.*temperature", re.DOTALL), "set `top_p: null` or `temperature: null`"),
    (re.compile(r"temperature"), "set `temperature: null`, or the value that it asks for"),
    (re.compile(r"top_p"), "set `top_p: null`"),
    (
        re.compile(r"enable_thinking.{0,40}\b(restricted to|must be|must be set to) true"),
        "set `body: {enable_thinking: true}`",
    ),
    (re.compile(r"enable_thinking"), "set `body: {enable_thinking: false}`, or `stream: true`"),
    (re.compile(r"top_k|min_p"), "set `body: {top_k: null, min_p: null}`"),
    (re.compile(r"stream_options"), "set `stream: false`"),
    (
        re.compile(r"stream\w* (mode )?(is|are) (not|un)|(not|n't) support stream|verified to stream"),
        "set `stream: false`",
    ),
    (re.compile(r"\bstream(ing)?\b"), "set `stream: true`"),
    (re.compile(r"logprobs"), "set `verdict: text`"),
    (re.compile(r"response_format|json_schema|structured"), "leave out `structured`"),
    (re.compile(r"reasoning_effort|chat_template_kwargs|thinking"), "set another value in `body`"),
    (re.compile(r"api-version|api version"), "set `query: {api-version: ...}`"),
    (re.compile(r"\bseed\b"), "name another endpoint where several samples are needed, since this one refuses `seed`"),
    (
        re.compile(
            r"developer (role|message|instruction)|system (role|message|prompt|instruction)|not support 'system'"
        ),
        "leave out `system`",
    ),
)
_WAIT_WORDS = re.compile(
    r"(?:try again|retry|wait|reset)[^0-9]{0,30}?(?=[0-9])"
    r"(?:(\d+(?:\.\d+)?)\s*h[a-z]*\s*)?(?:(\d+(?:\.\d+)?)\s*m(?!s|illi)[a-z]*\s*)?"
    r"(?:(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s\b|seconds?|sec\b))?",
    re.IGNORECASE,
)
_RETRY_DELAY = re.compile(r'"(?:retryDelay|retry_after|estimated_time)"\s*:\s*"?(\d{1,9}(?:\.\d+)?)s?"?\s*[,}\]]')
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d+)?)s)?")
_WAIT_WORDS_CHINESE = re.compile(r"(\d{1,6})\s*(秒|分钟)\s*[之以]?后")


@dataclass(frozen=True, slots=True)
class AskedEndpoint:
    """An endpoint, with what else decides the meaning of a failed request to it."""

    name: str
    spec: ModelSpec
    has_answered: bool
    """Whether it has answered any request, in this process or on record."""
    wants_score: bool = False
    """Whether the request was for a reward model's score."""

    @property
    def where(self) -> str:
        """Name and address, for messages."""
        return f"endpoint {self.name} at {self.spec.address}"

    def failure(self, message: str) -> LongformError:
        """An error that ends the command: one that can be resumed if the endpoint has answered before."""
        return (StoppedError if self.has_answered else BadInputError)(f"{self.where} {message}")


def read_status(answer: HttpAnswer, endpoint: AskedEndpoint) -> Outcome:
    """The outcome of an HTTP status that is not one of success."""
    error = _error_of(read_json(answer.body))
    return _classify(answer.status, error, answer.headers, answer.body, endpoint)


def read_error(body: str, endpoint: AskedEndpoint) -> Outcome | None:
    """The outcome of an error inside an HTTP 200; None if there is none."""
    content = unwrapped(read_json(body))
    if not isinstance(content, Mapping):
        return None
    error = stated_error(content)
    if error is None:
        return None
    failed, usage = classify_error(_error_of({"error": error}), body, endpoint), read_usage(content.get("usage"))
    return failed if usage is None else replace(failed, usage=usage, maybe_billed=True)


def classify_error(error: Mapping[str, Any], body: str, endpoint: AskedEndpoint) -> Outcome:
    """The outcome of an error object that came with an HTTP 200, or inside a stream."""
    code = str(error.get("code", "")).lower()
    status = int(code) if re.fullmatch("[45][0-9]{2}", code) else 500
    if status == 500:
        status = _implied_status(_codes(error), _words(error, "").lower())
    outcome = _classify(status, error, {}, body, endpoint)
    if str(status) == code:
        return outcome
    return replace(outcome, message=outcome.message.removeprefix(f"HTTP {status}: "))  # which nobody said


def _implied_status(codes: Set[str], lower: str) -> int:
    """The HTTP status that an error would have had, by its codes and words; 500 if they tell nothing."""
    if codes & _OVERLOADED_CODES:
        return 529
    if codes & _BUSY_CODES or any(code.startswith("throttling") for code in codes) or "rate limit" in lower:
        return 429
    if any(words in lower for words in (*_REFUSAL_WORDS, *_TOO_LONG_WORDS, *_BAD_KEY_WORDS)):
        return 400
    return 500


def read_connection_failure(error: BaseException) -> Outcome:
    """The outcome of an attempt that failed before an answer was received."""
    from aiohttp import ClientConnectorError, ClientHttpProxyError, ClientProxyConnectionError

    # Only a connection that was never established is certainly free.
    unsent = isinstance(error, ClientConnectorError | ClientHttpProxyError)
    said = quote(str(error)) or type(error).__name__
    if isinstance(error, ClientHttpProxyError):
        said = f"the proxy that the environment names refuses it: HTTP {error.status} {quote(error.message)}"
    elif isinstance(error, ClientProxyConnectionError):
        said = f"the proxy that the environment names: {said}"
    elif not unsent:
        said = f"it broke the connection or does not speak HTTP: {said}"
    return Outcome("connection", said, maybe_billed=not unsent, unreachable=unsent)


def read_retry_after(headers: Mapping[str, str], body: str = "") -> float | None:
    """Seconds that an endpoint asks to wait: by a header, or in the words of its error; None if it does not say."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    stated = headers.get("retry-after", "").strip()
    seconds = _seconds(stated)
    if seconds is not None:
        return seconds
    duration = _DURATION.fullmatch(stated)
    if stated and duration is not None:
        return sum(float(part or 0) * unit for part, unit in zip(duration.groups(), (3600, 60, 1), strict=True))
    if stated:
        try:
            when = parsedate_to_datetime(stated)
            return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
        except (ValueError, OverflowError, TypeError, IndexError):
            pass
    delay = _RETRY_DELAY.search(body)
    if delay is not None:
        return float(delay[1])
    for found in _WAIT_WORDS.finditer(body[:20_000]):
        hours, minutes, seconds, unit = found.groups()
        if hours or minutes or seconds:
            rest = float(seconds or 0) / (1000 if unit and unit.lower().startswith("m") else 1)
            return 3600 * float(hours or 0) + 60 * float(minutes or 0) + rest
    chinese = _WAIT_WORDS_CHINESE.search(body[:20_000])
    return None if chinese is None else float(chinese[1]) * (60 if chinese[2] == "分钟" else 1)


def setting_hint(said: str) -> str | None:
    """What to do in models.yaml when an endpoint refuses a parameter; None if it names none."""
    return next((key for pattern, key in _SETTINGS if pattern.search(said.lower())), None)


def quote(said: Any) -> str:
    """A server's message in one short line of printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(said)[:4000]).split())
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 3] + "..."


def _seconds(stated: str) -> float | None:
    try:
        value = float(stated)
    except ValueError:
        return None
    return max(0.0, value) if isfinite(value) else None


def _error_of(content: Any) -> dict[str, Any]:
    """The error object of a body, in whatever place; empty if there is none."""
    content = unwrapped(content)
    if not isinstance(content, Mapping):
        return {}
    error = content.get("error")
    if isinstance(error, Mapping):
        return dict(error)
    if isinstance(error, str):
        return {"message": error}
    return dict(content)


def _codes(error: Mapping[str, Any]) -> set[str]:
    return {str(error.get(name) or "").lower() for name in ("code", "type", "status", "error_code", "__type")}


def _words(error: Mapping[str, Any], body: str) -> str:
    """The provider's message; a router's message is followed by that of the provider which it called."""
    said = next(filter(None, map(error.get, ("message", "msg", "detail", "error_msg"))), "")
    metadata = error.get("metadata")
    upstream = metadata.get("raw") or metadata.get("reasons") if isinstance(metadata, Mapping) else None
    line = ": ".join(quote(words) for words in (said, upstream) if words)
    return quote(line or re.sub(r"<[^>]*>", " ", body[:2000]))


def _classify(
    status: int, error: Mapping[str, Any], headers: Mapping[str, str], body: str, endpoint: AskedEndpoint
) -> Outcome:
    codes = _codes(error)
    said = _words(error, body)
    lower = said.lower()
    message = f"HTTP {status}" + (f": {said}" if said else "")
    wait = read_retry_after(headers, body)
    if 400 <= status < 500 and (codes & _BUSY_CODES or any("throttl" in code for code in codes)):
        status = 429
    out_of_credit = codes & _NO_CREDIT_CODES or any(words in lower for words in _NO_CREDIT_WORDS)
    if status == 402 or (out_of_credit and not (status == 429 and wait is not None)):
        return _fatal(StoppedError(f"{endpoint.where} reports that the account is out of credit: {said or message}"))
    is_refusal = codes & _REFUSAL_CODES or any("sensitivecontent" in code for code in codes)
    if is_refusal or (400 <= status < 500 and any(words in lower for words in _REFUSAL_WORDS)):
        return Outcome("refused", said, maybe_billed=False)
    if codes & _TOO_LONG_CODES or status == 413 or (status == 429 and "request too large" in lower):
        return Outcome("too_long", said or message, maybe_billed=False)
    if status in (401, 403) or (status == 400 and any(words in lower for words in _BAD_KEY_WORDS)):
        return _forbidden(status, error, said, endpoint)
    if status in (404, 405):
        return _missing(status, said, endpoint)
    if status in (408, 504):
        return Outcome("timeout", message, wait_seconds=wait)
    if status == 429:
        return Outcome("rate_limit", message, maybe_billed=False, busy=True, wait_seconds=wait)
    if status >= 500 and any(words in lower for words in _TOO_LONG_WORDS if "context" in words):
        return Outcome("too_long", said, maybe_billed=False)
    if status >= 500 or status in (409, 425):
        return Outcome("server_error", message, maybe_billed=False, busy=status in _BUSY, wait_seconds=wait)
    if status == 422 and not said:
        said = quote(body)
    hint = setting_hint(said)
    if any(words in lower for words in _TOO_LONG_WORDS) and not lower.startswith("max_tokens"):
        return Outcome("too_long", said, maybe_billed=False)
    if 400 <= status < 500 and hint is not None and not endpoint.has_answered:
        return _fatal(endpoint.failure(f"refuses a parameter (HTTP {status}): {said}; in models.yaml, {hint}"))
    if 300 <= status < 400 or status < 200:
        return Outcome("bad_response", message)
    message += "" if hint is None else f"; perhaps in models.yaml, {hint}"
    return Outcome("rejected", message, maybe_billed=False, refused_setting=True)


def _forbidden(status: int, error: Mapping[str, Any], said: str, endpoint: AskedEndpoint) -> Outcome:
    about_model = "model" in said.lower() and ("access" in said.lower() or "model" in str(error.get("code")))
    if status == 403 and about_model:
        return _fatal(endpoint.failure(f"gives no access to {endpoint.spec.model!r} (HTTP 403): {said}"))
    if status == 403 and endpoint.has_answered and not error:  # a firewall that reads the text, not the provider
        return Outcome("rejected", f"HTTP 403: {said}", maybe_billed=False)
    words = f": {said}" if said else ""
    if endpoint.has_answered:
        trouble = "no longer accepts requests"
    elif endpoint.spec.key_env is None:
        trouble = "asks for a key: name its environment variable in `key_env`"
    elif endpoint.spec.auth != "bearer":
        trouble = f"refuses the key from ${endpoint.spec.key_env}, sent in the header {endpoint.spec.auth}"
    else:
        trouble = f"refuses the key from ${endpoint.spec.key_env}"
    return _fatal(endpoint.failure(f"{trouble} (HTTP {status}){words}"))


def _missing(status: int, said: str, endpoint: AskedEndpoint) -> Outcome:
    words = f": {said}" if said else ""
    if endpoint.wants_score:
        hint = "serve it with `vllm serve MODEL --runner pooling`"
        return _fatal(
            endpoint.failure(f"does not score texts as {endpoint.spec.model!r} (HTTP {status}){words}; {hint}")
        )
    if endpoint.has_answered:
        return _fatal(endpoint.failure(f"no longer answers as {endpoint.spec.model!r} (HTTP {status}){words}"))
    hint = "check `model`, and that `base_url` ends with the version, as in /v1"
    return _fatal(endpoint.failure(f"has no model {endpoint.spec.model!r} (HTTP {status}){words}; {hint}"))


def _fatal(error: LongformError) -> Outcome:
    return Outcome(fatal=error, message=str(error), maybe_billed=False)
