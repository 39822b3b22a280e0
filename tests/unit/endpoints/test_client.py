"""Asking an endpoint: what is sent, recorded, retried and refused, against a real server on the loopback."""

import asyncio
import json
import socket
import threading
import time
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec, Prices
from longform.records.calls import MemoryCallLog, SqliteCallLog
from longform.records.errors import BadInputError, StoppedError

QUESTION = [{"role": "user", "content": "How do you do?"}]
KEY = "sk-very-secret-0123456789"


def make_endpoint(url, *, call_log=None, budget=None, backoff_seconds=0.001, patience_seconds=180, **spec):
    spec = {"model": "scribe", "retries": 2, "timeout_seconds": 5, **spec}
    return Endpoint(
        "judge",
        ModelSpec(base_url=url, **spec),
        call_log=call_log or MemoryCallLog(),
        budget=budget,
        backoff_seconds=backoff_seconds,
        patience_seconds=patience_seconds,
    )


def ask(endpoint, messages=QUESTION, **changes):
    """One question in an event loop of its own."""

    async def work():
        async with endpoint:
            return await endpoint.chat(messages, **{"temperature": 0.5, "max_tokens": 20, **changes})

    return asyncio.run(work())


def ask_many(endpoint, questions) -> list[Any]:
    """Answers or errors of several questions asked at once."""

    async def work():
        async with endpoint:
            chats = [
                endpoint.chat([{"role": "user", "content": question}], temperature=0, max_tokens=20)
                for question in questions
            ]
            return await asyncio.gather(*chats, return_exceptions=True)

    return asyncio.run(work())


def test_an_answer_comes_back_with_tokens_and_cost(serve):
    server = serve(lambda request, number: "Well, thank you.")
    log = MemoryCallLog()
    answer = ask(make_endpoint(server.url, call_log=log, prices=Prices(prompt=1.0, completion=2.0)))
    assert (answer.text, answer.finish_reason, answer.cached) == ("Well, thank you.", "stop", False)
    assert (answer.prompt_tokens, answer.completion_tokens) == (10, 5)
    assert answer.cost == pytest.approx(20e-6)
    assert server.requests == [{"model": "scribe", "messages": QUESTION, "temperature": 0.5, "max_tokens": 20}]
    (call,) = log.calls
    assert (call.outcome, call.attempt, call.endpoint, call.model) == ("ok", 1, "judge", "scribe")
    assert call.latency_seconds > 0


def test_without_prices_the_cost_is_unknown(serve, reply):
    server, budget = serve(lambda request, number: reply("x")), Budget()
    assert ask(make_endpoint(server.url, budget=budget)).cost is None
    assert (budget.spent, budget.unknown) == (0.0, 1)


USAGES = [
    None,
    "no usage",
    {"prompt_tokens": "100", "completion_tokens": "20"},
    {"prompt_tokens": -100, "completion_tokens": 20},
    {"prompt_tokens": True, "completion_tokens": 20},
    {"prompt_tokens": 1e308, "completion_tokens": 20},
    {"prompt_tokens": 10.5, "completion_tokens": 20},
    {"prompt_tokens": 10**30, "completion_tokens": 20},
    {"prompt_tokens": 10**400, "completion_tokens": 20},
    {"prompt_tokens": 20},
    [1],
]


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: str(usage)[:40])
def test_where_an_endpoint_states_no_usable_tokens_the_cost_is_estimated_and_counts(serve, reply, usage):
    server = serve(lambda request, number: reply("Some words in answer to it.", usage=usage))
    budget, log = Budget(), MemoryCallLog()
    answer = ask(make_endpoint(server.url, budget=budget, call_log=log, prices=Prices(prompt=1e6, completion=1e6)))
    (call,) = log.calls
    assert call.is_estimated
    assert answer.cost is not None
    assert 4 < answer.cost < 60  # some twenty tokens
    assert (budget.spent, budget.unknown, budget.estimated) == (answer.cost, 0, 1)
    assert "1 estimated" in log.totals().shown_cost


def test_whole_floats_are_tokens_and_cached_ones_have_their_own_price(serve, reply):
    usage = {"prompt_tokens": 1000.0, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 900}}
    server, log = serve(lambda request, number: reply("x", usage=usage)), MemoryCallLog()
    prices = Prices(prompt=2.0, completion=3.0, cached=0.5)
    assert ask(make_endpoint(server.url, call_log=log, prices=prices)).cost == pytest.approx(
        (100 * 2 + 900 * 0.5 + 20 * 3) * 1e-6
    )
    assert (log.calls[0].cached_tokens, log.calls[0].is_estimated) == (900, False)


