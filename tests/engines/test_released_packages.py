"""What longform sends to vLLM and SGLang, and reads of their answers, is in the released packages: see `make test-engines`.

The packages are read, not run. The server of the other tests (engine_server.py, engine_command.py) knows the fields
and flags that are held against them here, and refuses all others.
"""

import ast
from pathlib import Path
from zipfile import ZipFile

import pytest

from engine_command import FLAGS, SWITCHES
from engine_server import FIELDS, SGLANG_SAMPLING
from longform.endpoints.request import ScoreRequest
from longform.writers.served.server import INITIAL_VERSION
from longform.writers.served.sglang import Sglang
from longform.writers.served.vllm import RANKS, Vllm

WHEELS = Path(__file__).parents[2] / "build" / "engines"
COMPLETION = "vllm/entrypoints/openai/completion/protocol.py"
VLLM_CLASSES = {
    "/v1/completions": (COMPLETION, "CompletionRequest"),
    "/v1/load_lora_adapter": ("vllm/entrypoints/serve/lora/protocol.py", "LoadLoRAAdapterRequest"),
    "/v1/unload_lora_adapter": ("vllm/entrypoints/serve/lora/protocol.py", "UnloadLoRAAdapterRequest"),
}
VLLM_ROUTES = {
    "/v1/completions": "vllm/entrypoints/openai/completion/api_router.py",
    "/v1/load_lora_adapter": "vllm/entrypoints/serve/lora/api_router.py",
    "/v1/unload_lora_adapter": "vllm/entrypoints/serve/lora/api_router.py",
    "/collective_rpc": "vllm/entrypoints/serve/dev/rpc/api_router.py",
    "/reset_prefix_cache": "vllm/entrypoints/serve/dev/cache/api_router.py",
    "/sleep": "vllm/entrypoints/serve/dev/sleep/api_router.py",
    "/wake_up": "vllm/entrypoints/serve/dev/sleep/api_router.py",
    "/update_weight_version": "vllm/entrypoints/rl/online/api_router.py",
    Vllm.health_path: "vllm/entrypoints/serve/instrumentator/health.py",
}
IO = "sglang/srt/managers/io_struct.py"
SGLANG_CLASSES = {
    "/generate": "GenerateReqInput",
    "/load_lora_adapter": "LoadLoRAAdapterReqInput",
    "/unload_lora_adapter": "UnloadLoRAAdapterReqInput",
    "/update_weights_from_disk": "UpdateWeightFromDiskReqInput",
    "/release_memory_occupation": "ReleaseMemoryOccupationReqInput",
    "/resume_memory_occupation": "ResumeMemoryOccupationReqInput",
}


@pytest.fixture(scope="module")
def vllm() -> ZipFile:
    return ZipFile(next(WHEELS.glob("vllm-*.whl")))


@pytest.fixture(scope="module")
def sglang() -> ZipFile:
    return ZipFile(next(WHEELS.glob("sglang-*.whl")))


def source(package: ZipFile, path: str) -> str:
    return package.read(path).decode()


def fields(package: ZipFile, path: str, name: str) -> set[str]:
    """The annotated names of a class."""
    tree = ast.parse(source(package, path))
    (found,) = [it for it in tree.body if isinstance(it, ast.ClassDef) and it.name == name]
    return {it.target.id for it in found.body if isinstance(it, ast.AnnAssign) and isinstance(it.target, ast.Name)}


@pytest.mark.parametrize("path", VLLM_CLASSES)
def test_vllm_knows_every_field_that_is_sent(vllm: ZipFile, path: str) -> None:
    assert FIELDS[path] <= fields(vllm, *VLLM_CLASSES[path])


@pytest.mark.parametrize("path", VLLM_ROUTES)
def test_vllm_has_every_route(vllm: ZipFile, path: str) -> None:
    assert f'"{path}"' in source(vllm, VLLM_ROUTES[path])


def test_vllm_answers_with_what_is_read(vllm: ZipFile) -> None:
    assert {"token_ids", "logprobs", "weight_versions"} <= fields(vllm, COMPLETION, "CompletionResponseChoice")
    assert "token_logprobs" in fields(vllm, COMPLETION, "CompletionLogProbs")
    assert "version" in fields(vllm, "vllm/outputs.py", "WeightVersionSpan")
    assert f'_weight_version = "{INITIAL_VERSION}"' in source(vllm, "vllm/v1/engine/core.py")


