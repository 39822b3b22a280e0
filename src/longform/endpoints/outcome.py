"""The outcome of one attempt at a request, read from what the endpoint sent: an answer, or the cause of the failure.

Providers agree on little but the form of a chat completion. This module reads the variants in use: content as a list of
parts, thoughts in separate fields or in tags, and streams. Anything else is a failure.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, isfinite, isnan
from typing import Any

from longform.endpoints.errors import Cause
from longform.endpoints.models import ModelSpec
from longform.endpoints.request import ChatRequest, Request, clean_text
from longform.records.errors import LongformError
from longform.text.thoughts import split_thoughts
from longform.text.words import estimate_tokens

MAX_TOKEN_COUNT = 2**53

_COMPLETE = {
    "stop",
    "eos",
    "eos_token",
    "end_turn",
    "stop_sequence",
    "stop_token",
    "stop_str",
    "complete",
    "completed",
    "end_of_turn",
    "end_of_text",
    "endoftext",
    "finished",
    "stopped",
    "normal",
}
_CUT_OFF = {"length", "max_tokens", "model_length", "max_length", "max_output_tokens", "max_completion_tokens"} | {
    "model_context_window_exceeded",
    "context_length_exceeded",
    "max_tokens_reached",
    "token_limit",
    "token_limit_reached",
}
_FILTERED = {
    "content_filter",
    "content_filtered",
    "safety",
    "refusal",
    "recitation",
    "prohibited_content",
    "blocklist",
} | {
    "sensitive",
    "spii",
    "guardrail",
    "guardrail_intervened",
    "moderation",
    "error_toxic",
    "image_safety",
}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
"""Fields beside the content that hold thoughts; the later ones repeat the earlier ones."""
_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "reasoning.text", "reasoning.summary")
_NO_REASON = (None, "", "null", "none")
_ERROR_KEYS = ("code", "msg", "message", "detail", "error_code", "error_msg")
_SUCCESS = (0, "0", 200, "200")
"""Codes of gateways that state one with every answer."""
_LONGEST_NAME = 200
"""Maximum recorded characters of a model's name or a finish reason."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt."""

    prompt_tokens: int
    completion_tokens: int
    """Thoughts included."""
    cached_tokens: int = 0
    """Prompt tokens that the endpoint had in its cache."""
    thought_tokens: int | None = None
    """Completion tokens of thoughts; None if the endpoint does not state them."""
    is_estimated: bool = False
    """Whether the endpoint gave no usable counts, so that these are estimated from the texts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: an answer if `cause` and `fatal` are None."""

    cause: Cause | None = None
    message: str = ""
    """Explanation of the cause, with the provider's message."""
    fatal: LongformError | None = None
    """Set if no other request to the endpoint can succeed either."""
    text: str = ""
    thoughts: str = ""
    finish_reason: str | None = None
    """`stop` if the answer is complete, `length` if it was cut off, else the endpoint's own reason."""
    usage: Usage | None = None
    """None if nothing was written, or if it is not known yet."""
    served_model: str | None = None
    """The model that the endpoint says has answered, with its fingerprint."""
    maybe_billed: bool = True
    """False if the endpoint certainly charged nothing."""
    unreachable: bool = False
    """True if no connection was established: the endpoint has not seen the request."""
    busy: bool = False
    """True if the endpoint asks to come back later (429, 503, 529)."""
    wait_seconds: float | None = None
    """How long the endpoint asks to wait."""
    refused_setting: bool = False
    """True for an HTTP 400 whose cause may be a wrong setting, which affects every request, or this one text."""

    def cost(self, spec: ModelSpec) -> float | None:
        """Cost of the attempt, in part estimated if its usage is; None if models.yaml has no prices."""
        if not self.maybe_billed:
            return 0.0
        if spec.prices is None or self.usage is None:
            return None
        return spec.prices.cost(
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
            cached_tokens=self.usage.cached_tokens,
        )

    def with_usage(self, request: Request) -> "Outcome":
        """The outcome with its usage estimated from the texts if the endpoint did not state it."""
        if self.usage is not None or not self.maybe_billed:
            return self
        return replace(self, usage=estimate_usage(request, self.text + self.thoughts))


