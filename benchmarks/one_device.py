"""What one device does: tokens a second, and the memory that a run takes against the plan of `longform train --dry-run`.

    python benchmarks/one_device.py [--size 60m|0.5b|1.5b|3b|7b | --model FOLDER] [--settings NAME ...] [--tokens 128]
        [--per-step 16]

A model of random weights in the shape of a known one, or the model of a folder, trains for two steps against a judge
of its own, each setting in a process of its own. On a GPU the memory is what torch allocated at most plus what the
plan counts for the device; on a CPU it is the most that the process held in pages of its own (not those of mapped
files) beyond what it held before the models were loaded, looked at every 10 ms. Random weights seldom end a response,
so responses are as long as they may get, which is what the plan assumes. Speeds are those of the second step.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from longform.records.schemas import Ladder, Reference
from longform.training.run import check_start, train

SIZES = {  # hidden, intermediate, layers, heads, key-value heads, vocabulary
    "60m": (512, 1408, 8, 8, 8, 32_000),
    "0.5b": (896, 4864, 24, 14, 2, 151_936),
    "1.5b": (1536, 8960, 28, 12, 2, 151_936),
    "3b": (2048, 11008, 36, 16, 2, 151_936),
    "7b": (3584, 18944, 28, 28, 4, 152_064),
}
LOW = {"precision": "bfloat16"}
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {},
    "grpo": {"method": "grpo", "group": 4, "optim": {"mini_batch": None}},
    "full-frugal": {"memory": {"gradient_checkpointing": True}},
    "full-bfloat16": {"memory": LOW},
    "full-bfloat16-frugal": {"memory": {**LOW, "gradient_checkpointing": True}},
    "adapters": {"lora": {"rank": 16}},
    "adapters-bfloat16": {"lora": {"rank": 16}, "memory": LOW},
    "adapters-bfloat16-frugal": {"lora": {"rank": 16}, "memory": {**LOW, "gradient_checkpointing": True}},
}
MAX_PROMPT_TOKENS = 64


def main() -> None:
    """Measure every setting, or run one of them as a child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="60m")
    parser.add_argument("--model", type=Path, help="a folder with weights, instead of random ones of --size")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--tokens", type=int, default=128, help="of each response")
    parser.add_argument("--per-step", type=int, default=16, help="rollouts; half of them make a mini-batch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.child, options.settings[0], tokens=options.tokens, per_step=options.per_step)
        return
    figures = {}
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
            figures[name] = json.loads(output.splitlines()[-1])
    columns = ["", "planned GiB", "measured GiB", "ratio", "written tokens/s", "updated tokens/s"]
    rows = [
        [
            name,
            f"{it['planned'] / GIB:.2f}",
            f"{it['measured'] / GIB:.2f}",
            f"{it['measured'] / it['planned']:.2f}",
            f"{it['written']:.0f}",
            f"{it['updated']:.0f}",
        ]
        for name, it in figures.items()
    ]
    print_table(
        f"{options.model.name if options.model else options.size}, {options.per_step} responses of {options.tokens} tokens",
        columns,
        rows,
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


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
    """Ladders, and the miniature's judge."""
    references = [Reference(model="start", text="A story.", score=1)]
    ladders = [
        Ladder(**row.model_dump(), references=references, policy_score=1, potential=0)
        for row in prompts(seed=1, split="train", count=count)
    ]
    write_rows(folder / "ladders.jsonl", ladders)
    models = {"judge": {"base_url": base_url, "model": "miniature-judge"}}
    (folder / "models.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")


def measure(folder: Path, name: str, *, tokens: int, per_step: int) -> None:
    """Train two steps and print the figures as JSON."""
    settings = {"group": 1} | SETTINGS[name]
    group = settings.pop("group")
    recipe = Recipe.model_validate(
        {
            "policy": str(folder / "start"),
            "models": str(folder / "models.yaml"),
            "data": {"ladders": str(folder / "ladders.jsonl"), "per_step": per_step // group, "group": group},
            "rewards": [{"kind": "pairwise", "judge": "judge"}],
            "generation": {"max_tokens": tokens, "max_prompt_tokens": MAX_PROMPT_TOKENS},
            "optim": {"mini_batch": per_step // 2},
            "run": {"name": name, "folder": str(folder / "runs"), "steps": 2},
            **settings,
        }
    )
    plan = check_start(recipe, check_inputs(recipe)).memory
    before = own_pages()
    with watched_memory() as most:
        result = train(recipe, on_step=lambda report: None)
    measured = max(most) - before
    if torch.cuda.is_available():
        measured = torch.cuda.max_memory_allocated() + plan.held["device and libraries"]
    with RunDirectory.read(result.path) as run:
        written = run.database.metric("text/tokens")[-1][1] * per_step
        seconds = {name: run.database.metric(f"seconds/{name}")[-1][1] for name in ("writing", "updating")}
    figures = {
        "planned": plan.total,
        "measured": measured,
        "written": written / seconds["writing"],
        "updated": written / seconds["updating"],
    }
    print(json.dumps(figures))


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
