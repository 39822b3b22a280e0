"""What one device does: tokens a second, and the memory that a run takes against the plan of `--dry-run`.

    OMP_NUM_THREADS=1 python benchmarks/one_device.py [--size 60m|0.5b|1.5b|3b|7b | --model FOLDER] [--settings NAME ...]
        [--tokens 128] [--per-step 16]

A model of random weights in the shape of a known one, or the model of a folder, trains for two steps, each setting in a
process of its own: PPO, GRPO and adapters against the miniature's judge, and the supervised stages on rows of one length.
On a GPU the memory is what torch allocated at most plus what the plan counts for the device; on a CPU it is the most that
the process held in pages of its own (not those of mapped files), looked at every 10 ms: libraries, weights and all. The
plan counts the same. Random weights seldom end a response, so responses are as long as they may get, which is what the
plan assumes. Speeds are those of the second step.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import torch
import yaml
from transformers import AutoModelForCausalLM, Qwen2Config

from longform.cli.output import print_table
from longform.miniature.policy import build_tokenizer
from longform.miniature.server import serve_in_background
from longform.miniature.world import prompts
from longform.planning.memory import GIB
from longform.recipe.inputs import check_inputs
from longform.recipe.recipe import Recipe
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Preference, Reference
from longform.steps.recorder import StepReport
from longform.training.run import check_start, train
from longform.training.supervised.reward_model_recipe import RewardModelRecipe, run_reward_model
from longform.training.supervised.sft_recipe import SftRecipe
from longform.training.supervised.sft_run import run_sft
from longform.training.supervised.stage_check import check_stage_memory

SIZES = {  # hidden, intermediate, layers, heads, key-value heads, vocabulary
    "tiny": (64, 160, 2, 4, 2, 1_000),
    "60m": (512, 1408, 8, 8, 8, 32_000),
    "0.5b": (896, 4864, 24, 14, 2, 151_936),
    "1.5b": (1536, 8960, 28, 12, 2, 151_936),
    "3b": (2048, 11008, 36, 16, 2, 151_936),
    "7b": (3584, 18944, 28, 28, 4, 152_064),
}
LOW = {"precision": "bfloat16"}
GRPO = {"method": "grpo", "group": 4, "optim": {"mini_batch": None}}
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {},
    "grpo": GRPO,
    "grpo-bfloat16": {**GRPO, "memory": LOW},
    "full-frugal": {"memory": {"gradient_checkpointing": True}},
    "full-bfloat16": {"memory": LOW},
    "full-bfloat16-frugal": {"memory": {**LOW, "gradient_checkpointing": True}},
    "adapters": {"lora": {"rank": 16}},
    "adapters-bfloat16": {"lora": {"rank": 16}, "memory": LOW},
    "adapters-bfloat16-frugal": {"lora": {"rank": 16}, "memory": {**LOW, "gradient_checkpointing": True}},
}
ENGINES: dict[str, dict[str, Any]] = {
    "grpo-bfloat16-paged": {**GRPO, "memory": LOW, "generation": {"engine": "paged"}},
    "grpo-bfloat16-vllm": {**GRPO, "memory": LOW, "generation": {"engine": "vllm"}},
    "grpo-bfloat16-sglang": {**GRPO, "memory": LOW, "generation": {"engine": "sglang"}},
    "grpo-adapters-bfloat16-vllm": {**GRPO, "lora": {"rank": 16}, "memory": LOW, "generation": {"engine": "vllm"}},
    "grpo-adapters-bfloat16-sglang": {**GRPO, "lora": {"rank": 16}, "memory": LOW, "generation": {"engine": "sglang"}},
}
"""For gpu_check.py."""
SUPERVISED: dict[str, dict[str, Any]] = {
    "sft": {},
    "sft-bfloat16-frugal": {"memory": {**LOW, "gradient_checkpointing": True}},
    "sft-adapters": {"lora": {"rank": 16}},
    "reward-model": {},
    "reward-model-adapters": {"lora": {"rank": 16}},
}
MAX_PROMPT_TOKENS = 64
LONG = 20
"""Repetitions of all prompts in a text, more than any row has room for."""
ResultT = TypeVar("ResultT")


class Measured(NamedTuple):
    """One setting."""

    planned: float
    """Bytes."""
    measured: float
    """Bytes."""
    written: float | None
    """Tokens a second; None where nothing is written."""
    updated: float
    """Tokens a second."""


def main() -> None:
    """Measure every setting, or run one of them as a child."""
    names = [*SETTINGS, *SUPERVISED]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="60m")
    parser.add_argument("--model", type=Path, help="a folder with weights, instead of random ones of --size")
    parser.add_argument("--settings", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--tokens", type=int, default=128, help="of each response")
    parser.add_argument("--per-step", type=int, default=16, help="rollouts; half of them make a mini-batch or batch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        (name,) = options.settings
        measure = measure_run if name in SETTINGS else measure_stage
        print(json.dumps(measure(options.child, name, tokens=options.tokens, per_step=options.per_step)._asdict()))
        return
    figures: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder, serve_in_background() as base_url:
        if options.model is None:
            write_model(Path(folder) / "start", size=options.size)
        else:
            (Path(folder) / "start").symlink_to(options.model.resolve())
        write_inputs(Path(folder), base_url, count=options.per_step)
        for name in options.settings:
            shape = ["--tokens", str(options.tokens), "--per-step", str(options.per_step)]
            command = [sys.executable, __file__, *shape, "--settings", name, "--child", folder]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            figures[name] = Measured(**json.loads(output.splitlines()[-1]))
            print(f"{name}: {figures[name].measured / GIB:.2f} GiB", file=sys.stderr)
    columns = ["", "planned GiB", "measured GiB", "ratio", "written tokens/s", "updated tokens/s"]
    rows = [
        [
            name,
            f"{it.planned / GIB:.2f}",
            f"{it.measured / GIB:.2f}",
            f"{it.measured / it.planned:.2f}",
            "" if it.written is None else f"{it.written:.0f}",
            f"{it.updated:.0f}",
        ]
        for name, it in figures.items()
    ]
    print_table(
        f"{options.model.name if options.model else options.size}, {options.per_step} responses of {options.tokens} tokens",
        columns,
        rows,
    )
    if options.json:
        content = {name: it._asdict() for name, it in figures.items()}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_model(folder: Path, *, size: str) -> None:
    """A model with random weights and the miniature's tokenizer."""
    tokenizer: Any = build_tokenizer()
    hidden, intermediate, layers, heads, key_heads, vocabulary = SIZES[size]
    config = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=size not in ("60m", "7b"),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_inputs(folder: Path, base_url: str, *, count: int) -> None:
    """Ladders and the miniature's judge; texts and preferences, longer than any row may be."""
    rows = prompts(seed=1, split="train", count=count)
    references = [Reference(model="start", text="A story.", score=1)]
    write_rows(
        folder / "ladders.jsonl",
        [Ladder(**row.model_dump(), references=references, policy_score=1, potential=0) for row in rows],
    )
    long = [" ".join(it.request for it in rows[i:] + rows[:i]) * LONG for i in range(len(rows))]
    texts = [json.dumps({"text": text}) + "\n" for text in long]
    (folder / "texts.jsonl").write_text("".join(texts), encoding="utf-8")
    pairs = [Preference(prompt=it.request, chosen=text, rejected=text[1:]) for it, text in zip(rows, long, strict=True)]
    write_rows(folder / "preferences.jsonl", pairs)
    models = {"judge": {"base_url": base_url, "model": "miniature-judge"}}
    (folder / "models.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")


