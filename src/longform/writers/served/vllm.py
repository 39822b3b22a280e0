"""vLLM's server: requests and answers of version 0.33, the first with `return_weight_versions`.

`/v1/completions` takes token ids and returns token ids. Whole weights are read from a folder by the workers
(`/collective_rpc`, method reload_weights), and then named by their version; adapters are loaded by name.
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


class Vllm:
    """See `ServerProtocol`."""

    name = "vllm"
    health_path = "/health"
    model_path: str | None = None
    environment: Mapping[str, str] = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    """They enable the requests that change weights and free memory; the server listens on loopback only."""
    installation = "install vllm 0.33 or newer, on a processor with AVX-512 or a GPU"

    def command(self, options: LaunchOptions) -> list[str]:  # noqa: D102
        command = ["vllm", "serve", options.model, "--host", "127.0.0.1", "--port", str(options.port)]
        command += ["--dtype", options.precision, "--seed", str(options.seed)]
        command += ["--max-model-len", str(options.longest), "--max-num-seqs", str(options.rows)]
        command += ["--gpu-memory-utilization", f"{options.memory:g}"]
        command += ["--tensor-parallel-size", str(options.tensor_parallel)]
        # Log-probabilities at the sampling temperature, and no sampling defaults from the model's folder.
        command += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"]
        if options.adapter_rank is not None:
            rank = next((it for it in RANKS if it >= options.adapter_rank), options.adapter_rank)
            command += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(rank)]
        if options.can_sleep:
            command += ["--enable-sleep-mode"]
        if options.trust_remote_code:
            command += ["--trust-remote-code"]
        return [*command, *options.arguments]

    def completion(self, wanted: CompletionRequest) -> ServerRequest:  # noqa: D102
        weights, settings = wanted.weights, wanted.settings
        body = {
            "model": (weights and weights.adapter) or wanted.model,
            "prompt": list(wanted.prompt),
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": wanted.seed,
            "logprobs": 0,
            "return_token_ids": True,
            "return_weight_versions": True,
            # The end tokens are those of the other engines, whatever the server believes; strings stay in the tokens.
            "ignore_eos": True,
            "stop_token_ids": sorted(wanted.stops.tokens),
            "stop": list(wanted.stops.searched),
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
        }
        return ServerRequest("/v1/completions", body)

    def read(self, answer: Any) -> ServedTokens:  # noqa: D102
        try:
            (choice,) = answer["choices"]
            tokens, log_probs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
            spans = choice.get("weight_versions") or []
            versions = frozenset(str(span["version"]) for span in spans)
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableAnswerError(f"its answer has no choices with token_ids and logprobs ({error!r})") from None
        return ServedTokens(tokens, log_probs, versions)

    def load(self, weights: Weights) -> list[ServerRequest]:  # noqa: D102
        if weights.adapter is not None:
            body = {"lora_name": weights.adapter, "lora_path": str(weights.folder)}
            return [ServerRequest("/v1/load_lora_adapter", body)]
        return [
            ServerRequest(
                "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(weights.folder)}}
            ),
            # Cached prefixes belong to the previous weights.
            ServerRequest("/reset_prefix_cache"),
            ServerRequest("/update_weight_version", {"new_version": weights.version}),
        ]

    def unload(self, weights: Weights) -> list[ServerRequest]:  # noqa: D102
        return (
            []
            if weights.adapter is None
            else [ServerRequest("/v1/unload_lora_adapter", {"lora_name": weights.adapter})]
        )

    def sleep(self, *, keep_weights: bool) -> list[ServerRequest]:  # noqa: D102
        # Level 1 keeps the weights in the memory of the processor, level 2 drops them: they are delivered again.
        return [ServerRequest("/sleep", query={"level": "1" if keep_weights else "2"})]

    def wake(self, *, keep_weights: bool) -> list[ServerRequest]:  # noqa: ARG002, D102
        return self.wake_if_asleep()

    def wake_if_asleep(self) -> list[ServerRequest]:  # noqa: D102
        return [ServerRequest("/wake_up")]


RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that --max-lora-rank accepts."""
