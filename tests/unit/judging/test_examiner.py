"""The examiner: grades with the criteria of a prompt and, if asked for, without them."""

import asyncio
import json

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.examiner import TextExaminer
from longform.judging.pointwise import DIMENSIONS
from longform.records.calls import MemoryCallLog
from longform.records.database import ValidationText
from longform.records.schemas import Criterion, Prompt
from longform.steps.metrics import validation_metrics

PROMPT = Prompt(id="p", prompt="Write.", criteria=[Criterion(name="wit")])


def _examine(server, *, answer="A text.", **settings):
    async def work():
        prices = {"prompt": 1e6, "completion": 0.0}
        spec = ModelSpec.model_validate({"base_url": server.url, "model": "judge", "retries": 0, "prices": prices})
        async with Endpoint("j", spec, call_log=MemoryCallLog(), backoff_seconds=0.001) as endpoint:
            return await TextExaminer(endpoint, secret=b"s", **settings).examine(PROMPT, answer, step=0)

    return asyncio.run(work())


def _judge(request, number):
    has_criteria = '"wit": N' in request["messages"][0]["content"]
    return json.dumps({"scores": {"wit": 9} if has_criteria else dict.fromkeys(DIMENSIONS, 4)})


@pytest.mark.parametrize("per_criterion", [False, True])
def test_a_text_is_graded_with_criteria_and_without(serve, per_criterion):
    def judge(request, number):
        return json.dumps({"scores": {"criterion": 9}}) if "CRITERION" in str(request) else _judge(request, number)

    server = serve(judge)
    assert _examine(server, per_criterion=per_criterion, without_criteria=True)[:2] == (9.0, 4.0)
    assert len(server.requests) == 2


def test_without_is_asked_only_where_it_is_wanted_and_an_empty_answer_asks_nothing(serve):
    server = serve(_judge)
    assert _examine(server)[:2] == (9.0, None)
    assert _examine(server, answer="") == (1.0, None, 0.0)
    assert _examine(server, answer="", without_criteria=True) == (1.0, 1.0, 0.0)
    assert len(server.requests) == 1


def test_a_missing_grade_leaves_the_other(serve):
    def judge(request, number):
        return _judge(request, number) if '"wit": N' in request["messages"][0]["content"] else "no"

    server = serve(judge)
    assert _examine(server, without_criteria=True)[:2] == (9.0, None)


def test_the_cost_is_that_of_all_its_calls(serve):
    alone, both = (_examine(serve(_judge), without_criteria=it).cost for it in (False, True))
    assert alone
    assert both == 2 * alone


def test_both_are_metrics_of_the_step():
    texts = [ValidationText(1, f"p{n}", "Write.", "x", grade, bare) for n, (grade, bare) in enumerate([(9, 4), (7, 6)])]
    metrics = validation_metrics(texts)
    assert (metrics["validation/grade"], metrics["validation/bare_grade"]) == (8.0, 5.0)
    assert metrics["validation/bare_grade_error"] == pytest.approx(1.0)
    assert "validation/bare_grade" not in validation_metrics([ValidationText(1, "p", "Write.", "x", 9.0)])
