"""SGLang's server: requests and answers of version 0.5.10.

`/generate` takes token ids and returns token ids with log-probabilities at the sampling temperature. Whole weights are read
from a folder, with a version; adapters are loaded by name.
"""

from collections.abc import Mapping
from typing import Any

from longform.writers.served.protocol import (
    CompletionRequest,
    LaunchOptions,
    ServedTokens,
    ServerRequest,
    UnreadableAnswerError,
    Weights,
)


class Sglang:
    """See `ServerProtocol`."""

    name = "sglang"
    health_path = "/health"
    model_path: str | None = "/model_info"
    environment: Mapping[str, str] = {"SGLANG_RETURN_ORIGINAL_LOGPROB": "false"}
    installation = "install sglang 0.5.10 or newer, and a GPU"

    def command(self, options: LaunchOptions) -> list[str]:  # noqa: D102
        command = ["sglang", "serve", "--model-path", options.model, "--host", "127.0.0.1", "--port", str(options.port)]
        command += ["--dtype", options.precision, "--random-seed", str(options.seed)]
        command += ["--context-length", str(options.longest), "--max-running-requests", str(options.rows)]
        command += ["--mem-fraction-static", f"{options.memory:g}"]
        command += ["--tensor-parallel-size", str(options.tensor_parallel)]
        # No sampling defaults from the model's folder.
        command += ["--sampling-defaults", "openai"]
        if options.adapter_rank is not None:
            command += ["--enable-lora", "--max-loras-per-batch", "1", "--max-lora-rank", str(options.adapter_rank)]
            command += ["--lora-target-modules", "all"]
        if options.can_sleep:
            command += ["--enable-memory-saver"]
        if options.trust_remote_code:
            command += ["--trust-remote-code"]
        return [*command, *options.arguments]

    def completion(self, wanted: CompletionRequest) -> ServerRequest:  # noqa: D102
        weights, settings = wanted.weights, wanted.settings
        sampling = {
            "max_new_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "sampling_seed": wanted.seed % 2**31,
            "stop_token_ids": sorted(wanted.stops.tokens),
            "stop": list(wanted.stops.searched),
            "no_stop_trim": True,
            "skip_special_tokens": False,
        }
        body: dict[str, Any] = {"input_ids": list(wanted.prompt), "sampling_params": sampling, "return_logprob": True}
        if weights is not None and weights.adapter is not None:
            body["lora_path"] = weights.adapter
        return ServerRequest("/generate", body)

    def read(self, answer: Any) -> ServedTokens:  # noqa: D102
        try:
            meta = answer["meta_info"]
            drawn = meta["output_token_logprobs"]
            log_probs, tokens = [float(it[0]) for it in drawn], [int(it[1]) for it in drawn]
            version = meta.get("weight_version")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UnreadableAnswerError(f"its answer has no meta_info with output_token_logprobs ({error!r})") from None
        return ServedTokens(tokens, log_probs, frozenset() if version is None else frozenset([str(version)]))

    def load(self, weights: Weights) -> list[ServerRequest]:  # noqa: D102
        if weights.adapter is not None:
            return [
                ServerRequest("/load_lora_adapter", {"lora_name": weights.adapter, "lora_path": str(weights.folder)})
            ]
        body = {"model_path": str(weights.folder), "weight_version": weights.version, "flush_cache": True}
        return [ServerRequest("/update_weights_from_disk", body)]

    def unload(self, weights: Weights) -> list[ServerRequest]:  # noqa: D102
        return (
            [] if weights.adapter is None else [ServerRequest("/unload_lora_adapter", {"lora_name": weights.adapter})]
        )

    def sleep(self, *, keep_weights: bool) -> list[ServerRequest]:  # noqa: D102
        return [ServerRequest("/release_memory_occupation", {"tags": _tags(keep_weights=keep_weights)})]

    def wake_if_asleep(self) -> list[ServerRequest]:  # noqa: D102
        return []  # a server that is awake fails on this request; one that is asleep refuses to generate

    def wake(self, *, keep_weights: bool) -> list[ServerRequest]:  # noqa: D102
        return [ServerRequest("/resume_memory_occupation", {"tags": _tags(keep_weights=keep_weights)})]


def _tags(*, keep_weights: bool) -> list[str]:
    """The kinds of memory to free: the weights only if they are loaded again on waking."""
    return ["kv_cache"] if keep_weights else ["weights", "kv_cache"]
