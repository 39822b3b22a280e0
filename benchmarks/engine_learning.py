"""Whether a policy learns alike from the tokens of two engines: GRPO on a small pretrained model, several seeds.

    python benchmarks/engine_learning.py MODEL [--engines own paged] [--seeds 1 2 3] [--steps 10]

The demonstration's prompts for at most 40 words and its length reward, adapters, 4 prompts x 4 responses of up to 72 tokens
a step, float32. For each run the mean reward of the first and of the last three steps, the largest mean difference between
the log-probabilities of engine and trainer in a step, and seconds.
"""

import argparse
import json
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from longform.cli.output import print_table
from longform.recipe.recipe import Recipe
from longform.records.run_directory import RunDirectory
from longform.training.run import train

MOST_WORDS = 40


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--engines", nargs="+", default=["own", "paged"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as parent:
        prompts = Path(parent) / "prompts.jsonl"
        lines = (files("longform.demo") / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
        short = [line for line in lines if json.loads(line)["length_range"][1] <= MOST_WORDS]
        prompts.write_text("\n".join(short) + "\n", encoding="utf-8")
        for seed in options.seeds:
            for engine in options.engines:
                recipe = Recipe.model_validate(
                    {
                        "policy": str(options.model),
                        "method": "grpo",
                        "data": {"prompts": str(prompts), "per_step": 4, "group": 4},
                        "rewards": [{"kind": "length"}],
                        "generation": {"max_tokens": 72, "engine": engine},
                        "optim": {"lr": 4e-4, "warmup_steps": 0},
                        "lora": {"rank": 16},
                        "run": {"name": f"{engine}-{seed}", "folder": parent, "steps": options.steps, "seed": seed},
                    }
                )
                start = time.perf_counter()
                train(recipe, on_step=lambda report: None)
                seconds = time.perf_counter() - start
                with RunDirectory.read(recipe.run_path) as run:
                    rewards = [value for _, value in run.database.metric("reward/mean")]
                    apart = [value for _, value in run.database.metric("engine/mean")]
                rows.append(
                    [
                        f"{seed}",
                        engine,
                        f"{np.mean(rewards[:3]):.3f}",
                        f"{np.mean(rewards[-3:]):.3f}",
                        f"{max(apart):.1e}" if apart else "",
                        f"{seconds:.0f}",
                    ]
                )
                print(" ".join(rows[-1]), flush=True)
    print_table("GRPO", ["seed", "engine", "first reward", "last reward", "apart", "seconds"], rows)


if __name__ == "__main__":
    main()
