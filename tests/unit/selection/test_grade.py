"""Grades over HTTP: a response that gets none has no row, and never a low score."""

import asyncio
import json

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec, Prices
from longform.judging.pointwise import DIMENSIONS, PointwiseJudge
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows
from longform.records.schemas import Grade, Prompt, Response
from longform.selection.grade import collect_grades

PROMPTS = {f"p{i}": Prompt(id=f"p{i}", prompt=f"write {i}") for i in range(3)}
RESPONSES = [
    Response(prompt_id=id_, model=model, sample=sample, text=f"TEXT-{id_}-{model}-{sample}")
    for id_ in PROMPTS
    for model, sample in (("me", 0), ("me", 1), ("a", 0))
]


def _scores(score):
    return json.dumps({"scores": dict.fromkeys(DIMENSIONS, score)})


def _marked(request, mark):
    return mark in request["messages"][0]["content"]


def _grade(server, out, *, responses=RESPONSES, name="judge", log=None, limit=None):
    async def work():
        prices = Prices(prompt=1e5, completion=0)
        spec = ModelSpec(base_url=server.url, model="j", retries=0, context=8000, concurrency=2, prices=prices)
        budget = Budget(limit)
        async with Endpoint(
            name, spec, call_log=log or MemoryCallLog(), budget=budget, backoff_seconds=0.001
        ) as endpoint:
            judge = PointwiseJudge(endpoint, secret=b"s")
            return await collect_grades(responses, PROMPTS, judge, out=out, on_progress=lambda done, total: None)

    return asyncio.run(work())


def test_every_response_is_graded_in_the_order_of_the_responses(serve, tmp_path):
    result = _grade(serve(lambda request, number: _scores(7)), tmp_path / "g.jsonl")
    rows = list(read_rows(tmp_path / "g.jsonl", Grade))
    assert [row.key for row in rows] == [(it.prompt_id, it.model, it.sample, "judge") for it in RESPONSES]
    assert {row.score for row in rows} == {7.0}
    assert rows[0].dimensions == dict.fromkeys(DIMENSIONS, 7.0)
    assert (result.rows, result.added, result.failures) == (9, 9, {})


def test_a_response_without_a_grade_has_no_row_and_a_cause(serve, reply, tmp_path):
    troubles = {
        "TEXT-p0-me-1": "I would say seven.",
        "TEXT-p1-a-0": reply("busy", status=500),
        "TEXT-p1-me-0": reply(_scores(1), finish_reason="length"),
        "TEXT-p2-me-0": reply("", finish_reason="content_filter"),
    }

    def script(request, number):
        return next((said for mark, said in troubles.items() if _marked(request, mark)), _scores(8))

    long = Response(prompt_id="p0", model="long", text="words without end " * 5000)
    result = _grade(serve(script), tmp_path / "g.jsonl", responses=[*RESPONSES, long])
    rows = list(read_rows(tmp_path / "g.jsonl", Grade))
    assert {row.score for row in rows} == {8.0}, "no failure became a low score"
    assert (len(rows), result.rows) == (5, 5)
    assert result.failures == {"no_grade": 1, "server_error": 1, "cut_off": 1, "refused": 1, "too_long": 1}


def test_failures_are_tried_again_and_grades_are_not(serve, reply, tmp_path):
    busy = serve(lambda request, number: reply(status=503) if _marked(request, "-me-") else _scores(4))
    assert _grade(busy, tmp_path / "g.jsonl").failures == {"server_error": 6}
    again = serve(lambda request, number: _scores(9))
    result = _grade(again, tmp_path / "g.jsonl")
    assert len(again.requests) == 6
    assert (result.rows, result.added) == (9, 6)
    scores = {row.key[:3]: row.score for row in read_rows(tmp_path / "g.jsonl", Grade)}
    assert scores["p0", "a", 0] == 4.0
    assert scores["p0", "me", 0] == 9.0


def test_an_answer_on_record_that_holds_no_grade_is_not_asked_for_again(serve, tmp_path):
    log, server = MemoryCallLog(), serve(lambda request, number: "I would say seven.")
    for _ in range(2):
        assert _grade(server, tmp_path / "g.jsonl", responses=RESPONSES[:1], log=log).failures == {"no_grade": 1}
    assert len(server.requests) == 2, "the question and its repetition, once each"


def test_a_spent_budget_stops_and_keeps_what_was_graded(serve, tmp_path):
    server = serve(lambda request, number: _scores(5))
    with pytest.raises(StoppedError, match="budget"):
        _grade(server, tmp_path / "g.jsonl", limit=4.0)
    done = len(server.requests)
    assert 4 <= done < 9
    result = _grade(server, tmp_path / "g.jsonl")
    assert (result.rows, len(server.requests)) == (9, 9)
    assert [row.key[:3] for row in read_rows(tmp_path / "g.jsonl", Grade)] == [it.key for it in RESPONSES]


def test_a_second_judge_adds_its_own_grades(serve, tmp_path):
    _grade(serve(lambda request, number: _scores(5)), tmp_path / "g.jsonl")
    _grade(serve(lambda request, number: _scores(6)), tmp_path / "g.jsonl", name="other")
    rows = list(read_rows(tmp_path / "g.jsonl", Grade))
    assert [(row.judge, row.score) for row in rows] == [("other", 6.0)] * 9 + [("judge", 5.0)] * 9


def test_a_response_to_an_unknown_prompt_is_found_before_anything_is_asked(serve, tmp_path):
    server = serve(lambda request, number: _scores(5))
    stray = Response(prompt_id="p9", model="me", text="t")
    with pytest.raises(BadInputError, match="the prompts: no prompt 'p9', but 'me' has a response to it"):
        _grade(server, tmp_path / "g.jsonl", responses=[*RESPONSES, stray])
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []
