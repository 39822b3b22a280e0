"""What a faulty or hostile server may send: bombs, redirects, stalls, streams. Raw bytes over a real socket."""

import asyncio
import json
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec, Prices
from longform.endpoints.transport import BYTES_PER_TOKEN, MAX_BYTES
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, LongformError

KEY = "sk-very-secret-0123456789"
Handler = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


def completion(text: str, **usage: Any) -> str:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": usage or None})


def answer(body: bytes, *, status: int = 200, **headers: str) -> bytes:
    """An HTTP answer; underscores in the names of headers stand for hyphens."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask(handler: Handler, *, requests: int = 1, attempts: int = 1, **spec: Any):
    """Answers or errors of several requests at once, and the log."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(it.split(b":")[1]) for it in head.split(b"\r\n") if it.lower().startswith(b"content-length"))
        await reader.readexactly(length)
        try:
            await handler(writer, seen)
            await writer.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    log = MemoryCallLog()
    spec = {"timeout_seconds": 2.0, "prices": Prices(prompt=1, completion=1), **spec}
    endpoint = Endpoint(
        "judge",
        ModelSpec(base_url=f"http://127.0.0.1:{port}/v1", model="m", retries=attempts - 1, **spec),
        call_log=log,
        backoff_seconds=0.001,
    )
    async with endpoint:
        chats = [
            endpoint.chat([{"role": "user", "content": f"question {number}"}], temperature=0, max_tokens=100)
            for number in range(requests)
        ]
        results = await asyncio.gather(*chats, return_exceptions=True)
    server.close()
    return results, log


def ask_one(handler: Handler, **spec: Any) -> tuple[Any, MemoryCallLog]:
    (result,), log = asyncio.run(ask(handler, **spec))
    assert isinstance(result, LongformError | EndpointError) or not isinstance(result, BaseException), result
    return result, log


def sends(*pieces: bytes, pause: float = 0.0) -> Handler:
    async def handler(writer: asyncio.StreamWriter, number: int) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return handler


