"""Writing over an endpoint."""

import asyncio

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec
from longform.records.calls import MemoryCallLog
from longform.records.schemas import Prompt, Response
from longform.writers.endpoint import EndpointWriter
from longform.writers.think import AS_ASKED, ThinkPrompt

PROMPT = Prompt.model_validate(
    {"id": "p1", "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write."}]}
)


def write(server, *, samples=1, think_prompt=AS_ASKED):
    async def work():
        spec = ModelSpec(base_url=server.url, model="scribe-7b", retries=0)
        async with Endpoint("scribe", spec, call_log=MemoryCallLog()) as endpoint:
            writer = EndpointWriter(endpoint, max_tokens=500, temperature=0.8, top_p=0.9, think_prompt=think_prompt)
            return [await writer.write(PROMPT, sample=sample) for sample in range(samples)]

    return asyncio.run(work())


def test_a_response_carries_the_name_of_its_endpoint(serve, reply):
    server = serve(lambda request, number: reply("Once.", finish_reason="length"))
    assert write(server) == [Response(prompt_id="p1", model="scribe", sample=0, text="Once.", finish_reason="length")]
    asked = {"model": "scribe-7b", "messages": PROMPT.messages, "temperature": 0.8, "max_tokens": 500, "top_p": 0.9}
    # A server on this machine gets its whole sampling stated, so that its own defaults do not apply.
    assert server.requests == [asked | {"top_k": -1, "min_p": 0.0}]


def test_samples_are_written_one_by_one(serve):
    responses = write(serve(lambda request, number: f"text {number}"), samples=3)
    assert [(response.sample, response.text) for response in responses] == [(0, "text 1"), (1, "text 2"), (2, "text 3")]


def test_a_writer_that_fails_says_why(serve, reply):
    with pytest.raises(EndpointError) as caught:
        write(serve(lambda request, number: reply(status=500)))
    assert caught.value.cause == "server_error"


def test_a_writer_that_thinks_is_asked_to_and_gives_its_answer(serve, reply):
    said = "<think>A short one.</think> <answer>Once.</answer>\nAnything else?"
    server = serve(lambda request, number: reply(said, finish_reason="length"))
    (response,) = write(server, think_prompt=ThinkPrompt("on"))
    assert (response.text, response.finish_reason) == ("Once.", "stop")
    assert response.meta == {"plan": "A short one.", "well_formed": True}
    system, user = server.requests[0]["messages"]
    assert system == PROMPT.messages[0]
    assert "<think>" in user["content"]
    assert user["content"].endswith("\n\nWrite.")
