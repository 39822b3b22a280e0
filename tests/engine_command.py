"""The server of engine_server.py, started like vLLM or SGLang: `python engine_command.py vllm serve MODEL ...`.

It knows the flags below and refuses all others; tests/engines holds them against the released packages.
"""

import argparse
import sys

from forks import WITHOUT_SKLEARN

FLAGS = {
    "vllm": "--host --port --dtype --seed --max-model-len --max-num-seqs --gpu-memory-utilization --tensor-parallel-size "
    "--logprobs-mode --generation-config --max-loras --max-lora-rank",
    "sglang": "--model-path --host --port --dtype --random-seed --context-length --max-running-requests "
    "--mem-fraction-static --tensor-parallel-size --sampling-defaults --max-loras-per-batch --max-lora-rank "
    "--lora-target-modules",
}
SWITCHES = {
    "vllm": "--enable-lora --enable-sleep-mode --trust-remote-code",
    "sglang": "--enable-lora --enable-memory-saver --trust-remote-code",
}


def main(engine: str, arguments: list[str]) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("serve", choices=["serve"])
    if engine == "vllm":
        parser.add_argument("model")
    for flag in FLAGS[engine].split():
        parser.add_argument(flag)
    for flag in SWITCHES[engine].split():
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args(arguments)
    of_engine = {"vllm": ("model", "max_model_len"), "sglang": ("model_path", "context_length")}
    model, longest = (getattr(options, it) for it in of_engine[engine])
    assert options.host == "127.0.0.1"
    serve(engine, model, longest=int(longest), port=int(options.port))


def serve(engine: str, model: str, *, longest: int, port: int) -> None:
    """Load the model and answer requests."""
    exec(WITHOUT_SKLEARN)
    import torch
    import uvicorn

    from engine_server import LoadedModel, build_app

    torch.set_num_threads(1)
    loaded = LoadedModel(model, longest=longest)
    uvicorn.run(build_app(engine, loaded), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
