"""A reward model behind an endpoint: the score of one that is loaded, asked for once, and missing where it is silent."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
import torch
from classifier import save_classifier
from transformers import AutoModelForSequenceClassification

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.recipe.recipe import Recipe
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError
from longform.records.schemas import Prompt
from longform.rewards.reward import calls_of, missing_cause, scores_by_kind
from longform.rewards.reward_set import build_rewards
from longform.rewards.settings import WritingSettings
from longform.rewards.writing_model import Encoded, WritingModel
from longform.text.structure import parse_response

PROMPT = Prompt(id="p", prompt="write so")
TEXTS = ["good", "bad bad very good", "and then so so very bad good and"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = save_classifier(tmp_path_factory.mktemp("model"))
    (path / "scores.json").write_text(json.dumps({"mean": 0.5, "spread": 2.0, "lowest": -3.0, "max_tokens": 8}))
    return path


@pytest.fixture
def server(serve, reply, folder):
    """What vLLM's `/classify` says, from the same weights."""
    model = WritingModel(str(folder))

    def classify(request, number):
        (score,) = model.raw_scores([Encoded(request["input"], is_cut=False)])
        usage = {"prompt_tokens": len(request["input"]), "total_tokens": len(request["input"]), "completion_tokens": 0}
        return reply(body=json.dumps({"data": [{"index": 0, "probs": [score], "num_classes": 1}], "usage": usage}))

    return serve(classify)


def _spec(url, **spec):
    return ModelSpec.model_validate({"base_url": url, "model": "rm", "retries": 0, **spec})


def _score(settings, urls, texts, *, log=None, **spec):
    """Reward results of texts; the endpoints are called a, b, ..."""

    async def work():
        async with AsyncExitStack() as stack:
            endpoints = {}
            for name, url in zip("ab", urls, strict=False):
                endpoint = Endpoint(name, _spec(url, **spec), call_log=log or MemoryCallLog())
                endpoints[name] = await stack.enter_async_context(endpoint)
            rewards = build_rewards([settings], endpoints, secret=b"s", seed=0)
            return await asyncio.gather(
                *(rewards.score(PROMPT, response=parse_response(it, "off"), reference="", step=1) for it in texts)
            )

    return asyncio.run(work())


def test_a_served_reward_model_scores_as_a_loaded_one(server, folder):
    loaded = _score(WritingSettings(kind="writing", model=str(folder), batch=1), [], [*TEXTS, ""])
    served = _score(WritingSettings(kind="writing", model=str(folder), endpoint="a"), [server.url], [*TEXTS, ""])
    for one, other in zip(loaded, served, strict=True):
        assert scores_by_kind(other) == pytest.approx(scores_by_kind(one), abs=1e-5)
        assert one["writing"].is_truncated == other["writing"].is_truncated
    assert len(server.requests) == len(TEXTS), "an empty answer is not sent"
    assert all(it["use_activation"] is False and it["model"] == "rm" for it in server.requests)
    assert max(len(it["input"]) for it in server.requests) == 8, "read without its end"


def test_a_score_is_asked_for_beside_the_versioned_paths(server, folder):
    settings = WritingSettings(kind="writing", model=str(folder), endpoint="a")
    for url in (server.url, server.url.removesuffix("/v1")):
        _score(settings, [url], TEXTS[:1])
    assert server.paths == ["/classify"] * 2


def test_a_text_whose_closing_token_also_pads_is_scored_where_transformers_reads_the_score(serve, reply, tmp_path):
    path = save_classifier(tmp_path)
    for file, key in (("config.json", "pad_token_id"), ("tokenizer_config.json", "pad_token")):
        content = json.loads((path / file).read_text())
        content.pop(key)
        (path / file).write_text(json.dumps(content))
    loaded = _score(WritingSettings(kind="writing", model=str(path), batch=1), [], TEXTS)
    weights = AutoModelForSequenceClassification.from_pretrained(path)

    def classify(request, number):
        """As a server does, from the last token, whichever that is."""
        hidden = weights.model(torch.tensor([request["input"]])).last_hidden_state[0, -1]
        return reply(body=json.dumps({"data": [{"probs": weights.score(hidden).tolist()}]}))

    served = _score(WritingSettings(kind="writing", model=str(path), endpoint="a"), [serve(classify).url], TEXTS)
    for one, other in zip(loaded, served, strict=True):
        assert scores_by_kind(other) == pytest.approx(scores_by_kind(one), abs=1e-5)