def build_recipe(folder: Path, name: str, *, tokens: int, per_step: int, **run: Any) -> Recipe:
    """The recipe of a setting; `run` is its section."""
    settings = {"group": 1, "generation": {}} | (SETTINGS | ENGINES)[name]
    group, generation = settings.pop("group"), settings.pop("generation")
    content = {
        "policy": str(folder / "start"),
        "models": str(folder / "models.yaml"),
        "data": {"ladders": str(folder / "ladders.jsonl"), "per_step": per_step // group, "group": group},
        "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "generation": {"max_tokens": tokens, "max_prompt_tokens": MAX_PROMPT_TOKENS, **generation},
        "optim": {"mini_batch": per_step // 2},
        "run": {"name": name, "folder": str(folder / "runs"), **run},
    }
    return Recipe.model_validate(content | settings)


def measure_run(folder: Path, name: str, *, tokens: int, per_step: int, checkpoint: bool = True) -> Measured:
    """Two steps of reinforcement learning, with a checkpoint at their end or without any."""
    recipe = build_recipe(folder, name, tokens=tokens, per_step=per_step, steps=2 if checkpoint else 3)
    plan = check_start(recipe, check_inputs(recipe)).memory
    _, peak = with_peak(lambda: train_until(recipe, 2), plan.held["device and libraries"])
    with RunDirectory.read(recipe.run_path) as run:
        written = run.database.metric("text/tokens")[-1][1] * per_step
        seconds = {name: run.database.metric(f"seconds/{name}")[-1][1] for name in ("writing", "updating")}
    return Measured(plan.total, peak, written / seconds["writing"], written / seconds["updating"])


def train_until(recipe: Recipe, last: int, *, resume: bool = False) -> None:
    """Train, and stop behind step `last`, whatever the recipe says."""

    def on_step(report: StepReport) -> None:
        if report.step == last < recipe.run.steps:
            raise _Stopped

    with suppress(_Stopped):
        train(recipe, resume=resume, on_step=on_step)


class _Stopped(Exception):
    """The steps that were asked for are done."""


def measure_stage(folder: Path, name: str, *, tokens: int, per_step: int) -> Measured:
    """Two updates of a supervised stage, on rows of as many tokens as a prompt and its response may have."""
    longest, batch = MAX_PROMPT_TOKENS + tokens, per_step // 2
    settings = {"batch_size": batch, "max_tokens": longest, "steps": 2}
    common = {"out": folder / name, "settings": settings, **SUPERVISED[name]}
    ended: list[float] = []

    def on_progress(step: int, steps: int, loss: float) -> None:  # noqa: ARG001
        ended.append(time.perf_counter())

    if name.startswith("sft"):
        recipe = SftRecipe.model_validate(
            common | {"policy": str(folder / "start"), "data": {"rows": [folder / "texts.jsonl"]}}
        )
        plan = check_stage_memory(recipe, recipe.policy, recipe.settings)
        run: Callable[[], object] = lambda: run_sft(recipe, on_progress=on_progress)  # noqa: E731
        texts = batch
    else:
        pairs = RewardModelRecipe.model_validate(
            common | {"base": str(folder / "start"), "preferences": [folder / "preferences.jsonl"], "held_out": 0.5}
        )
        plan = check_stage_memory(pairs, pairs.base, pairs.settings, texts_per_row=2)
        run = lambda: run_reward_model(pairs, on_progress=on_progress)  # noqa: E731
        texts = 2 * batch
    _, peak = with_peak(run, plan.held["device and libraries"])
    return Measured(plan.total, peak, None, texts * longest / (ended[-1] - ended[-2]))


def with_peak(run: Callable[[], ResultT], device: float) -> tuple[ResultT, float]:
    """The result of a function, and the most memory that was held meanwhile.

    Args:
        run: the function.
        device: bytes that a GPU holds besides what torch allocates.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with watched_memory() as most:
        result = run()
    peak = torch.cuda.max_memory_allocated() + device if torch.cuda.is_available() else max(most)
    return result, peak


def own_pages() -> int:
    """Bytes that this process holds in memory and that no file stands behind."""
    held = psutil.Process().memory_info()
    return held.rss - held.shared


@contextmanager
def watched_memory() -> Iterator[list[int]]:
    """`own_pages`, time and again while the context lasts."""
    seen, ended = [own_pages()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            seen.append(own_pages())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    main()
