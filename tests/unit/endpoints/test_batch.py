"""Requests through a batch API, against a loopback server that speaks OpenAI's protocol."""

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from longform.endpoints import batch
from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec, Prices
from longform.records.calls import MemoryCallLog, SqliteCallLog
from longform.records.errors import BadInputError, StoppedError


class BatchServer(ThreadingHTTPServer):
    """Files and batches in memory; a batch is done at the third question about it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls = 0
        self.polls_until_done = 3
        self.answers: dict[str, dict[str, Any] | None] = {}
        """What to answer to a question, instead of its echo."""
        self.lost: set[str] = set()
        """Questions without a line in the file of answers."""
        self.page: list[dict[str, Any]] = []
        """The first page of the list of batches, where it has two."""
        self.ended: dict[str, Any] = {}
        """Further fields of a batch that is done."""
        self.refuses: str | None = None
        self.broken: dict[str, list[Any]] = {}
        """By a part of the path: statuses to answer with, or None to break the connection, before the right answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def finish(self, batch: dict[str, Any]) -> None:
        rows = []
        for line in self.files[batch["input_file_id"]].splitlines():
            request = json.loads(line)
            question = request["body"]["messages"][-1]["content"]
            if question in self.lost:
                continue
            body = {
                "choices": [{"message": {"content": f"Re: {question}"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 10},
            }
            response = self.answers.get(question, {"status_code": 200, "body": body})
            rows.append(json.dumps({"custom_id": request["custom_id"], "response": response, "error": None}))
        out = f"out-{batch['id']}"
        self.files[out] = "\n".join(reversed(rows)) + "\n"  # in any order
        batch |= {"status": "completed", "output_file_id": out} | self.ended


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one piece

    @property
    def batch_server(self) -> BatchServer:
        assert isinstance(self.server, BatchServer)
        return self.server

    def reply(self, content: object, status: int = 200) -> None:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fails(self) -> bool:
        for part, statuses in self.batch_server.broken.items():
            if statuses and self.path.endswith(part):
                status = statuses.pop(0)
                if status is None:
                    self.close_connection = True
                else:
                    self.reply({"error": {"message": f"broken {self.headers['Authorization']}"}}, status)
                return True
        return False

    def do_POST(self) -> None:
        server = self.batch_server
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path != "/v1/batches" and self.fails():
            return None
        if self.path == "/v1/files":
            found = re.search(r'filename="requests.jsonl".*?\r\n\r\n(.*?)\r\n--', body, re.DOTALL)
            assert found
            assert 'name="purpose"' in body
            server.files[f"file-{len(server.files)}"] = found[1]
            return self.reply({"id": f"file-{len(server.files) - 1}"})
        if server.refuses:
            return self.reply({"error": {"message": server.refuses}}, 400)
        batch = json.loads(body) | {"id": f"batch-{len(server.batches)}", "status": "in_progress"}
        server.batches[batch["id"]] = batch
        return None if self.fails() else self.reply(batch)

    def do_GET(self) -> None:
        server = self.batch_server
        if self.fails():
            return None
        if self.path.startswith("/v1/batches?"):
            if server.page and "after=" not in self.path:
                return self.reply({"data": server.page, "has_more": True})
            return self.reply({"data": list(server.batches.values())})
        if self.path.startswith("/v1/batches/"):
            batch = server.batches[self.path.rsplit("/", 1)[1]]
            server.polls += 1
            if server.polls >= server.polls_until_done and batch["status"] == "in_progress":
                server.finish(batch)
            return self.reply(batch)
        if self.path.endswith("/content"):
            content = server.files.get(self.path.split("/")[-2])
            return self.reply({"error": {"message": "No such file"}}, 404) if content is None else self.reply(content)
        return self.reply({}, 404)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture(autouse=True)
def _short_quiet(monkeypatch):
    """The tests' questions are asked at once, so a tenth of a second tells that no other follows."""
    monkeypatch.setattr(batch, "QUIET_SECONDS", 0.1)


@pytest.fixture
def server():
    running = BatchServer()
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def ask(server, log, questions, *, budget=None, **spec) -> list[Any]:
    spec = ModelSpec(
        base_url=server.url, model="m", batch=True, retries=1, prices=Prices(prompt=1e6, completion=1e6), **spec
    )

    async def work():
        endpoint = Endpoint("judge", spec, call_log=log, budget=budget, backoff_seconds=0.01, batch_poll_seconds=0.02)
        async with endpoint:
            chats = [endpoint.chat([{"role": "user", "content": it}], temperature=0, max_tokens=10) for it in questions]
            return await asyncio.gather(*chats, return_exceptions=True)

    return asyncio.run(work())


QUESTIONS = [f"question {number}" for number in range(50)]


def test_requests_that_arrive_together_are_one_batch_at_half_the_price(server, tmp_path):
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        budget = Budget()
        answers = ask(server, log, QUESTIONS, budget=budget)
        assert [it.text for it in answers] == [f"Re: {it}" for it in QUESTIONS]
        assert len(server.batches) == 1
        assert {it.cost for it in answers} == {10.0}  # half of 20 tokens at 1
        assert budget.spent == 500
        assert log.open_batches() == []
        assert all(it.cached for it in ask(server, log, QUESTIONS))
    assert len(server.batches) == 1


def test_a_command_that_was_stopped_waits_for_its_batch_and_submits_nothing_twice(server, tmp_path):
    server.polls_until_done = 10**9
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        spec = ModelSpec(base_url=server.url, model="m", batch=True)

        async def stopped():
            endpoint = Endpoint("judge", spec, call_log=log, batch_poll_seconds=0.02)
            async with endpoint:
                chats = [
                    endpoint.chat([{"role": "user", "content": it}], temperature=0, max_tokens=10) for it in QUESTIONS
                ]
                await asyncio.wait([asyncio.ensure_future(it) for it in chats], timeout=1.5)

        asyncio.run(stopped())
        assert len(log.open_batches()) == 1
    server.polls_until_done = 0
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        answers = ask(server, log, [*QUESTIONS, "new"])
        assert [it.text for it in answers] == [f"Re: {it}" for it in [*QUESTIONS, "new"]]
    asked = [
        json.loads(line)["custom_id"]
        for batch in server.batches.values()
        for line in server.files[batch["input_file_id"]].splitlines()
    ]
    assert len(asked) == len(set(asked)) == len(QUESTIONS) + 1


@pytest.mark.parametrize("created", [True, False])
def test_a_batch_whose_creation_was_not_recorded_is_found_by_its_tag_or_made(server, tmp_path, created):
    """The process died between asking for the batch and recording its id."""
    server.polls_until_done = 0
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        ask(server, log, QUESTIONS)
    (batch,) = server.batches.values()
    hashes = [json.loads(line)["custom_id"] for line in server.files[batch["input_file_id"]].splitlines()]
    if not created:
        server.batches.clear()
    with SqliteCallLog(tmp_path / "other.sqlite") as log:
        log.begin_batch(batch["metadata"]["longform"], hashes)
        assert len(ask(server, log, QUESTIONS)) == len(QUESTIONS)
        assert log.open_batches() == []
    assert len(server.batches) == 1


def test_a_failure_of_one_request_is_its_own_and_a_transient_one_is_tried_in_another_batch(server, tmp_path):
    server.polls_until_done = 0
    refused = {"status_code": 400, "body": {"error": {"message": "Content Exists Risk"}}}
    server.answers = {QUESTIONS[0]: refused, QUESTIONS[1]: {"status_code": 500, "body": {}}}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        first, second, third = ask(server, log, QUESTIONS[:3])
    assert isinstance(first, EndpointError)
    assert isinstance(second, EndpointError)
    assert (first.cause, second.cause, third.text) == ("refused", "server_error", f"Re: {QUESTIONS[2]}")
    assert len(server.batches) == 2


def test_answers_of_a_batch_are_read_in_the_variants_that_providers_send(server, tmp_path):
    server.polls_until_done = 0
    server.ended = {"status": "COMPLETED", "error_file_id": "gone"}
    body = {"choices": [{"message": {"content": "A fine day."}, "finish_reason": "stop"}]}
    variants = ({"status_code": "200", "body": body}, {"body": body}, {"status_code": 200, "body": json.dumps(body)})
    server.answers = dict(zip(QUESTIONS, variants, strict=False))
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        assert [it.text for it in ask(server, log, QUESTIONS[:3])] == ["A fine day."] * 3
    assert len(server.batches) == 1


def test_a_batch_whose_answers_are_gone_is_submitted_again_by_the_next_command_alone(server, tmp_path):
    server.polls_until_done = 0
    server.ended = {"output_file_id": "gone"}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed,) = ask(server, log, QUESTIONS[:1])
        assert isinstance(failed, StoppedError)
        assert "are gone (HTTP 404)" in str(failed)
        assert (len(server.batches), log.open_batches()) == (1, [])
        server.ended = {}
        assert [it.text for it in ask(server, log, QUESTIONS[:1])] == [f"Re: {QUESTIONS[0]}"]


def test_a_refused_batch_stops_the_command_with_the_providers_words(server, tmp_path):
    server.refuses = "Enqueued token limit reached"
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed,) = ask(server, log, QUESTIONS[:1])
    assert isinstance(failed, StoppedError)
    assert "Enqueued token limit reached" in str(failed)