async def endless(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        await writer.drain()


def bomb() -> Handler:
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    body = b"".join([compress.compress(zeros) for _ in range(512)] + [compress.flush()])
    return sends(answer(body, Content_Encoding="gzip"))


@pytest.mark.parametrize("make_handler", [lambda: endless, bomb], ids=["endless", "gzip bomb"])
def test_a_body_is_read_up_to_its_limit_even_with_many_in_flight(make_handler):
    handler = make_handler()
    tracemalloc.start()
    results, _ = asyncio.run(ask(handler, requests=16))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    limit = MAX_BYTES + BYTES_PER_TOKEN * 100
    for failed in results:
        assert isinstance(failed, EndpointError)
        assert failed.cause == "bad_response"
        assert f"longer than {limit:,} bytes" in str(failed)
    assert peak < 64 * 2**20


def compressed(body: bytes, wbits: int) -> bytes:
    compress = zlib.compressobj(wbits=wbits)
    return compress.compress(body) + compress.flush()


def test_a_compressed_answer_is_read_in_every_form_that_servers_send():
    body = completion("Fine.").encode()
    halves = compressed(body[:20], 31) + compressed(body[20:], 31)
    for coding, sent in (
        ("gzip", compressed(body, 31)),
        ("gzip", halves),
        ("gzip", compressed(body, 31) + bytes(8)),  # padded
        ("deflate", compressed(body, 15)),
        ("deflate", compressed(body, -15)),  # without its header
    ):
        result, _ = ask_one(sends(answer(sent, Content_Encoding=coding)))
        assert getattr(result, "text", result) == "Fine."


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
def test_what_cannot_be_decompressed_is_a_bad_response(coding):
    result, _ = ask_one(sends(answer(b"not compressed", Content_Encoding=coding)))
    assert (type(result), getattr(result, "cause", None)) == (EndpointError, "bad_response")


@pytest.mark.parametrize("charset", ["base64", "rot13", "hex", "zlib", "bz2", "uu", "quopri", "utf-7", "no-such"])
def test_an_answer_is_utf_8_whatever_it_is_called(charset):
    body = completion("Schön.").encode()
    result, _ = ask_one(sends(answer(body, Content_Type=f"application/json; charset={charset}")))
    assert result.text == "Schön."


def test_bytes_that_are_not_utf_8_are_replaced():
    body = completion("XX fine").encode().replace(b"XX", b"\xff\xfe")
    result, _ = ask_one(sends(answer(body)))
    assert result.text == "\ufffd\ufffd fine"


@pytest.mark.parametrize("tokens", ["9" * 5000, "1e400", "NaN", "-5"])
def test_an_answer_with_impossible_tokens_is_not_lost(tokens):
    body = completion("Fine.", prompt_tokens=1, completion_tokens=2).replace(": 1,", f": {tokens},").encode()
    result, log = ask_one(sends(answer(body)))
    assert result.text == "Fine."
    assert 0 < result.cost < 1
    assert log.calls[0].is_estimated


@pytest.mark.parametrize(
    "target", ["http://localhost:1/v1/chat/completions", "file:///etc/passwd", "http://[::bad", "", "ftp://127.0.0.1/x"]
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_elsewhere_is_not_followed(target, status):
    result, log = ask_one(sends(answer(b"", status=status, Location=target)), attempts=3)
    assert isinstance(result, LongformError | EndpointError)
    assert len(log.calls) in (1, 3)
    assert all(call.text == "" for call in log.calls)


def test_a_redirect_on_the_same_host_is_followed():
    async def handler(writer: asyncio.StreamWriter, number: int) -> None:
        first = answer(b"", status=307, Location="/v2/chat/completions")
        writer.write(first if number == 1 else answer(completion("Moved.").encode()))

    result, _ = ask_one(handler)
    assert result.text == "Moved."


def test_a_redirect_in_circles_ends_in_one_line():
    result, _ = ask_one(sends(answer(b"", status=307, Location="/v1/chat/completions")))
    assert isinstance(result, BadInputError)
    assert "again and again" in str(result)


@pytest.mark.parametrize(
    "handler",
    [sends(b"", pause=9), sends(*(bytes([it]) for it in answer(completion("x").encode())), pause=0.5)],
    ids=["nothing", "a byte every half second"],
)
def test_a_time_out_holds_for_the_whole_answer(handler):
    started = time.monotonic()
    result, _ = ask_one(handler, timeout_seconds=0.6)
    assert result.cause == "timeout"
    assert time.monotonic() - started < 3  # on a busy machine; the limit is 0.6


def test_by_default_the_time_out_follows_from_the_longest_answer():
    spec = ModelSpec(base_url="http://h/v1", model="m")
    assert (spec.timeout(100), spec.timeout(10_000)) == (120, 1000)
    assert ModelSpec(base_url="http://h/v1", model="m", timeout_seconds=7).timeout(10_000) == 7


@pytest.mark.parametrize(
    "sent",
    [
        answer(completion(f"Your key is {KEY}.").encode()),
        answer(json.dumps({"error": {"message": f"Incorrect key {KEY}"}}).encode(), status=401),
        answer(json.dumps({"error": {"message": f"Bearer {KEY}"}}).encode(), status=500),
        b"HTTP/1.1 200 OK\r\nAuthorization Bearer " + KEY.encode() + b"\r\n\r\n",
    ],
    ids=["in the text", "in a 401", "in a 500", "in a malformed header"],
)
def test_the_key_is_neither_shown_nor_recorded(monkeypatch, sent):
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setenv("SOME_ORG", "org-secret-77")
    result, log = ask_one(sends(sent), key_env="SOME_KEY", headers={"X-Org": {"env": "SOME_ORG"}})
    assert KEY not in str(result)
    assert KEY not in str(getattr(result, "text", ""))
    assert KEY not in str(log.calls)


def event(**delta: Any) -> bytes:
    finish = delta.pop("finish_reason", None)
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': finish}]})}\n\n".encode()


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'
DONE = b"data: [DONE]\n\n"


def test_a_stream_is_put_together_with_thoughts_and_usage():
    pieces = [event(reasoning_content="hm "), b": alive\n\n", event(content="A "), event(content="day.")]
    result, log = ask_one(sends(STREAM, *pieces, event(finish_reason="stop"), USAGE, DONE), stream=True)
    assert (result.text, result.thoughts, result.finish_reason) == ("A day.", "hm", "stop")
    assert (result.prompt_tokens, result.completion_tokens, log.calls[0].is_estimated) == (7, 3, False)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_stream_may_be_cut_into_any_pieces(cut):
    whole = event(content="Schön ") + event(content="早安", finish_reason="stop") + DONE
    pieces = [whole[index : index + cut] for index in range(0, len(whole), cut)]
    for mark in (b"", b"\xef\xbb\xbf"):
        result, _ = ask_one(sends(STREAM, mark, *pieces), stream=True)
        assert result.text == "Schön 早安"


def test_a_broken_stream_is_recorded_with_its_text_and_asked_for_again():
    async def handler(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(STREAM + event(content="Half a") + (event(content=" text.", finish_reason="stop") * (number > 1)))

    result, log = ask_one(handler, stream=True, attempts=2)
    assert result.text == "Half a text."
    assert [(call.outcome, call.text) for call in log.calls] == [("incomplete", "Half a"), ("ok", "Half a text.")]
    assert log.calls[0].is_estimated
    assert log.calls[0].cost is not None
    assert log.calls[0].cost > 0


def test_a_stalled_stream_is_told_from_a_slow_one():
    async def stop_early(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(STREAM + event(content="Half a"))
        await writer.drain()
        await asyncio.sleep(4)

    stalled, log = ask_one(stop_early, stream=True, timeout_seconds=2)
    assert "the stream stalled" in str(stalled)
    assert (log.calls[0].outcome, log.calls[0].text) == ("timeout", "Half a")
    pieces = [event(content="word ") for _ in range(40)]
    slow, log = ask_one(sends(STREAM, *pieces, pause=0.1), stream=True, timeout_seconds=1.5)
    assert "still being written" in str(slow)
    assert log.calls[0].text.startswith("word word ")


def test_an_error_within_a_stream_is_a_failure_with_the_providers_words():
    broken = b'data: {"error": {"message": "Upstream idle", "code": 502}}\n\n'
    result, log = ask_one(sends(STREAM, event(content="Half"), broken), stream=True)
    assert result.cause == "server_error"
    assert "Upstream idle" in str(result)
    assert log.calls[0].text == "Half"


def wide(**delta: Any) -> bytes:
    """An event as OpenRouter sends it, with some hundred bytes around each token."""
    content = {"id": "gen-" + "x" * 200, "provider": "p" * 100, "choices": [{"index": 0, "delta": delta}]}
    return f"data: {json.dumps(content)}\n\n".encode()


def test_a_stream_may_be_far_longer_than_the_answer_in_it():
    """16,000 tokens of thoughts at 500 bytes an event are paid for, and not asked for again."""
    pieces = [wide(content=None, reasoning="hm ") * 1000 for _ in range(10)]
    result, log = ask_one(
        sends(STREAM, *pieces, wide(content="A day."), event(finish_reason="stop"), DONE),
        stream=True,
        max_tokens=10_000,
    )
    assert (result.text, len(log.calls)) == ("A day.", 1)


def test_the_text_of_a_stream_is_bounded_as_that_of_a_body_is():
    pieces = [event(content="x" * 60_000) for _ in range(20)]
    result, log = ask_one(sends(STREAM, *pieces, event(finish_reason="stop"), DONE), stream=True)
    assert result.cause == "bad_response"
    assert len(log.calls[0].text) > MAX_BYTES  # what came so far is on record


@pytest.mark.parametrize(
    "failure",
    [
        b'data: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
        b'event: error\ndata: {"code": "Throttling", "message": "Overloaded", "request_id": "r"}\n\n',
        b'data: {"error": {"message": "Overloaded. Try again in 20ms.", "code": 503}, "choices": []}\n\n',
    ],
)
def test_an_error_within_a_stream_is_recognised_in_every_form(failure):
    result, log = ask_one(sends(STREAM, event(content="Half"), failure), stream=True)
    assert result.cause in ("rate_limit", "server_error")
    assert "Overloaded" in str(result)
    assert log.calls[0].text == "Half"
    assert log.calls[0].is_estimated


def test_events_without_empty_lines_between_them_are_read_one_by_one():
    events = event(content="A ") + event(content="day.") + event(finish_reason="stop") + DONE
    result, _ = ask_one(sends(STREAM, events.replace(b"\n\n", b"\n")), stream=True)
    assert result.text == "A day."


def test_usage_in_the_choice_of_the_last_event_is_read():
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}
    last = f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
    result, log = ask_one(sends(STREAM, event(content="A day."), last, DONE), stream=True)
    assert (result.prompt_tokens, result.completion_tokens, log.calls[0].is_estimated) == (7, 2, False)


WHOLE = json.dumps(json.loads(completion("A day.", prompt_tokens=7, completion_tokens=2)), indent=1).encode()


@pytest.mark.parametrize(
    "body", [WHOLE, b": alive\n\n" + WHOLE, b"data: " + WHOLE.replace(b"\n", b"") + b"\n\n"], ids=repr
)
def test_a_stream_that_holds_a_whole_answer_is_read(body):
    result, log = ask_one(sends(STREAM + body), stream=True)
    assert (getattr(result, "text", result), log.calls[0].completion_tokens) == ("A day.", 2)


@pytest.mark.parametrize(
    ("body", "cause", "words"),
    [
        (b'{"error": {"message": "slow down", "code": 429}}', "rate_limit", "slow down"),
        (b'data: [{"error": {"code": 503, "message": "overloaded"}}]\n\n', "server_error", "overloaded"),
        (b"<html>Please sign in</html>", "bad_response", "Please sign in"),
    ],
)
def test_what_stands_in_a_stream_in_place_of_events_is_quoted(body, cause, words):
    result, _ = ask_one(sends(STREAM + body), stream=True)
    assert (getattr(result, "cause", result), words in str(result)) == (cause, True)
