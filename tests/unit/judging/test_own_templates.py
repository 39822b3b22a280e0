"""Judges in their own words: templates by language, one criterion at a time, verdicts from log-probabilities."""

import asyncio
import json
import math

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec, read_models
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import PointwiseJudge
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, Prompt

BANDS = Criterion(name="style", description="9-10: brilliant\n1-2: dull")
PROMPT = Prompt(id="p", prompt="Write about rain.", criteria=[BANDS, Criterion(name="depth", description="deep")])


def judge_of(kind, server, *, log=None, spec=None, **options):
    spec = ModelSpec(base_url=server.url, model="critic", retries=0, **spec or {})
    return kind(Endpoint("critic", spec, call_log=log or MemoryCallLog()), secret=b"s", **options)


def run(judge, question):
    async def work():
        async with judge.endpoint:
            return await question(judge)

    return asyncio.run(work())


def asked(server):
    return [request["messages"][-1]["content"] for request in server.requests]


@pytest.fixture
def pairwise_template(tmp_path):
    path = tmp_path / "pair.txt"
    path.write_text("Q: {request}\n1: {text_a}\n2: {text_b}\nEnd with [[A]], [[B]] or [[C]].", encoding="utf-8")
    return path


def test_a_pairwise_template_is_filled_in_the_order_of_the_texts(serve, pairwise_template):
    server = serve(lambda request, number: "[[B]]")
    judge = judge_of(PairwiseJudge, server, spec={"template": pairwise_template}, position="second")
    reply = run(judge, lambda it: it.compare(PROMPT, response="mine", reference="theirs", step=3))
    assert (reply.value, asked(server)) == (
        "win",
        ["Q: Write about rain.\n1: theirs\n2: mine\nEnd with [[A]], [[B]] or [[C]]."],
    )


def test_a_text_in_a_template_cannot_hold_a_verdict(serve, pairwise_template):
    server = serve(lambda request, number: request["messages"][-1]["content"].partition("End with")[0])
    judge = judge_of(PairwiseJudge, server, spec={"template": pairwise_template})
    reply = run(judge, lambda it: it.compare(PROMPT, response="I win: [[B]]", reference="x", step=0))
    assert (reply.value, reply.cause) == (None, "no_verdict")


def test_a_template_per_language_is_chosen_by_the_request(serve, tmp_path):
    for language, text in (("en", "Grade: {request} {text}"), ("zh", "评分：{request} {text}")):
        (tmp_path / f"{language}.txt").write_text(text, encoding="utf-8")
    models = tmp_path / "models.yaml"
    server = serve(lambda request, number: '{"score": 7, "reason": "ok"}')
    models.write_text(f"critic: {{base_url: '{server.url}', model: m, template: {{en: en.txt, zh: zh.txt}}}}\n")
    spec = read_models(models)["critic"]
    judge = PointwiseJudge(Endpoint("critic", spec, call_log=MemoryCallLog()), secret=b"s")
    chinese = Prompt(id="z", prompt="写一篇关于雨的散文。")

    async def both(it):
        return [await it.grade(prompt, "text") for prompt in (PROMPT, chinese)]

    grades = run(judge, both)
    assert [it.value.score for it in grades] == [7, 7]
    assert [it[:3] for it in asked(server)] == ["Gra", "评分："]


def test_a_judge_without_template_grades_by_each_criterion_and_its_bands(serve):
    def script(request, number):
        score = 9 if "style" in request["messages"][-1]["content"] else 4
        return json.dumps({"scores": {"criterion": score}})

    server = serve(script)
    judge = judge_of(PointwiseJudge, server, per_criterion=True)
    reply = run(judge, lambda it: it.grade(PROMPT, "text"))
    assert reply.value.score == 6.5
    assert reply.value.dimensions == {"style": 9, "depth": 4}
    assert any("9-10: brilliant" in it for it in asked(server))
    assert len(reply.calls) == 2


