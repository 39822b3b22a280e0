"""The memory plan of `longform train --dry-run` against the memory that a run really takes, on a CPU.

    python benchmarks/memory_plan.py [--tokens 256] [--json FILE]

A model of about 60 million random weights trains for two steps in a process of its own, in several settings. Measured is the
process's peak memory beyond what it held before the models were loaded; planned is the plan's total. On a GPU run the same
comparison with `torch.cuda.max_memory_allocated` in place of the process's peak: it is taken where there is one.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from longform.cli.output import print_table
from longform.miniature.policy import build_tokenizer
from longform.miniature.server import serve_in_background
from longform.miniature.world import prompts
from longform.recipe.recipe import Recipe
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Reference
from longform.training.memory import GIB, check_memory
from longform.training.run import train

VOCABULARY = 32_000
FRUGAL = {"gradient_checkpointing": True, "micro_tokens": 1024}
SETTINGS: dict[str, dict[str, Any]] = {
    "all weights, float32": {},
    "all weights, float32, frugal": {"memory": FRUGAL},
    "all weights, bfloat16": {"memory": {"precision": "bfloat16"}},
    "adapters, float32": {"lora": {"rank": 16}},
    "adapters, bfloat16": {"lora": {"rank": 16}, "memory": {"precision": "bfloat16"}},
    "adapters, bfloat16, frugal": {"lora": {"rank": 16}, "memory": {"precision": "bfloat16", **FRUGAL}},
}


def main() -> None:
    """Compare every setting, or run one of them as a child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=256, help="of each response")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, metavar=("SETTING", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        measure(options.child[0], Path(options.child[1]), options.tokens)
        return
    figures = {}
    with tempfile.TemporaryDirectory() as folder, serve_in_background() as base_url:
        write_inputs(Path(folder), base_url)
        for name in SETTINGS:
            command = [sys.executable, __file__, "--tokens", str(options.tokens), "--child", name, folder]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            figures[name] = json.loads(output.splitlines()[-1])
    rows = [
        [name, f"{it['planned'] / GIB:.2f}", f"{it['measured'] / GIB:.2f}", f"{it['measured'] / it['planned']:.2f}"]
        for name, it in figures.items()
    ]
    print_table("memory beyond what the process held before, GiB", ["", "planned", "measured", "ratio"], rows)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def write_inputs(folder: Path, base_url: str) -> None:
    """A model with random weights, ladders, and the miniature's judge."""
    tokenizer: Any = build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    references = [Reference(model="start", text="A story.", score=1)]
    rows = prompts(seed=1, split="train", count=16)
    write_rows(
        folder / "ladders.jsonl",
        [Ladder(**row.model_dump(), references=references, policy_score=1, potential=0) for row in rows],
    )
    models = {"judge": {"base_url": base_url, "model": "miniature-judge"}}
    (folder / "models.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")


def measure(name: str, folder: Path, tokens: int) -> None:
    """Train two steps and print the planned and the measured memory as JSON."""
    recipe = Recipe.model_validate(
        {
            "policy": str(folder / "start"),
            "models": str(folder / "models.yaml"),
            "data": {"ladders": str(folder / "ladders.jsonl"), "per_step": 16},
            "rewards": [{"kind": "pairwise", "judge": "judge"}],
            "generation": {"max_tokens": tokens, "max_prompt_tokens": 64, "batch": 8},
            "optim": {"mini_batch": 8},
            "run": {"name": name.replace(" ", "-").replace(",", ""), "folder": str(folder / "runs"), "steps": 2},
            **SETTINGS[name],
        }
    )
    planned = check_memory(recipe).total
    before = psutil.Process().memory_info().rss
    train(recipe, on_step=lambda report: None)
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if torch.cuda.is_available():
        measured = torch.cuda.max_memory_allocated()
    print(json.dumps({"planned": planned, "measured": measured}))


if __name__ == "__main__":
    main()