@dataclass(slots=True)
class _Collected:
    """The parts of a completion, collected from a body or from the events of a stream."""

    text: str = ""
    thoughts: str = ""
    refusal: str = ""
    finish_reason: Any = None
    usage: Any = None
    model: Any = None
    fingerprint: Any = None
    error: Any = None
    has_message: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def add(self, content: Mapping[str, Any], *, part: str) -> None:
        """Add a completion (`part` is `message`) or an event of a stream (`delta`).

        Raises:
            TypeError, LookupError, AttributeError: it does not have the form of one.
        """
        self.usage = content.get("usage") or self.usage
        self.model = content.get("model") or self.model
        self.fingerprint = content.get("system_fingerprint") or self.fingerprint
        self.error = stated_error(content) or self.error
        choices = content.get("choices") or []
        if not choices:
            return
        choice = next((it for it in choices if it.get("index") == 0), choices[0])
        self.usage = choice.get("usage") or self.usage  # Moonshot, at the end of a stream
        if choice.get("finish_reason") not in _NO_REASON:
            self.finish_reason = choice["finish_reason"]
        message = choice.get(part)
        if message is None and not (self.text or self.thoughts):  # a whole answer in one event
            message = choice.get("message")
        if message is None:  # Gemini leaves it out where it was filtered, or all of it was thoughts
            self.has_message |= _kind(self.finish_reason) in _FILTERED | _CUT_OFF
            return
        self.has_message = True
        text, thoughts, refusal = _content(message.get("content"))
        self.text += text
        self.thoughts += thoughts or next(filter(None, (_thoughts(message.get(name)) for name in _THOUGHTS)), "")
        stated = message.get("refusal")
        self.refusal += stated if isinstance(stated, str) else refusal


def read_answer(body: str, *, request: ChatRequest) -> Outcome:
    """The outcome of an HTTP 200 whose body should be a chat completion.

    An error inside it comes back as `bad_response` with an empty message; see `read_error` for what it means.
    """
    message = _Collected()
    content = read_json(_without_comments(body))
    try:
        if not isinstance(content, dict):
            raise TypeError
        message.add(content, part="message")
    except (LookupError, TypeError, AttributeError):
        message.has_message = False
    if not message.has_message:
        usage = read_usage(message.usage)
        return Outcome("bad_response", "the answer is not a chat completion", usage=usage).with_usage(request)
    if request.letters:
        return _read_letters(content, message, request)
    return finish(message, request=request)