def test_a_text_is_truncated_to_what_its_server_reads(server, folder):
    settings = WritingSettings(kind="writing", model=str(folder), max_tokens=60, endpoint="a")
    (results,) = _score(settings, [server.url], TEXTS[2:], context=6)
    assert len(server.requests[0]["input"]) == 6
    _score(WritingSettings(kind="writing", model=str(folder), endpoint="a"), [server.url], TEXTS[2:], context=60)
    assert len(server.requests[1]["input"]) == 8, "no longer than in its training"
    assert results["writing"].is_truncated


def test_a_server_that_scores_nothing_is_named(serve, reply, folder):
    url = serve(lambda request, number: reply("Not Found", status=404)).url
    with pytest.raises(BadInputError, match=r"does not score texts as 'rm' \(HTTP 404\).*; serve it with `vllm serve"):
        _score(WritingSettings(kind="writing", model=str(folder), endpoint="a"), [url], TEXTS[:1])


def test_a_text_that_was_scored_is_not_sent_again_and_costs_what_it_read(server, folder, tmp_path):
    settings, log = WritingSettings(kind="writing", model=str(folder), endpoint="a"), MemoryCallLog()
    prices = {"prompt": 1e6, "completion": 9e6}
    first, second = (_score(settings, [server.url], TEXTS[:1], log=log, prices=prices)[0] for _ in range(2))
    assert scores_by_kind(first) == scores_by_kind(second)
    assert len(server.requests) == 1
    assert first["writing"].cost == len(server.requests[0]["input"])
    assert calls_of(first) == calls_of(second)
    assert len(calls_of(first)) == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"data": []}',
        '{"data": [{"probs": [0.1, 0.9]}]}',
        '{"data": [{"probs": [NaN]}]}',
        f'{{"data": [{{"probs": [1{"0" * 400}]}}]}}',
        '{"data": [{"probs": ["x"]}]}',
        "no",
    ],
)
def test_an_answer_that_is_no_score_leaves_the_rollout_without_reward(serve, reply, folder, body):
    url = serve(lambda request, number: reply(body=body)).url
    (results,) = _score(WritingSettings(kind="writing", model=str(folder), endpoint="a"), [url], TEXTS[:1])
    assert scores_by_kind(results) is None
    assert missing_cause(results) == "bad_response"


def test_a_mean_of_several_needs_all_of_them(server, serve, reply, folder):
    settings = WritingSettings(kind="writing", model=[str(folder)] * 2, endpoint=["a", "b"])
    silent = serve(lambda request, number: reply(body="no")).url
    (results,) = _score(settings, [server.url, silent], TEXTS[:1])
    assert scores_by_kind(results) is None
    (results,) = _score(settings, [server.url, server.url], TEXTS[:1])
    (alone,) = _score(WritingSettings(kind="writing", model=str(folder), endpoint="a"), [server.url], TEXTS[:1])
    assert scores_by_kind(results) == scores_by_kind(alone)


def test_every_reward_model_needs_an_endpoint_of_its_own():
    with pytest.raises(ValueError, match="`endpoint` lists 1 names and `model` 2"):
        WritingSettings(kind="writing", model=["x", "y"], endpoint="a")
    with pytest.raises(ValueError, match="`endpoint` lists a name twice"):
        WritingSettings(kind="writing", model=["x", "y"], endpoint=["a", "a"])


def test_a_served_reward_model_that_is_not_there_is_named(serve, folder):
    gone = serve(lambda request, number: "")
    gone.shutdown()
    gone.server_close()
    with pytest.raises(BadInputError, match=r"endpoint a at .* cannot be reached"):
        _score(WritingSettings(kind="writing", model=str(folder), endpoint="a"), [gone.url], TEXTS[:1])


def test_a_served_reward_model_is_asked_for_by_the_recipe_and_examines_nothing(folder):
    recipe = {
        "policy": "p",
        "data": {"prompts": "p.jsonl", "per_step": 2, "group": 2},
        "method": "grpo",
        "rewards": [
            {"kind": "length"},
            {"kind": "writing", "model": str(folder), "endpoint": "a", "max_judge_failure_rate": 0.2},
        ],
        "run": {"name": "r", "steps": 1},
    }
    read = Recipe.model_validate(recipe)
    assert read.asked == {"a"}
    assert read.judge_failure_limit == (0.2, "rewards.writing.max_judge_failure_rate")
    with pytest.raises(ValueError, match="'a' also gives the reward"):
        Recipe.model_validate(recipe | {"validation": {"prompts": "v.jsonl", "judge": "a"}})
