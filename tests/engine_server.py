"""A generation server with real weights that speaks the protocol of vLLM or SGLang, for tests.

A command (engine_command.py) or a thread (served_engines.py) serves it. It knows the fields below and refuses all others;
tests/engines holds them against the released packages. With the environment variable `DIES_AFTER=N` the process ends within
the N-th response.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from transformers import AutoModelForCausalLM, AutoTokenizer

from longform.writers.decoding import decode
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

SAMPLING = {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"}
FIELDS: dict[str, set[str]] = {
    "/v1/completions": SAMPLING
    | {"model", "prompt", "max_tokens", "seed", "logprobs", "return_token_ids", "return_weight_versions", "ignore_eos"}
    | {"stop_token_ids", "stop", "include_stop_str_in_output", "skip_special_tokens"},
    "/v1/load_lora_adapter": {"lora_name", "lora_path"},
    "/v1/unload_lora_adapter": {"lora_name"},
    "/collective_rpc": {"method", "kwargs"},
    "/update_weight_version": {"new_version"},
    "/reset_prefix_cache": set(),
    "/sleep": set(),
    "/wake_up": set(),
    "/generate": {"input_ids", "sampling_params", "return_logprob", "lora_path"},
    "/load_lora_adapter": {"lora_name", "lora_path"},
    "/unload_lora_adapter": {"lora_name"},
    "/update_weights_from_disk": {"model_path", "weight_version", "flush_cache"},
    "/release_memory_occupation": {"tags"},
    "/resume_memory_occupation": {"tags"},
}
"""Of the bodies of requests, by path."""
SGLANG_SAMPLING = SAMPLING | {"max_new_tokens", "sampling_seed", "stop_token_ids", "stop"}
SGLANG_SAMPLING |= {"no_stop_trim", "skip_special_tokens"}


class Refused(Exception):
    """A request that the real server would refuse; the message says why."""


class LoadedModel:
    """A model with adapters by name, and what the real servers do with them."""

    def __init__(self, path: str, *, longest: int) -> None:
        self.path, self.longest = path, longest
        self.model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path)
        self.version, self.adapters, self.is_asleep, self.has_weights = "default", set[str](), False, True
        self.is_stale = False
        """Whether it accepts weights without taking them."""
        self.dies_after = int(os.environ.get("DIES_AFTER", "0"))
        self.served = 0
        self.lock = asyncio.Lock()

    def take_weights(self, folder: str) -> None:
        if not self.is_stale:
            fresh = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            self.model.load_state_dict(fresh.state_dict())
        self.has_weights = True

    def take_adapter(self, name: str, folder: str) -> None:
        if name in self.adapters:
            raise Refused(f"The lora adapter '{name}' has already been loaded.")
        if not Path(folder, "adapter_config.json").is_file():
            raise Refused(f"No adapter found for {folder}")
        if isinstance(self.model, PeftModel):
            self.model.load_adapter(folder, adapter_name=name.replace(".", "_"))
        else:
            self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name).eval()
        self.adapters.add(name)

    def drop_adapter(self, name: str) -> None:
        if name not in self.adapters:
            raise Refused(f"The lora adapter '{name}' cannot be found.")
        self.adapters.remove(name)

    async def write(self, prompt: list[int], adapter: str | None, sampling: "Sampling") -> Any:
        if self.is_asleep or not self.has_weights:
            raise Refused("the engine is asleep, or has no weights")
        if adapter is not None and adapter not in self.adapters:
            raise Refused(f"The model `{adapter}` does not exist.")
        if len(prompt) + sampling.settings.max_tokens > self.longest:
            raise Refused(f"maximum context length is {self.longest} tokens")
        async with self.lock:
            self.served += 1
            if self.served == self.dies_after:
                os._exit(17)
            return await asyncio.to_thread(self._decode, prompt, adapter, sampling)

    def _decode(self, prompt: list[int], adapter: str | None, sampling: "Sampling") -> Any:
        model = self.model
        if isinstance(model, PeftModel):
            model.set_adapter(adapter or str(model.active_adapter))
        with model.disable_adapter() if isinstance(model, PeftModel) and adapter is None else nullcontext():
            base = model.get_base_model() if isinstance(model, PeftModel) else model
            draws = np.random.default_rng(sampling.seed).random((1, sampling.settings.max_tokens))
            return decode(base, [prompt], draws=draws, stops=sampling.stops, settings=sampling.settings)[0]  # type: ignore[arg-type]

    def sampling(self, given: dict[str, Any], *, max_tokens: int, seed: int) -> "Sampling":
        every = frozenset(self.tokenizer.get_vocab().values())
        strings = tuple(given["stop"])
        return Sampling(
            GenerationSettings(max_tokens=max_tokens, temperature=given["temperature"], top_p=given["top_p"]),
            Stops(
                frozenset(given["stop_token_ids"]),
                read=self.tokenizer.decode,
                strings=strings,
                completing=every if strings else frozenset(),
            ),
            seed,
        )


class Sampling(NamedTuple):
    """How a response is drawn."""

    settings: GenerationSettings
    stops: Stops
    seed: int


def build_app(engine: str, loaded: LoadedModel) -> Starlette:
    """The routes of one engine."""

    def route(path: str, answer: Callable[[dict[str, Any], Request], Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.json() if await request.body() else {}
            unknown = set(body) - FIELDS[path]
            try:
                if unknown:
                    raise Refused(f"unknown fields: {', '.join(sorted(unknown))}")
                found = answer(body, request)
                return JSONResponse(await found if asyncio.iscoroutine(found) else found)
            except (Refused, KeyError, AssertionError) as error:
                return JSONResponse({"error": {"message": f"{type(error).__name__}: {error}"}}, 400)

        return Route(path, endpoint, methods=["POST"])

    async def health(request: Request) -> Response:
        return Response()

    routes = [Route("/health", health)]
    routes += _vllm_routes(loaded, route) if engine == "vllm" else _sglang_routes(loaded, route)
    return Starlette(routes=routes)


def _vllm_routes(loaded: LoadedModel, route: Callable[[str, Any], Route]) -> list[Route]:
    async def complete(body: dict[str, Any], _: Request) -> Any:
        adapter = body["model"] if body["model"] != loaded.path else None
        assert body["ignore_eos"], "the end tokens are those of the request"
        sampling = loaded.sampling(body, max_tokens=body["max_tokens"], seed=body["seed"])
        written = await loaded.write(body["prompt"], adapter, sampling)
        choice: dict[str, Any] = {
            "index": 0,
            "text": "",
            "finish_reason": written.finish_reason,
            "token_ids": written.tokens.tolist(),
            "logprobs": {"token_logprobs": written.log_probs.tolist(), "tokens": []},
        }
        if body["return_weight_versions"]:
            choice["weight_versions"] = [{"version": loaded.version, "start": 0, "end": len(written.tokens)}]
        return {"id": "x", "object": "text_completion", "model": body["model"], "choices": [choice], "usage": {}}

    def rpc(body: dict[str, Any], _: Request) -> Any:
        assert body["method"] == "reload_weights"
        loaded.take_weights(body["kwargs"]["weights_path"])
        return {"results": [None]}

    def name_version(body: dict[str, Any], _: Request) -> Any:
        loaded.version = body["new_version"]
        return {"success": True, "new_version": loaded.version}

    def sleep(_: dict[str, Any], request: Request) -> Any:
        loaded.is_asleep, loaded.has_weights = True, request.query_params["level"] == "1"
        return {"status": "sleeping"}

    def wake(_body: dict[str, Any], _: Request) -> Any:
        loaded.is_asleep = False
        return {"status": "awake"}

    return [
        route("/v1/completions", complete),
        route("/v1/load_lora_adapter", lambda body, _: loaded.take_adapter(body["lora_name"], body["lora_path"])),
        route("/v1/unload_lora_adapter", lambda body, _: loaded.drop_adapter(body["lora_name"])),
        route("/collective_rpc", rpc),
        route("/update_weight_version", name_version),
        route("/reset_prefix_cache", lambda *_: {"success": True}),
        route("/sleep", sleep),
        route("/wake_up", wake),
    ]


def _sglang_routes(loaded: LoadedModel, route: Callable[[str, Any], Route]) -> list[Route]:
    async def generate(body: dict[str, Any], _: Request) -> Any:
        given = body["sampling_params"]
        assert set(given) <= SGLANG_SAMPLING, "unexpected keyword"
        sampling = loaded.sampling(given, max_tokens=given["max_new_tokens"], seed=given["sampling_seed"])
        written = await loaded.write(body["input_ids"], body.get("lora_path"), sampling)
        drawn = [[p, t, None] for t, p in zip(written.tokens.tolist(), written.log_probs.tolist(), strict=True)]
        meta = {
            "finish_reason": {"type": written.finish_reason},
            "output_token_logprobs": drawn,
            "weight_version": loaded.version,
        }
        return {"text": "", "output_ids": written.tokens.tolist(), "meta_info": meta}

    def update(body: dict[str, Any], _: Request) -> Any:
        loaded.take_weights(body["model_path"])
        loaded.path = body["model_path"]
        loaded.version = body["weight_version"]
        return {"success": True, "message": "Succeeded to update model weights."}

    def release(body: dict[str, Any], _: Request) -> Any:
        loaded.is_asleep, loaded.has_weights = True, "weights" not in body["tags"]

    def resume(body: dict[str, Any], _: Request) -> Any:
        assert loaded.is_asleep, "resume without release"
        loaded.is_asleep = False
        loaded.has_weights = loaded.has_weights or "weights" in body["tags"]

    async def model_info(_: Request) -> Response:
        return JSONResponse({"model_path": loaded.path, "weight_version": loaded.version, "is_generation": True})

    return [
        Route("/model_info", model_info),
        route("/generate", generate),
        route("/load_lora_adapter", lambda body, _: loaded.take_adapter(body["lora_name"], body["lora_path"])),
        route("/unload_lora_adapter", lambda body, _: loaded.drop_adapter(body["lora_name"])),
        route("/update_weights_from_disk", update),
        route("/release_memory_occupation", release),
        route("/resume_memory_occupation", resume),
    ]