def _read_letters(content: Mapping[str, Any], message: _Collected, request: ChatRequest) -> Outcome:
    """The probabilities of the request's letters as the first token, as a JSON object in place of the text."""
    usage = read_usage(message.usage)
    try:
        first = content["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        probabilities = dict.fromkeys(request.letters, 0.0)
        for candidate in first:
            letter, logprob = candidate["token"].strip(" \u0120\u2581[(\"'"), float(candidate["logprob"])
            if letter in probabilities and not isnan(logprob):
                probabilities[letter] += exp(min(logprob, 0.0))
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        return Outcome("bad_response", "the answer has no log-probabilities", usage=usage).with_usage(request)
    return Outcome(
        text=json.dumps(probabilities),
        finish_reason="stop",
        usage=usage,
        served_model=_served(message),
    ).with_usage(request)


def finish(message: _Collected, *, request: ChatRequest) -> Outcome:
    """The outcome of a complete chat completion."""
    split = split_thoughts(clean_text(message.text))
    thoughts = "\n\n".join(filter(None, (clean_text(message.thoughts).strip(), split.thoughts)))
    reason = message.finish_reason
    outcome = Outcome(
        text=split.text,
        thoughts=thoughts,
        finish_reason=clean_text(reason)[:_LONGEST_NAME] if isinstance(reason, str) else None,
        usage=read_usage(message.usage),
        served_model=_served(message),
    ).with_usage(request)
    kind = _kind(reason)
    if kind in _FILTERED or message.refusal:
        said = message.refusal or "the model or its filter declined"
        return replace(outcome, cause="refused", message=clean_text(said))
    is_full = outcome.usage is not None and outcome.usage.completion_tokens >= request.max_tokens
    is_cut = kind in _CUT_OFF or (reason is None and is_full)
    if not is_cut and (reason is None or kind in _COMPLETE):
        outcome = replace(outcome, finish_reason="stop" if kind else None)
    elif is_cut:
        outcome = replace(outcome, finish_reason="length")
    elif kind in ("tool_calls", "function_call"):
        return replace(outcome, cause="bad_response", message="the model called a tool instead of answering")
    else:
        return replace(outcome, cause="incomplete", message=f"the endpoint broke off the answer ({str(reason)[:40]!r})")
    if not split.is_complete or (is_cut and not split.text.strip()):
        return replace(outcome, cause="cut_off", finish_reason="length", text="", message=_all_spent(outcome, request))
    if not split.text.strip():
        thinking = f", after {len(thoughts):,} characters of thoughts" if thoughts else ""
        return replace(outcome, cause="empty", message=f"the answer is empty{thinking}")
    return outcome


def _kind(reason: Any) -> str:
    """A finish reason in a uniform spelling. SGLang may send an object; Gemini may add another reason after a colon."""
    stated = reason.get("type") if isinstance(reason, Mapping) else reason
    if not isinstance(stated, str):
        return ""
    return re.sub(r"^finish_?reason[._]", "", re.sub(r"[\s-]+", "_", stated.partition(":")[0].strip().lower()))


def _served(message: _Collected) -> str | None:
    names = (clean_text(it) for it in (message.model, message.fingerprint) if isinstance(it, str))
    return " ".join(names)[:_LONGEST_NAME] or None


def _all_spent(outcome: Outcome, request: ChatRequest) -> str:
    where = "its thoughts" if outcome.thoughts else "white space"
    return (
        f"the answer ended within {where} at {request.max_tokens} tokens; allow more with `max_tokens` in models.yaml, "
        "or less thinking with `body`"
    )


class StreamReader:
    """Collects the events of a stream."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._message = _Collected()
        self.error: Any = None

    @property
    def characters(self) -> int:
        """Received so far."""
        return len(self._message.text) + len(self._message.thoughts)

    def add(self, event: str) -> None:
        """Add the data of an event; what is not a part of a completion is ignored.

        Several events without an empty line between them arrive as one, a line each.
        """
        content = unwrapped(read_json(event))
        if content is None and "\n" in event:
            for line in event.split("\n"):
                self.add(line)
        elif isinstance(content, dict):
            try:
                self._message.add(content, part="delta")
            except (LookupError, TypeError, AttributeError):
                return
            self.error = self._message.error or self.error

    def outcome(self) -> Outcome:
        """The outcome after the last event. Without a finish reason the stream was broken off."""
        if self._message.finish_reason is None:
            return self.broken("the stream ended without a finish reason")
        return finish(self._message, request=self._request)

    def broken(self, why: str, cause: Cause = "incomplete") -> Outcome:
        """The outcome of a stream that ended early; the text so far is recorded, and its cost estimated."""
        split = split_thoughts(clean_text(self._message.text))
        thoughts = "\n\n".join(filter(None, (clean_text(self._message.thoughts), split.thoughts)))
        return Outcome(
            cause, f"{why}, after {self.characters} characters", text=split.text, thoughts=thoughts
        ).with_usage(self._request)


def read_score(body: str) -> Outcome:
    """The outcome of an HTTP 200 whose body should be a reward model's score, in the form of vLLM's classification."""
    content = read_json(body)
    try:
        (found,) = content["data"][0]["probs"]
        score = float(found)
        tokens = _count((content.get("usage") or {}).get("prompt_tokens"))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return Outcome("bad_response", "the answer is not the score of a reward model with one output")
    if not isfinite(score):
        return Outcome("bad_response", "the answer's score is not a finite number")
    return Outcome(text=repr(score), finish_reason="stop", usage=None if tokens is None else Usage(tokens, 0))


def read_usage(usage: Any) -> Usage | None:
    """The tokens that an endpoint states; None unless prompt and completion are whole numbers in range."""
    if not isinstance(usage, Mapping):
        return None
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    if prompt is None or completion is None or prompt + completion == 0:  # no prompt is empty: not counted
        return None
    total = _count(usage.get("total_tokens"))
    if total is not None and total > prompt + completion:  # thoughts beside the completion: Gemini, xAI
        completion = total - prompt
    in_prompt = usage.get("prompt_tokens_details")
    in_completion = usage.get("completion_tokens_details")
    places = (in_prompt if isinstance(in_prompt, Mapping) else {}, usage)
    stated = (_count(it.get(name)) for it in places for name in ("cached_tokens", "prompt_cache_hit_tokens"))
    cached = next((it for it in stated if it is not None), None)
    thoughts = _count(in_completion.get("reasoning_tokens")) if isinstance(in_completion, Mapping) else None
    return Usage(prompt, completion, min(cached or 0, prompt), thoughts)


def estimate_usage(request: Request, written: str) -> Usage:
    """Tokens of a request and of what was written in answer to it, estimated from the texts."""
    return Usage(request.prompt_tokens, estimate_tokens(written), is_estimated=True)


def read_json(text: str) -> Any:
    """The JSON value of a text; None if it is not JSON. Line breaks within strings are accepted."""
    try:
        return json.loads(text, parse_int=_integer, strict=False)
    except (ValueError, RecursionError):
        return None


def unwrapped(content: Any) -> Any:
    """The object of a list of one: so Gemini sends errors."""
    return content[0] if isinstance(content, list) and len(content) == 1 else content


def _integer(digits: str) -> int | float:
    """An integer; infinity for one so long that Python refuses it, which must not cost the whole answer."""
    return int(digits) if len(digits) < 1000 else float("inf")


def _count(value: Any) -> int | None:
    """A number of tokens: a whole number from 0 to `MAX_TOKEN_COUNT`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():  # also infinity and NaN
        return None
    return int(value) if 0 <= value <= MAX_TOKEN_COUNT else None


def stated_error(content: Mapping[str, Any]) -> Any:
    """The error inside a completion or an event of a stream, in whatever place; None if there is none."""
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    for error in (first.get("error"), content.get("error")):
        if any(error.values()) if isinstance(error, Mapping) else error:
            return error
    base = content.get("base_resp")  # MiniMax
    if isinstance(base, Mapping) and base.get("status_code"):
        return {"code": base["status_code"], "message": base.get("status_msg")}
    if choices or content.get("code") in _SUCCESS or isinstance(content.get("message"), Mapping):
        return None  # the last is an answer in another protocol
    return dict(content) if any(content.get(key) for key in _ERROR_KEYS) else None


def _content(content: Any) -> tuple[str, str, str]:
    """Text, thoughts and refusal of a message's content: a string, a part, or a list of parts.

    Raises:
        TypeError, AttributeError: it is none of these.
    """
    if content is None:
        return "", "", ""
    if isinstance(content, str):
        return content, "", ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise TypeError
    text, thoughts, refusal = "", "", ""
    for part in content:
        if part is None:
            continue
        if isinstance(part, str):
            text += part
        elif part.get("type") in _THOUGHT_PARTS:
            names = ("thinking", "reasoning", "text", "summary")
            thoughts += _thoughts(next(filter(None, map(part.get, names)), None))
        elif part.get("type") == "refusal":
            refusal += _content(part.get("refusal"))[0]
        elif part.get("type") in (None, "text", "output_text"):
            text += _content(part.get("text"))[0]
    return text, thoughts, refusal


def _thoughts(content: Any) -> str:
    """The text of a field of thoughts; empty if it has another form, which does not make the answer unusable."""
    try:
        text, thoughts, _ = _content(content)
        return text + thoughts
    except (TypeError, AttributeError):
        return ""


def _without_comments(body: str) -> str:
    """A body without the comments that some endpoints send to keep a connection open."""
    if not body.lstrip().startswith(":"):
        return body
    return "\n".join(line for line in body.split("\n") if not line.startswith(":"))