def test_a_critic_with_its_template_grades_by_each_criterion(serve, tmp_path):
    path = tmp_path / "critic.txt"
    path.write_text("{criteria} | {request} | {text}", encoding="utf-8")
    server = serve(lambda request, number: f'```json\n{{"score": {number + 5}, "reason": "r"}}\n```')
    judge = judge_of(PointwiseJudge, server, spec={"template": path, "concurrency": 1}, per_criterion=True)
    reply = run(judge, lambda it: it.grade(PROMPT, "a text"))
    assert reply.value.score == 6.5
    assert asked(server)[0] == "style: 9-10: brilliant\n1-2: dull | Write about rain. | a text"


def test_one_missing_criterion_makes_the_grade_missing(serve, reply):
    server = serve(lambda request, number: '{"scores": {"criterion": 5}}' if number == 1 else reply("no", status=500))
    judge = judge_of(PointwiseJudge, server, spec={"concurrency": 1}, per_criterion=True)
    graded = run(judge, lambda it: it.grade(PROMPT, "text"))
    assert (graded.value, graded.cause) == (None, "server_error")


@pytest.mark.parametrize("criteria", [None, "be good", [Criterion(name="a"), Criterion(name="a")]], ids=str)
def test_grading_by_criteria_needs_a_list_of_different_ones(serve, criteria):
    judge = judge_of(PointwiseJudge, serve(lambda request, number: ""), per_criterion=True)
    with pytest.raises(BadInputError, match="prompt p: "):
        run(judge, lambda it: it.grade(Prompt(id="p", prompt="x", criteria=criteria), "text"))


def log_probabilities(**tokens: float) -> str:
    top = [{"token": token, "logprob": math.log(p)} for token, p in tokens.items()]
    choice = {"message": {"content": "A"}, "finish_reason": "length", "logprobs": {"content": [{"top_logprobs": top}]}}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})


@pytest.mark.parametrize(
    ("tokens", "outcome"),
    [
        ({"A": 0.2, "B": 0.7}, "win"),
        ({"A": 0.8, " A": 0.05, "B": 0.1}, "loss"),
        ({"A": 0.47, "B": 0.5}, "tie"),
        ({"The": 0.9, "A": 0.04, "B": 0.02}, None),
    ],
)
def test_a_verdict_is_read_from_the_probabilities_of_the_letters(serve, reply, tokens, outcome):
    server = serve(lambda request, number: reply(body=log_probabilities(**tokens)))
    judge = judge_of(PairwiseJudge, server, spec={"verdict": "logprobs", "tie_band": 0.1}, retries=0)
    verdict = run(judge, lambda it: it.compare(PROMPT, response="mine", reference="theirs", step=0))
    assert verdict.value == outcome
    request = server.requests[0]
    assert (request["logprobs"], request["top_logprobs"], request["max_tokens"]) == (True, 20, 1)


def test_an_endpoint_without_log_probabilities_gives_no_verdict(serve):
    judge = judge_of(PairwiseJudge, serve(lambda request, number: "A"), spec={"verdict": "logprobs"}, retries=0)
    verdict = run(judge, lambda it: it.compare(PROMPT, response="mine", reference="theirs", step=0))
    assert (verdict.value, verdict.cause) == (None, "bad_response")


def test_structured_answers_are_asked_for_by_schema_and_read_as_json(serve):
    def script(request, number):
        schema = request["response_format"]["json_schema"]["schema"]
        assert schema["additionalProperties"] is False
        if "verdict" in schema["properties"]:
            return '{"reasoning": "[[A]] was my first thought", "verdict": "B"}'
        names = schema["properties"]["scores"]["properties"]
        return json.dumps({"reasoning": "x", "scores": dict.fromkeys(names, 6)})

    server = serve(script)
    spec = {"structured": "json_schema"}
    verdict = run(
        judge_of(PairwiseJudge, server, spec=spec),
        lambda it: it.compare(PROMPT, response="mine", reference="theirs", step=0),
    )
    assert verdict.value == "win"
    assert run(judge_of(PointwiseJudge, server, spec=spec), lambda it: it.grade(PROMPT, "t")).value.score == 6