def test_vllm_takes_weights_from_a_folder(vllm: ZipFile) -> None:
    runner = source(vllm, "vllm/v1/worker/gpu_model_runner.py")
    assert "def reload_weights(" in runner
    assert "weights_path: str | None = None" in runner
    assert "def reload_weights(" in source(vllm, "vllm/v1/worker/gpu_worker.py")


def test_vllm_has_every_flag(vllm: ZipFile) -> None:
    flags = source(vllm, "vllm/engine/arg_utils.py")
    frontend = source(vllm, "vllm/entrypoints/common/cli_args.py")
    for flag in f"{FLAGS['vllm']} {SWITCHES['vllm']}".split():
        assert f'"{flag}"' in flags or f"{flag.removeprefix('--')}: " in frontend, flag
    assert '"processed_logprobs"' in source(vllm, "vllm/config/model.py")
    for name in Vllm.environment:
        assert name in source(vllm, "vllm/envs.py")
    assert f"MaxLoRARanks = Literal[{', '.join(map(str, RANKS))}]" in source(vllm, "vllm/config/lora.py")


@pytest.mark.parametrize("path", SGLANG_CLASSES)
def test_sglang_knows_every_field_and_route(sglang: ZipFile, path: str) -> None:
    assert FIELDS[path] <= fields(sglang, IO, SGLANG_CLASSES[path])
    assert f'"{path}"' in source(sglang, "sglang/srt/entrypoints/http_server.py")


def test_sglang_knows_every_setting_of_the_sampling(sglang: ZipFile) -> None:
    tree = ast.parse(source(sglang, "sglang/srt/sampling/sampling_params.py"))
    (sampling,) = [it for it in tree.body if isinstance(it, ast.ClassDef) and it.name == "SamplingParams"]
    (start,) = [it for it in sampling.body if isinstance(it, ast.FunctionDef) and it.name == "__init__"]
    assert {it.arg for it in start.args.args} >= SGLANG_SAMPLING


def test_sglang_answers_with_what_is_read(sglang: ZipFile) -> None:
    manager = source(sglang, "sglang/srt/managers/tokenizer_manager.py")
    assert 'meta_info["output_token_logprobs"] = state.output_token_logprobs' in manager
    assert "(logprob, token_id, None)" in manager
    assert '"weight_version": self.server_args.weight_version' in manager
    assert f'weight_version: str = "{INITIAL_VERSION}"' in source(sglang, "sglang/srt/server_args.py")


def test_sglang_has_every_flag(sglang: ZipFile) -> None:
    flags = source(sglang, "sglang/srt/server_args.py")
    for flag in f"{FLAGS['sglang']} {SWITCHES['sglang']}".split():
        assert f'"{flag}"' in flags, flag
    routes = source(sglang, "sglang/srt/entrypoints/http_server.py")
    assert Sglang.health_path in routes
    assert f'"{Sglang.model_path}"' in routes and '"model_path": _global_state.tokenizer_manager.model_path' in routes
    sampler = source(sglang, "sglang/srt/layers/sampler.py")
    for name in Sglang.environment:
        assert f'get_bool_env_var("{name}")' in sampler


def test_vllm_scores_with_a_reward_model_as_it_is_asked(vllm: ZipFile) -> None:
    base = "vllm/entrypoints/pooling/base/protocol.py"
    mixins = ("PoolingBasicRequestMixin", "CompletionRequestMixin", "ClassifyRequestMixin")
    known = set[str]().union(*(fields(vllm, base, name) for name in mixins))
    request = ScoreRequest(base_url="http://127.0.0.1:8000/v1", model="scorer", ids=(1, 2))
    assert set(request.parameters) <= known
    assert '"/classify"' in source(vllm, "vllm/entrypoints/pooling/classify/api_router.py")
    assert "probs" in fields(vllm, "vllm/entrypoints/pooling/classify/protocol.py", "ClassificationData")
