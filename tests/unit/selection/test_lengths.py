"""Length ranges over HTTP: what gets one, what is dropped and why, and that nothing is asked twice."""

import asyncio
import json

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec, Prices
from longform.judging.requests import LengthJudge
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows
from longform.records.schemas import Prompt
from longform.selection.lengths import collect_lengths, predict_lengths
from longform.text.length_rules import Rule

PROMPTS = [
    Prompt.model_validate({"id": f"p{i}", "prompt": f"request {i}", "meta": {"source": "log"}, "stars": i})
    for i in range(5)
]


def _range(low, high):
    return json.dumps({"range": [low, high]})


def _number(request):
    return next(i for i in range(5) if f"request {i}" in request["messages"][0]["content"])


def _predict(server, out, *, prompts=PROMPTS, log=None, limit=None, refresh=False, retries=2):
    async def work():
        prices = Prices(prompt=1e5, completion=0)
        spec = ModelSpec(base_url=server.url, model="j", retries=0, concurrency=2, prices=prices)
        async with Endpoint(
            "judge", spec, call_log=log or MemoryCallLog(), budget=Budget(limit), backoff_seconds=0.001
        ) as endpoint:
            judge = LengthJudge(endpoint, secret=b"s", retries=retries)
            return await collect_lengths(prompts, judge, refresh=refresh, out=out, on_progress=lambda done, total: None)

    return asyncio.run(work())


def _ranges(path):
    return {row.id: row.length_range for row in read_rows(path, Prompt)}


def test_prompts_get_their_range_and_keep_everything_else(serve, tmp_path):
    result = _predict(serve(lambda request, number: _range(800, 1000)), tmp_path / "l.jsonl")
    changed = {"length_range": [800, 1000], "meta": {"source": "log", "length_judge": "judge"}}
    rows = [json.loads(row.model_dump_json()) for row in read_rows(tmp_path / "l.jsonl", Prompt)]
    assert rows == [json.loads(prompt.model_dump_json()) | changed for prompt in PROMPTS]
    assert (result.rows, result.given, result.repeated, result.answered) == (5, 0, 0, 5)


def test_what_gets_no_range_is_counted_by_cause(serve, reply, tmp_path):
    answers = {0: _range(0, 0), 1: _range(850, 9000), 2: "long", 3: reply("busy", status=503), 4: _range(800, 1000)}
    result = _predict(serve(lambda request, number: answers[_number(request)]), tmp_path / "l.jsonl")
    assert _ranges(tmp_path / "l.jsonl") == {"p4": (800, 1000)}
    assert (result.rows, result.unwritten, result.broken) == (1, 1, 1)
    assert result.rules == {Rule.GRID: 1, Rule.SPAN: 1}
    assert result.failures == {"no_range": 1, "server_error": 1}


def test_a_range_is_asked_for_again_as_often_as_wanted(serve, tmp_path):
    server = serve(lambda request, number: _range(0, 5000))
    with pytest.raises(BadInputError, match=r"no prompt has a length \(0 got \[0, 0\], 5 broke the rules\)"):
        _predict(server, tmp_path / "l.jsonl", retries=0)
    assert len(server.requests) == 5
    assert list(tmp_path.iterdir()) == []
    mending = serve(
        lambda request, number: _range(0, 500 if "[0, 5000]" in request["messages"][0]["content"] else 5000)
    )
    result = _predict(mending, tmp_path / "l.jsonl", retries=1)
    assert (result.rows, result.repeated, result.broken, len(mending.requests)) == (5, 5, 0, 10)


def test_prompts_with_a_range_stay_as_they_are_unless_asked_again(serve, tmp_path):
    given = [PROMPTS[0].model_copy(update={"length_range": (1, 7)}), *PROMPTS[1:]]
    server = serve(lambda request, number: _range(800, 1000))
    result = _predict(server, tmp_path / "l.jsonl", prompts=given)
    rows = list(read_rows(tmp_path / "l.jsonl", Prompt))
    assert (rows[0], result.given, len(server.requests)) == (given[0], 1, 4)
    assert _predict(server, tmp_path / "all.jsonl", prompts=given, refresh=True).given == 0
    assert set(_ranges(tmp_path / "all.jsonl").values()) == {(800, 1000)}


def test_a_given_range_stays_where_asking_again_brings_no_answer(serve, reply, tmp_path):
    answers = {0: _range(0, 0), 1: _range(850, 9000), 2: "long", 3: reply("busy", status=503), 4: _range(800, 1000)}
    given = [prompt.model_copy(update={"length_range": (100, 200)}) for prompt in PROMPTS]
    server = serve(lambda request, number: answers[_number(request)])
    result = _predict(server, tmp_path / "l.jsonl", prompts=given, refresh=True)
    rows = list(read_rows(tmp_path / "l.jsonl", Prompt))
    assert rows[:2] == given[2:4]
    assert _ranges(tmp_path / "l.jsonl") == {"p2": (100, 200), "p3": (100, 200), "p4": (800, 1000)}
    assert (result.rows, result.given, result.unwritten, result.broken, result.answered) == (3, 2, 1, 1, 3)
    assert result.failures == {"no_range": 1, "server_error": 1}


def test_nothing_is_written_where_asking_again_brings_no_answer_at_all(serve, reply, tmp_path):
    given = [prompt.model_copy(update={"length_range": (100, 200)}) for prompt in PROMPTS]
    server = serve(lambda request, number: reply("busy", status=503))
    result = _predict(server, tmp_path / "l.jsonl", prompts=given, refresh=True)
    assert (result.answered, result.failures) == (0, {"server_error": 5})
    assert list(tmp_path.iterdir()) == []


def test_failures_are_tried_again_and_answers_are_not(serve, reply, tmp_path):
    server, log = (
        serve(lambda request, number: reply(status=503) if _number(request) < 2 else _range(800, 1000)),
        MemoryCallLog(),
    )
    assert _predict(server, tmp_path / "l.jsonl", log=log).failures == {"server_error": 2}
    server.script = lambda request, number: _range(100, 200)
    asked = len(server.requests)
    _predict(server, tmp_path / "l.jsonl", log=log)
    assert len(server.requests) == asked + 2
    assert list(_ranges(tmp_path / "l.jsonl").items()) == [
        ("p0", (100, 200)), ("p1", (100, 200)), ("p2", (800, 1000)), ("p3", (800, 1000)), ("p4", (800, 1000))
    ]  # fmt: skip


def test_a_spent_budget_stops_and_what_was_paid_for_is_not_asked_again(serve, tmp_path):
    server, log = serve(lambda request, number: _range(800, 1000)), MemoryCallLog()
    with pytest.raises(StoppedError, match="budget"):
        _predict(server, tmp_path / "l.jsonl", log=log, limit=2.0)
    assert _predict(server, tmp_path / "l.jsonl", log=log).rows == 5
    assert len(server.requests) == 5


def test_prompts_whose_words_cannot_be_counted_are_refused_before_a_call(tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    rows = [Prompt(id="en", prompt="Write."), Prompt(id="th", prompt="เขียนเรื่องเกี่ยวกับทะเล")]
    prompts.write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(
        BadInputError, match=r"prompt th: the words of its language cannot be counted.*1 of 2.*--language"
    ):
        predict_lengths(prompts, judge="judge", out=tmp_path / "l.jsonl")
