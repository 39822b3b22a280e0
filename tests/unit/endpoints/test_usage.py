"""What providers state about tokens, and what the letters of a judge weigh."""

import json

import pytest

from longform.endpoints.failures import read_retry_after
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Usage, read_answer, read_usage
from longform.endpoints.request import ChatRequest
from longform.judging.answers import parse_letter_probabilities
from longform.records.calls import SqliteCallLog


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 515}, Usage(10, 505)),  # Gemini: thoughts beside
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 10**30}, Usage(10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 8}, Usage(10, 5, 8)),  # Moonshot
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}, Usage(10, 5, 8)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 7}}, Usage(10, 5, 7)),
        ({"input_tokens": 10, "output_tokens": 5}, Usage(10, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
    ],
)
def test_tokens_are_read_as_they_are_billed(stated, usage):
    assert read_usage(stated) == usage


@pytest.mark.parametrize("logprob", [float("nan"), "nan"])
def test_a_letter_without_a_probability_decides_nothing(logprob):
    request = ChatRequest.build(
        ModelSpec(base_url="http://h/v1", model="m"), [], temperature=0, max_tokens=1, letters=("A", "B")
    )
    top = [{"token": "A", "logprob": logprob}, {"token": "B", "logprob": -5.0}]
    choice = {"message": {"content": "A"}, "logprobs": {"content": [{"top_logprobs": top}]}}
    outcome = read_answer(json.dumps({"choices": [choice]}), request=request)
    assert parse_letter_probabilities(outcome.text, tie_band=0.1) is None


@pytest.mark.parametrize("text", ['{"A": NaN, "B": 0.1}', '{"A": 1e999, "B": 0.1}', '{"A": 0.1, "B": -0.1}'])
def test_probabilities_that_are_none_have_no_verdict(text):
    assert parse_letter_probabilities(text, tie_band=0.1) is None


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 2 minutes.", 120),
        ("Please try again in 7m12s.", 432),
        ("Please try again in 1h2m3.5s.", 3723.5),
        ("Please try again in 15ms.", 0.015),
        ("Please retry after 23 seconds.", 23),
        ("You may retry 3 times.", None),
        ("Do not retry 3 times; try again in 4s", 4),
        ("Please try again later.", None),
    ],
)
def test_a_wait_in_words_is_read(words, seconds):
    assert read_retry_after({}, words) == seconds


def test_names_with_lone_surrogates_are_recorded(serve, reply, tmp_path):
    import asyncio

    from longform.endpoints.client import Endpoint

    body = {"model": "\ud83d", "choices": [{"message": {"content": "x"}, "finish_reason": "\ud83d"}]}
    spec = ModelSpec(base_url=serve(lambda request, number: reply(body=json.dumps(body))).url, model="m", retries=0)

    async def work(log):
        async with Endpoint("judge", spec, call_log=log) as endpoint:
            await endpoint.chat([{"role": "user", "content": "q"}], temperature=0, max_tokens=5)

    with SqliteCallLog(tmp_path / "calls.sqlite") as log:
        with pytest.raises(Exception, match="broke off"):
            asyncio.run(work(log))
        assert [it.outcome for it in log.read("judge")] == ["incomplete"]