def test_a_recorded_answer_is_never_requested_again(serve, tmp_path):
    server = serve(lambda request, number: f"answer {number}")
    with SqliteCallLog(tmp_path / "run.sqlite") as log:
        first = ask(make_endpoint(server.url, call_log=log))
    with SqliteCallLog(tmp_path / "run.sqlite") as log:
        again = ask(make_endpoint(server.url, call_log=log))
        other = ask(make_endpoint(server.url, call_log=log), sample=1)
    assert (first.text, again.text, other.text) == ("answer 1", "answer 1", "answer 2")
    assert again.cached
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.6}, {"max_tokens": 21}, {"top_p": 0.9}, {"sample": 1}, {"attempt": 1}, {"messages": []}],
)
def test_whatever_decides_an_answer_is_part_of_the_request_hash(serve, change):
    server = serve(lambda request, number: "x")
    log = MemoryCallLog()
    plain = ask(make_endpoint(server.url, call_log=log))
    changed = ask(make_endpoint(server.url, call_log=log), **change)
    assert plain.request_hash != changed.request_hash


def test_the_name_of_an_endpoint_is_no_part_of_the_request_hash(serve):
    server = serve(lambda request, number: "x")
    log = MemoryCallLog()
    hashes = {
        ask(Endpoint(name, ModelSpec(base_url=server.url, model="m"), call_log=log)).request_hash for name in ("a", "b")
    }
    assert len(hashes) == len(server.requests) == 1


def test_equal_requests_in_flight_share_one_call(serve, reply):
    server = serve(lambda request, number: reply(f"answer {number}", delay=0.05))
    answers = ask_many(make_endpoint(server.url), ["same"] * 5 + ["other"])
    assert len(server.requests) == 2
    assert len({answer.text for answer in answers[:5]}) == 1
    assert sum(not answer.cached for answer in answers) == 2


def test_no_more_requests_are_in_flight_than_allowed(serve, reply):
    server = serve(lambda request, number: reply("x", delay=0.02))
    ask_many(make_endpoint(server.url, concurrency=3), [f"question {i}" for i in range(12)])
    assert server.most_running == 3


def test_requests_asked_together_start_one_after_another(serve, monkeypatch):
    monkeypatch.setattr("longform.endpoints.client.START_SPACING_SECONDS", 0.05)
    arrivals = []
    server = serve(lambda request, number: arrivals.append(time.perf_counter()) or "x")
    began = time.perf_counter()
    ask_many(make_endpoint(server.url), [f"question {i}" for i in range(8)])
    assert all(arrival - began >= 0.05 * place for place, arrival in enumerate(sorted(arrivals)))


def test_the_last_caller_to_give_up_takes_the_request_down(serve, reply):
    server = serve(lambda request, number: reply("late", delay=0.3))

    async def work():
        async with make_endpoint(server.url) as endpoint:
            chats = [asyncio.create_task(endpoint.chat(QUESTION, temperature=0, max_tokens=5)) for _ in range(2)]
            await asyncio.sleep(0.05)
            chats[0].cancel()
            answer = await chats[1]
            lonely = asyncio.create_task(endpoint.chat(QUESTION, temperature=1, max_tokens=5))
            await asyncio.sleep(0.05)
            lonely.cancel()
            await asyncio.gather(lonely, return_exceptions=True)
            return answer, [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    answer, left = asyncio.run(work())
    assert answer.text == "late"
    assert all(task.cancelling() for task in left)


@pytest.mark.parametrize(
    ("status", "cause"), [(429, "rate_limit"), (500, "server_error"), (503, "server_error"), (408, "timeout")]
)
def test_a_passing_failure_is_retried_and_recorded(serve, reply, status, cause):
    server = serve(lambda request, number: reply("busy", status=status) if number < 3 else "at last")
    log = MemoryCallLog()
    assert ask(make_endpoint(server.url, call_log=log)).text == "at last"
    assert [call.outcome for call in log.calls] == [cause, cause, "ok"]
    assert [call.attempt for call in log.calls] == [1, 2, 3]


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ({"status": 429}, "rate_limit"),
        ({"status": 500}, "server_error"),
        ({"hang_up": True}, "connection"),
        ({"body": "<html>gateway</html>"}, "bad_response"),
        ({"body": '{"choices": []}'}, "bad_response"),
        ({"body": '{"choices": [{"message": {"content": [1]}}]}'}, "bad_response"),
        ({"body": "null"}, "bad_response"),
        ({"text": "  "}, "empty"),
        ({"text": None}, "empty"),
        ({"text": "half", "finish_reason": "content_filter"}, "refused"),
        ({"body": '{"choices": [{"message": {"refusal": "no"}}]}'}, "refused"),
        ({"status": 400, "body": '{"error": {"message": "filtered", "code": "content_filter"}}'}, "refused"),
        ({"status": 400, "text": "This model's maximum context length is 10 tokens"}, "too_long"),
        ({"status": 422, "text": "odd text"}, "rejected"),
    ],
)
def test_a_failure_that_stays_is_an_endpoint_error_with_its_cause(serve, reply, script, cause):
    server = serve(lambda request, number: "fine" if number == 1 else reply(**{"text": "", **script}))
    endpoint = make_endpoint(server.url, patience_seconds=0)
    fine, failed = ask_many(endpoint, ["a"])[0], ask_many(endpoint, ["b"])[0]
    assert fine.text == "fine"
    assert isinstance(failed, EndpointError)
    assert failed.cause == cause
    tries = len(server.requests) - 1
    assert tries == (3 if cause in ("rate_limit", "server_error", "connection", "bad_response", "empty") else 1)


