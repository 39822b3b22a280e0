"""Candidates from an endpoint: every response kept, every failure counted by its cause and tried again."""

import asyncio

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows
from longform.records.schemas import Prompt, Response
from longform.selection.generate import TextCounts, collect_responses, count_texts
from longform.writers.endpoint import EndpointWriter

PROMPTS = [Prompt(id=f"p{i}", prompt=f"write {i}") for i in range(6)]


def _request(body):
    return body["messages"][-1]["content"]


def _generate(server, out, *, samples=1, prompts=PROMPTS, log=None, seen=None, **spec):
    seen = [] if seen is None else seen

    async def work():
        model = ModelSpec(base_url=server.url, model="m", retries=0, **spec)
        async with Endpoint("alpha", model, call_log=log or MemoryCallLog(), backoff_seconds=0.001) as endpoint:
            writer = EndpointWriter(endpoint, max_tokens=50, temperature=1.0)
            return await collect_responses(
                prompts, writer, samples=samples, out=out, on_progress=lambda *progress: seen.append(progress)
            )

    return asyncio.run(work())


def test_every_prompt_gets_its_samples_in_the_order_of_the_prompts(serve, reply, tmp_path):
    def script(request, number):
        return reply(f"{_request(request)} #{number}", delay=0.05 if "write 0" in _request(request) else 0)

    seen = []
    result = _generate(serve(script), tmp_path / "r.jsonl", samples=2, seen=seen)
    rows = list(read_rows(tmp_path / "r.jsonl", Response))
    assert [row.key for row in rows] == [(f"p{i}", "alpha", sample) for i in range(6) for sample in range(2)]
    assert all(row.text.startswith(f"write {row.prompt_id[1:]} #") for row in rows)
    assert len({row.text for row in rows}) == 12, "two samples are two answers"
    assert (result.rows, result.added, result.failures) == (12, 12, {})
    assert seen == [(done, 12) for done in range(1, 13)]


def test_a_failure_has_a_cause_no_row_and_another_try(serve, reply, tmp_path):
    troubles = {
        "write 1": reply("busy", status=500),
        "write 2": reply(""),
        "write 3": reply("no", finish_reason="content_filter"),
    }

    def script(request, number):
        return troubles.get(_request(request), "a text")

    result = _generate(serve(script), tmp_path / "r.jsonl")
    assert [row.prompt_id for row in read_rows(tmp_path / "r.jsonl", Response)] == ["p0", "p4", "p5"]
    assert result.failures == {"server_error": 1, "empty": 1, "refused": 1}

    again = serve(lambda request, number: "mended")
    result = _generate(again, tmp_path / "r.jsonl")
    assert sorted(map(_request, again.requests)) == ["write 1", "write 2", "write 3"]
    assert (result.rows, result.added, result.failures) == (6, 3, {})
    assert [row.prompt_id for row in read_rows(tmp_path / "r.jsonl", Response)] == [it.id for it in PROMPTS]


def test_a_stopped_command_goes_on_where_it_was(serve, reply, tmp_path):
    def script(request, number):
        return reply("no credit", status=402) if number == 4 else "a text"

    with pytest.raises(StoppedError, match="out of credit"):
        _generate(serve(script), tmp_path / "r.jsonl", concurrency=1)
    assert not (tmp_path / "r.jsonl").exists()
    again = serve(lambda request, number: "a text")
    result = _generate(again, tmp_path / "r.jsonl")
    assert len(again.requests) == 3
    assert (result.rows, result.added) == (6, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_an_answer_on_record_is_not_paid_for_again(serve, tmp_path):
    log = MemoryCallLog()
    server = serve(lambda request, number: "a text")
    _generate(server, tmp_path / "r.jsonl", log=log)
    (tmp_path / "r.jsonl").unlink()
    result = _generate(server, tmp_path / "r.jsonl", log=log)
    assert (result.rows, len(server.requests)) == (6, 6)


def test_an_endpoint_that_is_down_ends_the_command_at_once(serve, tmp_path):
    server = serve(lambda request, number: "a text")
    server.shutdown()
    server.server_close()
    with pytest.raises(BadInputError, match=r"endpoint alpha at .* cannot be reached"):
        _generate(server, tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_more_prompts_and_another_writer_add_to_the_same_file(serve, tmp_path):
    server = serve(lambda request, number: "a text")
    _generate(server, tmp_path / "r.jsonl", prompts=PROMPTS[:2])
    _generate(server, tmp_path / "r.jsonl", prompts=PROMPTS[1:4])
    assert len(server.requests) == 4
    assert [row.prompt_id for row in read_rows(tmp_path / "r.jsonl", Response)] == ["p1", "p2", "p3", "p0"]


def test_empty_cut_off_and_malformed_texts_and_those_with_thoughts_are_counted():
    def response(text="text", finish_reason="stop", **meta):
        return Response(prompt_id="p", model="m", text=text, finish_reason=finish_reason, meta=meta)

    rows = [
        response(),
        response(" \n", well_formed=True),
        response(finish_reason="length", well_formed=False),
        response("", "length", thoughts="Hm."),
        response(sound=False, thoughts=""),
    ]
    assert count_texts(rows) == TextCounts(empty=2, cut_off=2, without_structure=2, with_thoughts=1)


def test_the_counts_include_texts_of_earlier_calls(serve, reply, tmp_path):
    server = serve(lambda request, number: reply("half", finish_reason="length"))
    for added in (6, 0):
        result = _generate(server, tmp_path / "r.jsonl")
        assert (result.added, result.texts.cut_off) == (added, 6)
