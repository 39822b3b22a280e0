"""The commands that start vLLM and SGLang, and answers of theirs without what a response needs."""

from typing import Any

import pytest

from longform.writers.served.protocol import LaunchOptions, ServerProtocol, UnreadableAnswerError
from longform.writers.served.sglang import Sglang
from longform.writers.served.vllm import Vllm

OPTIONS = LaunchOptions(
    model="models/smol",
    port=8123,
    precision="bfloat16",
    seed=7,
    longest=4096,
    rows=32,
    memory=0.45,
    tensor_parallel=2,
    adapter_rank=None,
    can_sleep=False,
    trust_remote_code=False,
    arguments=(),
)
WHOLE: dict[str, Any] = {"adapter_rank": 24, "can_sleep": True, "trust_remote_code": True, "arguments": ("--mine", "3")}
VLLM = (
    "vllm serve models/smol --host 127.0.0.1 --port 8123 --dtype bfloat16 --seed 7 --max-model-len 4096 --max-num-seqs 32 "
    "--gpu-memory-utilization 0.45 --tensor-parallel-size 2 --logprobs-mode processed_logprobs --generation-config vllm"
)
SGLANG = (
    "sglang serve --model-path models/smol --host 127.0.0.1 --port 8123 --dtype bfloat16 --random-seed 7 "
    "--context-length 4096 --max-running-requests 32 --mem-fraction-static 0.45 --tensor-parallel-size 2 "
    "--sampling-defaults openai"
)


@pytest.mark.parametrize(
    ("engine", "plain", "more"),
    [
        # vLLM takes only certain ranks: the next larger one.
        (
            Vllm(),
            VLLM,
            "--enable-lora --max-loras 1 --max-lora-rank 32 --enable-sleep-mode --trust-remote-code --mine 3",
        ),
        (
            Sglang(),
            SGLANG,
            "--enable-lora --max-loras-per-batch 1 --max-lora-rank 24 --lora-target-modules all --enable-memory-saver "
            "--trust-remote-code --mine 3",
        ),
    ],
    ids=["vllm", "sglang"],
)
def test_a_server_is_started_on_loopback_with_what_the_recipe_says(engine: ServerProtocol, plain: str, more: str):
    assert " ".join(engine.command(OPTIONS)) == plain
    assert " ".join(engine.command(OPTIONS._replace(**WHOLE))) == f"{plain} {more}"


@pytest.mark.parametrize(
    ("engine", "answers", "problem"),
    [
        (
            Vllm(),
            ["", None, {}, {"choices": []}, {"choices": [{"token_ids": [1], "logprobs": None}]}],
            r"its answer has no choices with token_ids and logprobs \(",
        ),
        (
            Sglang(),
            ["", None, {}, {"meta_info": {}}, {"meta_info": {"output_token_logprobs": [[None, 5]]}}],
            r"its answer has no meta_info with output_token_logprobs \(",
        ),
    ],
    ids=["vllm", "sglang"],
)
def test_an_answer_without_tokens_or_their_probabilities_is_refused(engine: ServerProtocol, answers: Any, problem: str):
    for answer in answers:
        with pytest.raises(UnreadableAnswerError, match=problem):
            engine.read(answer)