def test_a_batch_that_may_cost_more_than_the_budget_is_not_submitted(server, tmp_path):
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed, *_) = ask(server, log, QUESTIONS, budget=Budget(100))
    assert isinstance(failed, StoppedError)
    assert "a batch of 50 requests may cost up to" in str(failed)
    assert not server.batches


def test_batches_need_a_log_in_a_file(server):
    (failed,) = ask(server, MemoryCallLog(), QUESTIONS[:1])
    assert isinstance(failed, BadInputError)


@pytest.mark.parametrize("failure", [None, 500, 429])
@pytest.mark.parametrize("path", ["/files", "/batch-0", "/content"])
def test_a_failure_on_the_way_to_the_answers_passes_and_submits_nothing_twice(server, tmp_path, path, failure):
    server.polls_until_done = 0
    server.broken = {path: [failure, failure]}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        answers = ask(server, log, QUESTIONS)
    assert [it.text for it in answers] == [f"Re: {it}" for it in QUESTIONS]
    assert len(server.batches) == 1


@pytest.mark.parametrize("failure", [None, 500])
def test_a_batch_that_was_created_without_an_answer_is_found_by_the_next_command(server, tmp_path, failure):
    server.polls_until_done = 0
    server.broken = {"/batches": [failure]}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        assert all(isinstance(it, StoppedError) for it in ask(server, log, QUESTIONS))
        answers = ask(server, log, QUESTIONS)
    assert [it.text for it in answers] == [f"Re: {it}" for it in QUESTIONS]
    assert len(server.batches) == 1


