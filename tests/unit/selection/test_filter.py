"""Filtering over HTTP: what is kept, what is dropped and why, and that nothing is asked twice."""

import asyncio
import json

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec, Prices
from longform.judging.requests import CRITERIA, RequestJudge
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Prompt
from longform.selection.filter import filter_by_judge

PROMPTS = [
    Prompt.model_validate({"id": f"p{i}", "prompt": f"request {i}", "meta": {"source": "log"}, "stars": i})
    for i in range(6)
]


def _verdict(**fields):
    return json.dumps(dict.fromkeys(CRITERIA, True) | fields)


def _number(request):
    return next(i for i in range(6) if f"request {i}" in request["messages"][0]["content"])


def _filter(server, out, *, prompts=PROMPTS, log=None, limit=None, also=None):
    async def work():
        prices = Prices(prompt=1e5, completion=0)
        spec = ModelSpec(base_url=server.url, model="j", retries=0, concurrency=2, prices=prices)
        async with Endpoint(
            "judge", spec, call_log=log or MemoryCallLog(), budget=Budget(limit), backoff_seconds=0.001
        ) as endpoint:
            judge = RequestJudge(endpoint, secret=b"s", also=also)
            return await filter_by_judge(prompts, judge, out=out, on_progress=lambda done, total: None)

    return asyncio.run(work())


def test_prompts_that_pass_are_kept_whole_and_in_order(serve, tmp_path):
    answers = [_verdict(), _verdict(long=False), _verdict(long=False, safe=False), _verdict(), _verdict(), _verdict()]
    server = serve(lambda request, number: answers[_number(request)])
    result = _filter(server, tmp_path / "kept.jsonl")
    rows = list(read_rows(tmp_path / "kept.jsonl", Prompt))
    expected = [
        json.loads(PROMPTS[i].model_dump_json()) | {"meta": {"source": "log", "filter": {"judge": "judge"}}}
        for i in (0, 3, 4, 5)
    ]
    assert [json.loads(row.model_dump_json()) for row in rows] == expected
    assert (result.kept, result.judged, result.failures) == (4, 6, {})
    assert result.dropped == {"writing": 0, "long": 2, "complete": 0, "safe": 1}
    assert result.alone == {"writing": 0, "long": 1, "complete": 0, "safe": 0}


def test_a_prompt_without_a_verdict_is_left_out_and_asked_about_again(serve, reply, tmp_path):
    log = MemoryCallLog()
    troubles = {1: reply("busy", status=503), 2: "it is fine", 3: reply(_verdict(), finish_reason="length")}
    first = serve(lambda request, number: troubles.get(_number(request), _verdict()))
    result = _filter(first, tmp_path / "kept.jsonl", log=log)
    assert [row.id for row in read_rows(tmp_path / "kept.jsonl", Prompt)] == ["p0", "p4", "p5"]
    assert (result.kept, result.judged) == (3, 3)
    assert result.failures == {"server_error": 1, "no_verdict": 1, "cut_off": 1}
    first.script = lambda request, number: _verdict()
    asked = len(first.requests)
    result = _filter(first, tmp_path / "kept.jsonl", log=log)
    assert len(first.requests) == asked + 1, "only the request that failed; answers that cannot be read stand"
    assert [row.id for row in read_rows(tmp_path / "kept.jsonl", Prompt)] == ["p0", "p1", "p4", "p5"]


def test_a_spent_budget_stops_and_what_was_paid_for_is_not_asked_again(serve, tmp_path):
    server, log = serve(lambda request, number: _verdict(safe=_number(request) != 0)), MemoryCallLog()
    with pytest.raises(StoppedError, match="budget"):
        _filter(server, tmp_path / "kept.jsonl", log=log, limit=3.0)
    assert not (tmp_path / "kept.jsonl").exists()
    assert 3 <= len(server.requests) < 6
    result = _filter(server, tmp_path / "kept.jsonl", log=log)
    assert (result.kept, len(server.requests)) == (5, 6)


def test_an_output_of_an_earlier_command_holds_nothing_of_it_afterwards(serve, tmp_path):
    write_rows(tmp_path / "kept.jsonl", PROMPTS)
    _filter(serve(lambda request, number: _verdict(long=_number(request) > 3)), tmp_path / "kept.jsonl")
    assert [row.id for row in read_rows(tmp_path / "kept.jsonl", Prompt)] == ["p4", "p5"]


def test_a_judge_that_keeps_nothing_is_told(serve, tmp_path):
    server = serve(lambda request, number: _verdict(complete=False))
    with pytest.raises(BadInputError, match=r"kept none of 6 prompts \(failed: complete 6\)"):
        _filter(server, tmp_path / "kept.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_criterion_of_ones_own_drops_prompts(serve, tmp_path):
    server = serve(lambda request, number: _verdict(also=_number(request) == 2))
    result = _filter(server, tmp_path / "kept.jsonl", also="it asks for fiction")
    assert (result.kept, result.dropped["also"]) == (1, 5)