def test_an_answer_that_never_comes_is_a_timeout_of_unknown_cost(serve, reply):
    server = serve(lambda request, number: reply("late", delay=0.5))
    log = MemoryCallLog()
    with pytest.raises(EndpointError, match=r"no answer in 0\.05 s") as caught:
        ask(make_endpoint(server.url, call_log=log, timeout_seconds=0.05, retries=1))
    assert caught.value.cause == "timeout"
    assert [call.cost for call in log.calls] == [None, None]
    assert log.totals().unknown_costs == 2


def test_an_empty_answer_that_used_up_its_tokens_is_not_bought_again(serve, reply):
    server = serve(lambda request, number: reply("", finish_reason="length"))
    with pytest.raises(EndpointError) as caught:
        ask(make_endpoint(server.url))
    assert caught.value.cause == "cut_off"
    assert "max_tokens" in str(caught.value)
    assert len(server.requests) == 1


def test_an_answer_that_was_cut_off_in_its_thoughts_is_bought_again_only_with_a_larger_limit(serve, reply, tmp_path):
    server = serve(lambda request, number: reply("<think>Hm, let me", finish_reason="length"))
    for allowed, requests in ((20, 1), (20, 1), (40, 2)):
        with SqliteCallLog(tmp_path / "calls.sqlite") as log, pytest.raises(EndpointError) as caught:
            ask(make_endpoint(server.url, call_log=log), max_tokens=allowed)
        assert caught.value.cause == "cut_off"
        assert f"at {allowed} tokens" in str(caught.value)
        assert len(server.requests) == requests


def test_retry_after_is_honoured(serve, reply):
    server = serve(lambda request, number: reply(status=429, headers={"Retry-After": "0.3"}) if number == 1 else "x")
    ask(make_endpoint(server.url))
    assert server.times[1] - server.times[0] >= 0.3


def test_the_wait_doubles_from_try_to_try(serve, reply):
    server = serve(lambda request, number: reply(status=500))
    with pytest.raises(EndpointError):
        ask(make_endpoint(server.url, backoff_seconds=0.05))
    first, second = server.times[1] - server.times[0], server.times[2] - server.times[1]
    assert 0.0375 <= first < second


def test_a_rate_of_requests_is_kept(serve):
    server = serve(lambda request, number: "x")

    async def work():
        async with make_endpoint(server.url, rpm=2) as endpoint:
            chats = [endpoint.chat(QUESTION, temperature=0, max_tokens=5, sample=i) for i in range(3)]
            await asyncio.wait([asyncio.ensure_future(chat) for chat in chats], timeout=1.0)

    asyncio.run(work())
    assert len(server.requests) == 2


def test_a_rate_of_tokens_is_kept(serve):
    server = serve(lambda request, number: "x")

    async def work():
        async with make_endpoint(server.url, tpm=250) as endpoint:
            chats = [endpoint.chat(QUESTION, temperature=0, max_tokens=100, sample=i) for i in range(3)]
            await asyncio.wait([asyncio.ensure_future(chat) for chat in chats], timeout=1.0)

    asyncio.run(work())
    assert len(server.requests) == 2