def test_answers_of_an_earlier_batch_are_kept_for_questions_that_come_later(server, tmp_path):
    server.polls_until_done = 0
    with SqliteCallLog(tmp_path / "first.sqlite") as log:
        ask(server, log, QUESTIONS)
    (batch,) = server.batches.values()
    hashes = [json.loads(line)["custom_id"] for line in server.files[batch["input_file_id"]].splitlines()]
    spec = ModelSpec(base_url=server.url, model="m", batch=True)
    with SqliteCallLog(tmp_path / "second.sqlite") as log:
        log.begin_batch("tag", hashes)
        log.set_batch_id("tag", batch["id"])

        async def one_by_one():
            endpoint = Endpoint("judge", spec, call_log=log, batch_poll_seconds=0.02)
            async with endpoint, asyncio.timeout(20):
                return [
                    await endpoint.chat([{"role": "user", "content": it}], temperature=0, max_tokens=10)
                    for it in QUESTIONS[:5]
                ]

        assert [it.text for it in asyncio.run(one_by_one())] == [f"Re: {it}" for it in QUESTIONS[:5]]
        assert len(log.open_batches()) == 1  # forty-five answers are paid for and not on record
        assert len(asyncio.run(one_by_one())) == 5
        assert len(ask(server, log, QUESTIONS)) == len(QUESTIONS)
        assert log.open_batches() == []
    assert len(server.batches) == 1


