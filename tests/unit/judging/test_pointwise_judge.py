"""The pointwise judge over HTTP."""

import asyncio
import json

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.pointwise import DIMENSIONS, GradeResult, PointwiseJudge
from longform.records.calls import MemoryCallLog
from longform.records.schemas import Criterion, Prompt

PROMPT = Prompt(id="p1", prompt="Write a story about a lighthouse.")


def answer(scores):
    return f"It has its moments.\n{json.dumps({'scores': scores})}"


def grade(server, *, prompt=PROMPT, text="A story.", **settings):
    async def work():
        spec = ModelSpec(base_url=server.url, model="judge", retries=0, context=8000)
        async with Endpoint("j", spec, call_log=MemoryCallLog(), backoff_seconds=0.001) as endpoint:
            return await PointwiseJudge(endpoint, secret=b"s", **settings).grade(prompt, text)

    return asyncio.run(work())


def test_a_grade_is_the_mean_of_its_dimensions(serve):
    scores = {name: float(n) for name, n in zip(DIMENSIONS, [1, 2, 3, 4, 5, 9], strict=True)}
    graded = grade(serve(lambda request, number: answer(scores)))
    assert (graded.value, graded.cause) == (GradeResult(4.0, scores), None)
    assert len(graded.calls) == 1


def test_the_prompts_criteria_are_its_dimensions(serve):
    prompt = Prompt(id="p", prompt="x", criteria=[Criterion(name="wit"), Criterion(name="grace")])
    graded = grade(serve(lambda request, number: answer({"wit": 8, "grace": 5})), prompt=prompt)
    assert graded.value == GradeResult(6.5, {"wit": 8, "grace": 5})


def test_an_answer_without_scores_is_asked_for_again(serve):
    server = serve(lambda request, number: "7 of 10" if number == 1 else answer(dict.fromkeys(DIMENSIONS, 7)))
    graded = grade(server)
    assert graded.value and graded.value.score == 7.0
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ({"text": "7 of 10"}, "no_grade"),
        ({"text": answer(dict.fromkeys(DIMENSIONS, 7)), "finish_reason": "length"}, "cut_off"),
        ({"status": 500}, "server_error"),
        ({"text": "no", "finish_reason": "content_filter"}, "refused"),
    ],
)
def test_where_there_is_no_grade_there_is_a_cause(serve, reply, script, cause):
    graded = grade(serve(lambda request, number: reply(**script)))
    assert (graded.value, graded.cause) == (None, cause)


def test_a_text_too_long_for_the_context_is_found_before_the_call(serve):
    server = serve(lambda request, number: "never asked")
    assert grade(server, text="灯塔" * 5000).cause == "too_long"
    assert server.requests == []