def test_a_connection_that_breaks_may_have_been_paid_for_and_one_that_never_stood_was_not(serve, reply):
    server = serve(lambda request, number: reply("", hang_up=True))
    for url, cost in ((server.url, None), (_unused_url(), 0.0)):
        log = MemoryCallLog()
        with pytest.raises((EndpointError, BadInputError)):
            ask(make_endpoint(url, call_log=log, retries=1))
        assert [(call.outcome, call.cost) for call in log.calls] == [("connection", cost)] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header: x\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["other words", "a broken chunk", "a broken header", "a long header"],
)
def test_an_answer_that_is_no_http_is_a_failed_call_on_record(answer):
    log = MemoryCallLog()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak():
            for _ in range(2):
                connection, _ = server.accept()
                with connection, suppress(OSError):  # the client may give up before the end
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=speak, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises((EndpointError, BadInputError)) as caught:
            ask(make_endpoint(url, call_log=log, retries=1))
    assert "\n" not in str(caught.value)
    assert [(call.outcome, call.cost) for call in log.calls] == [("connection", None)] * 2


@pytest.mark.parametrize("with_key", [False, True])
def test_user_and_password_of_an_address_stand_in_a_header(serve, monkeypatch, with_key):
    server = serve(lambda request, number: "fine")
    monkeypatch.setenv("TEST_KEY", "k")
    url = server.url.replace("http://", "http://ann:p%40ss@")
    answer = ask(make_endpoint(url, key_env="TEST_KEY" if with_key else None))
    assert answer.text == "fine"
    assert server.headers[0]["authorization"] == f"Basic {b64encode(b'ann:p@ss').decode()}"


def _unused_url():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"


@pytest.mark.parametrize("is_running", [True, False])
def test_a_proxy_that_fails_is_not_taken_for_the_endpoint(serve, monkeypatch, is_running):
    address = serve(lambda request, number: "").url.removesuffix("/v1") if is_running else "http://127.0.0.1:9"
    monkeypatch.setenv("https_proxy", address)
    with pytest.raises(BadInputError, match="cannot be reached: the proxy that the environment names") as caught:
        ask(make_endpoint("https://api.example.com/v1"))
    assert ("refuses it: HTTP 501" in str(caught.value)) == is_running


def test_an_endpoint_that_is_down_is_one_clear_line():
    url = _unused_url()
    with pytest.raises(BadInputError) as caught:
        ask(make_endpoint(url))
    assert "judge" in str(caught.value)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, BadInputError, "refuses the key from $TEST_KEY"),
        (403, BadInputError, "refuses the key from $TEST_KEY"),
        (404, BadInputError, "has no model 'scribe'"),
        (402, StoppedError, "out of credit"),
    ],
)
def test_a_wrong_setting_is_one_line_at_once(serve, reply, monkeypatch, status, error, words):
    monkeypatch.setenv("TEST_KEY", KEY)
    server = serve(lambda request, number: reply(f"bad {KEY}\nkey", status=status))
    log = MemoryCallLog()
    with pytest.raises(error) as caught:
        ask(make_endpoint(server.url, call_log=log, key_env="TEST_KEY"))
    message = str(caught.value)
    assert words in message
    assert server.url in message
    assert "\n" not in message
    assert len(server.requests) == 1
    assert [call.outcome for call in log.calls] == ["fatal"]


def test_a_first_400_is_taken_for_a_setting_once_a_second_request_gets_it_too(serve, reply):
    server = serve(lambda request, number: reply("no such field", status=400))
    endpoint = make_endpoint(server.url)
    first, again, second = (ask_many(endpoint, [text])[0] for text in ("odd", "odd", "even"))
    for failed in (first, again):
        assert isinstance(failed, EndpointError)
        assert failed.cause == "rejected"
    assert isinstance(second, BadInputError)
    assert "rejects every request: HTTP 400: no such field" in str(second)


def test_a_refused_text_does_not_stop_the_others(serve, reply):
    def script(request, number):
        return reply("odd", status=400) if "odd" in request["messages"][0]["content"] else "fine"

    server = serve(script)
    odd, even, stranger = ask_many(make_endpoint(server.url, concurrency=1), ["odd", "even", "oddly"])
    assert (odd.cause, even.text, stranger.cause) == ("rejected", "fine", "rejected")


def test_an_endpoint_that_is_down_is_not_waited_for_because_of_what_is_on_record(serve):
    log = MemoryCallLog()
    server = serve(lambda request, number: "x")
    ask(make_endpoint(server.url, call_log=log), temperature=0, max_tokens=20)
    server.shutdown()
    server.server_close()
    endpoint = make_endpoint(server.url, call_log=log, retries=0)
    known, new = ask_many(endpoint, [QUESTION[0]["content"], "new"])
    assert known.cached
    assert isinstance(new, BadInputError)
    assert "is it running?" in str(new)


def test_an_endpoint_that_wants_a_key_says_where_to_name_it(serve, reply):
    server = serve(lambda request, number: reply("who are you", status=401))
    with pytest.raises(BadInputError, match="key_env"):
        ask(make_endpoint(server.url))


