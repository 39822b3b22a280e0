"""Each entry of docs/endpoints.md, against a loopback server that insists on what the provider insists on."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec, read_models
from longform.records.calls import MemoryCallLog

PAGE = Path(__file__).parents[3] / "docs" / "endpoints.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
EXPECTED: dict[str, dict[str, Any]] = {
    # model: what its server demands of the request
    "gpt-5-mini": {"max_completion_tokens": 16000, "max_tokens": None, "temperature": None, "reasoning_effort": "low"},
    "my-deployment": {"path": "?api-version=2024-10-21", "api-key": "secret", "authorization": None},
    "deepseek/deepseek-r1": {"http-referer": "https://example.org", "provider": {"order": ["fireworks"]}},
    "qwq-plus": {"stream": True},
    "qwen-plus": {"enable_thinking": False, "stream": None},
    "deepseek-reasoner": {"temperature": None, "max_tokens": 16000, "authorization": "Bearer secret"},
    "claude-sonnet-4-5": {"temperature": 0.1, "top_p": None},
    "gemini-2.5-flash": {"reasoning_effort": "low", "max_tokens": 16000},
    "Qwen/Qwen3-32B": {"authorization": None},
    "Qwen/QwQ-32B": {"separate_reasoning": True},
    "smollm2": {"top_k": -1, "min_p": 0, "top_p": 1.0, "max_tokens": 1024},
    "openai/gpt-oss-120b": {"reasoning_effort": "medium"},
    "AQuarterMile/WritingBench-Critic-Model-Qwen-7B": {"max_tokens": 1024},
    "gpt-5-batch": {"max_completion_tokens": 1024},
    "my-pairwise-judge": {"max_tokens": 1024},
}


def entries(tmp_path) -> dict[str, ModelSpec]:
    found = {}
    for number, block in enumerate(BLOCKS):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        found |= {f"{number}/{name}": spec for name, spec in read_models(path).items()}
    return found


def test_every_documented_model_has_its_demands(tmp_path):
    assert {spec.model for spec in entries(tmp_path).values()} == set(EXPECTED)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_entry_sends_what_its_provider_demands(number, serve, reply, tmp_path, monkeypatch):
    for name, spec in entries(tmp_path).items():
        if not name.startswith(f"{number}/"):
            continue
        if spec.key_env is not None:
            monkeypatch.setenv(spec.key_env, "secret")
        body = 'data: {"choices": [{"delta": {"content": "Fine."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        server = serve(
            lambda request, number, body=body: (
                reply(body=body, headers={"Content-Type": "text/event-stream"}) if request.get("stream") else "Fine."
            )
        )
        endpoint = Endpoint(
            name, spec.model_copy(update={"base_url": server.url, "batch": False}), call_log=MemoryCallLog()
        )

        async def work(endpoint=endpoint):
            async with endpoint:
                return await endpoint.chat([{"role": "user", "content": "x"}], temperature=0.1, max_tokens=1024)

        assert asyncio.run(work()).text == "Fine."
        request, headers = server.requests[0], server.headers[0]
        for key, value in EXPECTED[spec.model].items():
            if key == "path":
                assert server.paths[0].endswith(value)
            elif isinstance(value, dict):
                assert json.dumps(request[key]).startswith(json.dumps(value)[:-1])
            elif key in ("authorization", "api-key", "http-referer"):
                assert headers.get(key) == value
            else:
                assert request.get(key) == value, key
