"""When to try again: waits that double, and an endpoint that went away for a minute."""

import asyncio
import socket
import threading
import time
from itertools import count

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.limits import MAX_RECONNECT_SECONDS, OutageTracker, wait_seconds
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Outcome
from longform.records.calls import MemoryCallLog

AWAY = Outcome("connection", unreachable=True)
BUSY = Outcome("rate_limit")


def _waits(outcome, number, *, first=0.5):
    return [wait_seconds(outcome, attempt=attempt, first=first) for attempt in range(1, number + 1)]


def test_waits_double_up_to_a_minute_with_jitter():
    for place, wait in enumerate(_waits(BUSY, 12)):
        assert 0.75 <= wait / min(0.5 * 2**place, 60) <= 1.25


def test_what_the_endpoint_asks_for_is_waited_and_no_more_than_five_minutes():
    assert 7.375 <= wait_seconds(Outcome("rate_limit", wait_seconds=7), attempt=3, first=0.5) <= 7.625
    assert wait_seconds(Outcome("rate_limit", wait_seconds=1e9), attempt=1, first=0.5) < 301


def test_whether_an_endpoint_is_back_is_looked_at_every_few_seconds():
    assert max(_waits(AWAY, 40)) <= 1.25 * MAX_RECONNECT_SECONDS
    assert wait_seconds(AWAY, attempt=100_000, first=0.5) <= 1.25 * MAX_RECONNECT_SECONDS


@pytest.mark.parametrize(("away", "survives"), [(1, True), (60, True), (120, True), (400, False)])
def test_a_minute_away_is_waited_out(away, survives):
    """On a clock of its own: what the client does between a request that finds nobody and the endpoint's return."""
    outage, now = OutageTracker(), 0.0
    for attempt in count(1):
        outage.record(AWAY, now=now)
        if not outage.is_tolerated(now=now):
            break
        now += wait_seconds(AWAY, attempt=attempt, first=0.5)
        if now >= away:
            break
    assert (now >= away) == survives


def test_an_outage_ends_with_whatever_the_endpoint_says():
    outage = OutageTracker(patience_seconds=10)
    outage.record(AWAY, now=0)
    assert outage.is_tolerated(now=9)
    assert not outage.is_tolerated(now=10)
    outage.record(BUSY, now=11)
    assert not outage.is_tolerated(now=11)
    outage.record(AWAY, now=12)
    assert outage.is_tolerated(now=21)


class _Coming:
    """A port behind which a server comes and goes: `serve` of the fixture always takes a free one."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._body = b'{"choices": [{"message": {"content": "here"}, "finish_reason": "stop"}]}'

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def answer_once(self):
        listener = socket.create_server(("127.0.0.1", self.port))

        def work():
            with listener:
                connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(self._body)}\r\n\r\n"
                connection.sendall(head.encode() + self._body)

        threading.Thread(target=work, daemon=True).start()


def _ask_before_and_after(coming, log, *, away, patience):
    spec = ModelSpec(base_url=coming.url, model="m", retries=0)

    async def work():
        async with Endpoint("j", spec, call_log=log, backoff_seconds=0.02, patience_seconds=patience) as endpoint:
            coming.answer_once()
            await endpoint.chat([{"role": "user", "content": "a"}], temperature=0, max_tokens=5)
            asyncio.get_running_loop().call_later(away, coming.answer_once)
            return await endpoint.chat([{"role": "user", "content": "b"}], temperature=0, max_tokens=5)

    return asyncio.run(work())


def test_an_endpoint_that_comes_back_answers_without_a_counted_try():
    log = MemoryCallLog()
    assert _ask_before_and_after(_Coming(), log, away=0.3, patience=20).text == "here"
    assert [call.outcome for call in log.calls].count("connection") > 1
    assert {call.cost for call in log.calls if call.outcome == "connection"} == {0.0}


def test_an_endpoint_that_stays_away_fails_when_patience_ends():
    began = time.monotonic()
    with pytest.raises(EndpointError, match="gave no answer") as caught:
        _ask_before_and_after(_Coming(), MemoryCallLog(), away=30, patience=0.2)
    assert caught.value.cause == "connection"
    assert 0.2 <= time.monotonic() - began < 15
