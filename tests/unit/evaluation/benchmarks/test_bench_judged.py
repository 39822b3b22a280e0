"""Asking a benchmark's questions: rounds, retries, what is on record, and what stays missing."""

import asyncio
from typing import Any

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.judged import ask_judge
from longform.evaluation.benchmarks.result import find_gaps
from longform.judging.judge import AnswerShape
from longform.records.calls import MemoryCallLog
from longform.records.errors import StoppedError
from longform.records.schemas import Prompt, PromptRow, Response


class Rounds(Benchmark[PromptRow]):
    """Asks for the letters a and b, and for c once it has both."""

    card = BenchmarkCard(
        name="rounds",
        measures="",
        home="https://",
        licence="",
        files={"f": "a"},
        fields=frozenset(),
        writing=SamplingSettings(10, 0.0),
        judging=JudgeSettings(max_tokens=10, temperature=0.25, retries=1),
    )
    schema = PromptRow

    def questions(self, material, answers, wording):
        for letter in ("a", "b"):
            yield JudgeQuestion((letter,), lambda letter=letter: f"Say {letter}.", self._parse)
        if ("a",) in answers.values and ("b",) in answers.values:
            settings = JudgeSettings(max_tokens=20, temperature=0.75, retries=0, top_p=0.95)
            yield JudgeQuestion(("c",), lambda: "Say c.", self._parse, settings)

    @staticmethod
    def _parse(answer):
        return answer if answer in {"a", "b", "c"} else None


MATERIAL = Material({}, [])


def ask(server, log=None, benchmark=None, **spec_keys):
    async def asked():
        spec = ModelSpec(base_url=server.url, model="m", retries=0, **spec_keys)
        async with Endpoint("judge", spec, call_log=log or MemoryCallLog()) as endpoint:
            return await ask_judge(
                benchmark or Rounds(),
                MATERIAL,
                endpoint,
                JudgePrompt(b"s"),
                on_progress=lambda done, total: seen.append((done, total)),
            )

    seen = []
    return asyncio.run(asked()), seen


def said(request):
    return request["messages"][0]["content"][4]


def test_later_questions_follow_from_earlier_answers(serve):
    server = serve(lambda request, number: said(request))
    answers, seen = ask(server)
    assert answers.values == {("a",): "a", ("b",): "b", ("c",): "c"}
    assert sorted(seen) == [(1, 2), (2, 2), (3, 3)]
    assert [(it["temperature"], it["max_tokens"]) for it in server.requests] == [(0.25, 10), (0.25, 10), (0.75, 20)]
    assert [it.get("top_p") for it in server.requests] == [None, None, 0.95]


class Shaped(Rounds):
    """Asks one question whose answer has a shape."""

    def questions(self, material, answers, wording):
        shape: AnswerShape[Any] = AnswerShape({"scores": {"type": "object"}})
        yield JudgeQuestion(("a",), lambda: "Say a.", lambda answer: answer, shape=shape)


@pytest.mark.parametrize(("structured", "held"), [("json_schema", True), (None, False)])
def test_a_judge_with_structured_output_is_held_to_the_shape_of_the_answer(serve, structured, held):
    server = serve(lambda request, number: "a")
    ask(server, benchmark=Shaped(), structured=structured)
    assert [("response_format" in request) for request in server.requests] == [held]


def test_an_answer_that_cannot_be_read_is_asked_again_and_then_missing(serve):
    server = serve(lambda request, number: "?" if said(request) == "b" else said(request))
    log = MemoryCallLog()
    answers, _ = ask(server, log)
    assert answers.values == {("a",): "a"}
    assert answers.missing == {("b",): "no_answer"}
    assert sorted(map(said, server.requests)) == ["a", "b", "b"]
    again, _ = ask(server, log)
    assert (again.values, again.missing) == (answers.values, answers.missing)
    assert len(server.requests) == 3  # what is on record stands, also where it could not be read


def test_what_failed_is_tried_again_by_the_same_command(serve, reply):
    broken = [True]
    server = serve(
        lambda request, number: reply("no", status=500) if said(request) == "b" and broken[0] else said(request)
    )
    log = MemoryCallLog()
    answers, _ = ask(server, log)
    assert answers.missing == {("b",): "server_error"}
    broken[0] = False
    answers, _ = ask(server, log)
    assert (len(answers.values), answers.missing) == (3, {})
    assert sorted(map(said, server.requests)) == ["a", "b", "b", "c"]


def test_a_judge_that_answers_nothing_stops_the_command(serve):
    server = serve(lambda request, number: "?")
    with pytest.raises(StoppedError, match=r"endpoint judge: no well-formed answer .*\(no_answer 2\)"):
        ask(server)


def test_what_is_missing_is_said_by_model_and_by_cause():
    prompts = [Prompt(id=it, prompt="p") for it in "xyz"]
    responses = [Response(prompt_id=it, model="m", text="t") for it in "xyz"]
    responses += [Response(prompt_id="x", model="o", text="t"), Response(prompt_id="x", model="m", sample=1, text="t")]
    answers = Answers({("a",): 1}, {("b",): "timeout", ("c",): "no_answer", ("d",): "timeout"})
    assert find_gaps(prompts, Material({}, responses), answers, {}) == [
        "o: responses to 1 of 3 prompts",
        "m, sample 1: responses to 1 of 3 prompts",
        "judge: 1 of 4 answers; missing: timeout 2, no_answer 1",
    ]
    assert find_gaps(prompts, Material({}, responses[3:4]), Answers(), {"empty": 2}) == [
        "o: responses to 1 of 3 prompts; missing: empty 2"
    ]
    assert find_gaps(prompts, Material({}, responses[:3]), Answers({("a",): 1}), {}) == []
