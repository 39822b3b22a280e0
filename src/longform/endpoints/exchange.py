"""One exchange with an endpoint: sends a request, reads its outcome, and removes secrets from it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from longform.endpoints.batch import Batcher
from longform.endpoints.failures import (
    AskedEndpoint,
    classify_error,
    quote,
    read_connection_failure,
    read_error,
    read_status,
)
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Outcome, StreamReader, read_answer, read_score
from longform.endpoints.request import ChatRequest, Request, ScoreRequest
from longform.endpoints.transport import (
    BYTES_PER_EVENT,
    BYTES_PER_TOKEN,
    MAX_BYTES,
    BadBodyError,
    HttpAnswer,
    RedirectError,
    StalledError,
    Transport,
    basic_credentials,
    events_in,
)
from longform.records.errors import LongformError

_LONG_SECRET = 8
"""Characters of a secret that is also searched for in what the model wrote."""


async def send(request: Request, endpoint: AskedEndpoint, transport: Transport, batcher: Batcher | None) -> Outcome:
    """The outcome of one attempt.

    Args:
        request: what to send.
        endpoint: the endpoint that is asked.
        transport: its connections.
        batcher: for an endpoint whose requests go through its batch API.
    """
    from aiohttp import ClientError

    seconds = endpoint.spec.timeout(request.max_tokens)
    limit = MAX_BYTES + BYTES_PER_TOKEN * request.max_tokens
    streamed = request if isinstance(request, ChatRequest) and request.stream else None
    reader = None if streamed is None else StreamReader(streamed)
    try:
        if batcher is not None and isinstance(request, ChatRequest):
            return _read(await batcher.ask(request), request, endpoint)
        async with asyncio.timeout(seconds):
            if streamed is not None and reader is not None:
                return await _send_stream(transport, reader, streamed, endpoint, limit=limit, seconds=seconds)
            answer = await transport.post(request.path, request.parameters, limit=limit)
            return _read(answer, request, endpoint)
    except TimeoutError:
        if reader is not None and reader.characters:
            return reader.broken(f"the stream was still being written after {seconds:g} s", "timeout")
        source = "timeout_seconds" if endpoint.spec.timeout_seconds else f"for max_tokens {request.max_tokens}"
        return Outcome("timeout", f"no answer in {seconds:g} s ({source}; set `timeout_seconds` in models.yaml)")
    except BadBodyError as error:
        if reader is not None and reader.characters:
            return reader.broken(str(error), "bad_response")
        return Outcome("bad_response", str(error))
    except RedirectError as error:
        message = f"redirects to {quote(error)}, which is not followed; write the right address into `base_url`"
        return Outcome(fatal=endpoint.failure(message), message=message, maybe_billed=False)
    except (ClientError, OSError, ValueError) as error:
        if reader is not None and reader.characters:
            return reader.broken("the stream was broken off")
        return read_connection_failure(error)


async def _send_stream(
    transport: Transport,
    reader: StreamReader,
    request: ChatRequest,
    endpoint: AskedEndpoint,
    *,
    limit: int,
    seconds: float,
) -> Outcome:
    """The outcome of a streamed answer. A stream that stops for a quarter of the time-out has stalled.

    An event holds a token and much around it, so that the whole stream may be far longer than the answer in it.
    """
    stall = max(seconds / 4, 0.1)
    longest = MAX_BYTES + BYTES_PER_EVENT * request.max_tokens
    try:
        async with aclosing(
            transport.stream(request.path, request.parameters, limit=longest, stall_seconds=stall)
        ) as events:
            async for event in events:
                if isinstance(event, HttpAnswer):
                    if not event.is_success or event.body:  # refused, or an answer that is not streamed
                        return _read(event, request, endpoint)
                    continue
                reader.add(event)
                if reader.characters > limit:
                    raise BadBodyError(f"the answer is longer than {limit:,} characters")
                if reader.error:
                    break
    except StalledError:
        return reader.broken(f"the stream stalled: nothing for {stall:g} s", "timeout")
    return _end(reader, endpoint)


def _end(reader: StreamReader, endpoint: AskedEndpoint) -> Outcome:
    """The outcome of a stream after its last event, or after an error in it."""
    if not reader.error:
        return reader.outcome()
    error = reader.error if isinstance(reader.error, dict) else {"message": str(reader.error)}
    failed = classify_error(error, json.dumps(error), endpoint)
    partial = reader.broken(failed.message or "error")
    if not reader.characters:
        return failed
    return replace(
        failed,
        message=partial.message,
        text=partial.text,
        thoughts=partial.thoughts,
        usage=partial.usage,
        maybe_billed=True,
    )


def _read(answer: HttpAnswer, request: Request, endpoint: AskedEndpoint) -> Outcome:
    """The outcome of an HTTP answer that is whole."""
    if not answer.is_success:
        return read_status(answer, endpoint)
    events = events_in(answer.body)
    if events and not isinstance(request, ScoreRequest):  # a stream that was not asked for
        reader = StreamReader(request)
        for event in events:
            reader.add(event)
        return _end(reader, endpoint)
    failed = read_error(answer.body, endpoint)
    if failed is not None:
        return failed
    if isinstance(request, ScoreRequest):
        return read_score(answer.body)
    outcome = read_answer(answer.body, request=request)
    if outcome.cause == "bad_response" and outcome.finish_reason is None:  # else a tool was called
        said = quote(answer.body) or f"HTTP {answer.status} without a body"
        return replace(outcome, message=f"{outcome.message}: {said}")
    return outcome


def secrets_of(spec: ModelSpec, key: str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What must not be shown or recorded: the key, the password of the address, header values of the environment."""
    parts = urlsplit(spec.base_url)
    hidden = {key, parts.password, unquote(parts.password or ""), basic_credentials(spec)}
    hidden |= {value for name, value in headers.items() if not isinstance(spec.headers[name], str)}
    return tuple(sorted((it for it in hidden if it), key=len, reverse=True))


def redact(outcome: Outcome, secrets: Sequence[str]) -> Outcome:
    """The outcome without secrets that the server may have quoted.

    In what the model wrote only long ones are looked for: a key such as `none` or `1` is also a word of a text.
    """
    if not secrets:
        return outcome
    long = [it for it in secrets if len(it) >= _LONG_SECRET]
    fatal = outcome.fatal
    return replace(
        outcome,
        message=redact_text(outcome.message, secrets),
        text=redact_text(outcome.text, long),
        thoughts=redact_text(outcome.thoughts, long),
        fatal=None if fatal is None else redact_error(fatal, secrets),
        finish_reason=outcome.finish_reason and redact_text(outcome.finish_reason, long),
        served_model=outcome.served_model and redact_text(outcome.served_model, long),
    )


def redact_error(error: LongformError, secrets: Sequence[str]) -> LongformError:
    """The error without secrets that the server may have quoted."""
    return type(error)(redact_text(str(error), secrets))


def redact_text(text: str, secrets: Sequence[str]) -> str:
    """`text` with "***" in place of secrets, also of one that a quotation has cut short."""
    for secret in secrets:
        text = text.replace(secret, "***")
        if "..." in text:
            for length in range(len(secret) - 1, 3, -1):
                text = text.replace(f"{secret[:length]}...", "***...")
    return text