def test_a_batch_that_was_cancelled_is_not_submitted_again_by_the_same_command(server, tmp_path):
    server.finish = lambda batch: batch.update(status="cancelled")
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed, *_) = ask(server, log, QUESTIONS)
        assert log.open_batches() == []
    assert isinstance(failed, StoppedError)
    assert "cancelled" in str(failed)
    assert len(server.batches) == 1


def test_what_a_batch_may_cost_is_set_aside_while_it_is_under_way(server, tmp_path):
    server.polls_until_done = 10**9
    spec = ModelSpec(base_url=server.url, model="m", batch=True, prices=Prices(prompt=0, completion=1e6))

    async def two_batches(log):
        endpoint = Endpoint("judge", spec, call_log=log, budget=Budget(8), batch_poll_seconds=0.02)
        async with endpoint:
            first = asyncio.ensure_future(
                endpoint.chat([{"role": "user", "content": "1"}], temperature=0, max_tokens=10)
            )
            await asyncio.sleep(1.0)
            with pytest.raises(StoppedError, match=r"5\.0000 that are spent or submitted"):
                await endpoint.chat([{"role": "user", "content": "2"}], temperature=0, max_tokens=10)
            first.cancel()

    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        asyncio.run(two_batches(log))
    assert len(server.batches) == 1


def test_a_refusal_that_quotes_the_key_does_not_show_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCH_KEY", "sk-very-secret")
    server.broken = {"/files": [403]}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed,) = ask(server, log, QUESTIONS[:1], key_env="BATCH_KEY")
    assert isinstance(failed, StoppedError)
    assert "broken" in str(failed)
    assert "very-secret" not in str(failed)


@pytest.mark.parametrize("body", ["{}", "[]", '{"id": 5}', "null"])
def test_an_answer_without_an_id_is_one_line(server, tmp_path, body):
    class Odd(_Handler):
        def reply(self, content: object, status: int = 200) -> None:
            super().reply(body, status)

    server.RequestHandlerClass = Odd
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed,) = ask(server, log, QUESTIONS[:1])
    assert isinstance(failed, StoppedError)
    assert "the upload was refused" in str(failed)


def test_requests_beyond_one_file_are_several_batches_and_one_that_got_no_answer_is_asked_again(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(batch, "MAX_FILE_BYTES", 400)  # of two or three requests
    server.polls_until_done = 0
    server.lost, server.answers = {QUESTIONS[0]}, {QUESTIONS[1]: None}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        first, second, *others = ask(server, log, QUESTIONS[:6])
    assert len(server.batches) >= 3
    assert [it.text for it in others] == [f"Re: {it}" for it in QUESTIONS[2:6]]
    assert isinstance(first, EndpointError) and "no answer in batch" in str(first)
    assert isinstance(second, EndpointError) and second.cause == "server_error"


def test_answers_that_are_refused_and_batches_that_are_listed_on_later_pages(server, tmp_path):
    server.polls_until_done = 0
    server.broken = {"/content": [403]}
    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        (failed,) = ask(server, log, QUESTIONS[:1])
    assert isinstance(failed, StoppedError) and "file of answers" in str(failed)
    (made,) = server.batches.values()
    hashes = [json.loads(line)["custom_id"] for line in server.files[made["input_file_id"]].splitlines()]
    server.page = [{"id": f"batch-of-others-{number}"} for number in range(3)]
    with SqliteCallLog(tmp_path / "other.sqlite") as log:
        log.begin_batch(made["metadata"]["longform"], hashes)
        assert [it.text for it in ask(server, log, QUESTIONS[:1])] == [f"Re: {QUESTIONS[0]}"]
    assert len(server.batches) == 1