def test_used_up_quota_stops_the_run_instead_of_waiting_for_it(serve, reply):
    body = json.dumps({"error": {"message": "pay", "code": "insufficient_quota"}})
    server = serve(lambda request, number: reply(status=429, body=body))
    with pytest.raises(StoppedError, match="out of credit"):
        ask(make_endpoint(server.url))
    assert len(server.requests) == 1


def test_the_key_is_sent_and_shows_up_nowhere_else(serve, reply, monkeypatch, caplog):
    monkeypatch.setenv("TEST_KEY", f"{KEY}\n")
    server = serve(lambda request, number: "x" if number == 1 else reply(f"you sent {KEY}", status=422))
    log = MemoryCallLog()
    endpoint = make_endpoint(server.url, call_log=log, key_env="TEST_KEY")
    caplog.set_level("DEBUG")
    (answer,) = ask_many(endpoint, ["a"])
    (failed,) = ask_many(endpoint, ["b"])
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    shown = [repr(endpoint), repr(endpoint.spec), repr(answer), repr(failed), str(failed), repr(log.calls), caplog.text]
    assert isinstance(failed, EndpointError)
    assert not any(KEY in text for text in shown)


def test_a_missing_key_is_named_by_its_variable_only_when_a_call_is_made(serve, monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    server = serve(lambda request, number: "x")
    log = MemoryCallLog()
    endpoint = make_endpoint(server.url, call_log=log, key_env="TEST_KEY")
    with pytest.raises(BadInputError, match="TEST_KEY"):
        ask(endpoint)
    ask(make_endpoint(server.url, call_log=log))
    assert ask(endpoint).cached


def test_an_unusable_key_is_refused_without_being_shown(serve, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-schlüssel")
    server = serve(lambda request, number: "x")
    with pytest.raises(BadInputError) as caught:
        ask(make_endpoint(server.url, key_env="TEST_KEY"))
    assert "schlüssel" not in str(caught.value)


def test_a_spent_budget_stops_before_the_next_call(serve):
    server = serve(lambda request, number: "x")
    budget = Budget(15e-6, resume="--set run.budget=1")
    endpoint = make_endpoint(server.url, budget=budget, prices=Prices(prompt=1, completion=0), concurrency=1)
    outcomes = ask_many(endpoint, ["a", "b", "c"])
    assert [outcome.text for outcome in outcomes[:2]] == ["x", "x"]
    assert isinstance(outcomes[2], StoppedError)
    assert "run.budget=1" in str(outcomes[2])
    assert len(server.requests) == 2


def test_a_recorded_answer_costs_no_budget(serve):
    server = serve(lambda request, number: "x")
    log = MemoryCallLog()
    ask(make_endpoint(server.url, call_log=log))
    assert ask(make_endpoint(server.url, call_log=log, budget=Budget(1.0, spent=1.0))).cached


def test_one_endpoint_serves_several_event_loops_at_once(serve, reply):
    server = serve(lambda request, number: reply(request["messages"][0]["content"], delay=0.02))
    endpoint = make_endpoint(server.url)
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: ask_many(endpoint, [f"{i} {j}" for j in range(5)])}))
        for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: [a.text for a in answers] for i, answers in found.items()} == {
        i: [f"{i} {j}" for j in range(5)] for i in range(3)
    }


def test_texts_that_no_encoding_holds_do_not_break_a_call(serve, tmp_path, reply):
    body = r'{"choices": [{"message": {"content": "broken \ud83d emoji"}, "finish_reason": "stop"}]}'
    server = serve(lambda request, number: reply(body=body))
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        answer = ask(make_endpoint(server.url, call_log=log), [{"role": "user", "content": "half \ud83d"}])
    assert answer.text == "broken ? emoji"


def test_a_request_that_is_stopped_on_its_way_is_on_record_and_counts_against_the_budget(serve, reply):
    server = serve(lambda request, number: reply("late", delay=1.0))
    log, budget = MemoryCallLog(), Budget()

    async def stopped():
        spec = ModelSpec(base_url=server.url, model="m", prices=Prices(prompt=1, completion=1))
        async with Endpoint("judge", spec, call_log=log, budget=budget) as endpoint:
            task = asyncio.ensure_future(
                endpoint.chat([{"role": "user", "content": "word " * 100}], temperature=0, max_tokens=5)
            )
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0)  # the flight ends after its last caller

    asyncio.run(stopped())
    assert [(call.outcome, call.is_estimated) for call in log.calls] == [("connection", True)]
    assert budget.spent > 0
