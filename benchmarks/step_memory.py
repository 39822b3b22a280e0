"""Whether memory grows over many PPO steps: the training process's resident set after each, and its slope.

    python benchmarks/step_memory.py [--steps 1000] [--small] [--json OUT]     (45 minutes; small 8)

Runs `training.run.train` with the quickstart's recipe, model, batch and lengths in a process that does nothing else (what an
SFT before it has freed would hide growth), judged by the miniature's server, a process of its own too. `--small` takes 16
rollouts of at most 48 tokens a step instead of 64 of 160, and a start that has learned less. The first fifth of the steps is
left out: allocators and caches fill up there. The slope is that of a straight line by least squares through the means of
every ten of the rest, and must stay under 1 MB per 100 steps. A step's batch moves its memory up and down by some 20 MB,
so a short run says little: the standard error stands beside the slope, and so does the slope of the least of every ten,
which a leak would lift as well. Nothing is collected by force.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from longform.miniature.quickstart import (
    FULL,
    Scale,
    build_ladders,
    gather_candidates,
    pipeline_recipe,
    prepare_process,
    train_start,
)
from longform.miniature.server import serve_in_background
from longform.miniature.world_files import write_world
from longform.recipe.loading import dump_recipe, load_recipe
from longform.recipe.recipe import Recipe
from longform.records.progress import no_progress
from longform.steps.recorder import StepReport
from longform.training.run import train

MOST_MEGABYTES_PER_100_STEPS = 1.0
BURN_IN = 0.2
WINDOW = 10
SMALL = FULL._replace(
    sft=FULL.sft.model_copy(update={"steps": 60}),
    train_prompts=128,
    validation_prompts=16,
    recipe=("data.per_step=16", "generation.max_tokens=48", "optim.mini_batch=8", "validation.every=50"),
)


def main() -> None:
    """Measure and print; exits with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="60 at least")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    prepare_process()
    if options.train:
        train_and_measure(options.train)
        return
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        megabytes = run(Path(folder), SMALL if options.small else FULL, steps=options.steps, seed=options.seed)
    kept = megabytes[int(BURN_IN * len(megabytes)) :]
    tens = [kept[i : i + WINDOW] for i in range(0, len(kept) - WINDOW + 1, WINDOW)]
    slope, error = fit([float(np.mean(ten)) for ten in tens])
    floor, floor_error = fit([min(ten) for ten in tens])
    print(
        f"{len(megabytes)} steps{', small' if options.small else ''}, {time.perf_counter() - began:.0f} s with set-up"
    )
    print(
        f"first {megabytes[0]:.1f} MB, after burn-in {kept[0]:.1f} MB, last {kept[-1]:.1f} MB, most {max(megabytes):.1f} MB"
    )
    print(f"slope {slope:+.2f} MB per 100 steps (standard error {error:.2f}; at most {MOST_MEGABYTES_PER_100_STEPS:g})")
    print(f"slope of the floor {floor:+.2f} (standard error {floor_error:.2f})")
    if options.json is not None:
        figures = {"megabytes": megabytes, "slope": [slope, error], "floor": [floor, floor_error]}
        options.json.write_text(json.dumps(figures), encoding="utf-8")
    sys.exit(slope > MOST_MEGABYTES_PER_100_STEPS)


def run(folder: Path, scale: Scale, *, steps: int, seed: int) -> list[float]:
    """Prepare a run in `folder` and train it in a process of its own; the megabytes resident after each step."""
    megabytes: list[float] = []
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=scale, seed=seed)
        train_start(folder, scale=scale, seed=seed, stage=no_progress)
        gather_candidates(folder, seed=seed, stage=no_progress)
        build_ladders(folder)
        recipe = pipeline_recipe(folder, scale=scale, seed=seed, overrides=[f"run.steps={steps}"])
        path = folder / "recipe.yaml"
        path.write_text(dump_recipe(recipe), encoding="utf-8")
        command = [sys.executable, __file__, "--train", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                megabytes.append(float(line))
                if len(megabytes) % max(1, steps // 20) == 0:
                    print(f"  step {len(megabytes):>5}  {megabytes[-1]:.1f} MB", flush=True)
    assert len(megabytes) == steps, f"the training ended after {len(megabytes)} steps"
    return megabytes


def train_and_measure(recipe: Path) -> None:
    """Train; one line of megabytes after each step."""
    process = psutil.Process()

    def on_step(report: StepReport) -> None:  # noqa: ARG001
        print(process.memory_info().rss / 1e6, flush=True)

    train(load_recipe(recipe, Recipe), on_step=on_step)


def fit(values: list[float]) -> tuple[float, float]:
    """Slope per 100 steps of the line through the values, `WINDOW` steps apart, and its standard error."""
    steps = WINDOW * np.arange(len(values))
    (slope, _), covariance = np.polyfit(steps, values, 1, cov=True)
    return float(100 * slope), float(100 * np.sqrt(covariance[0, 0]))


if __name__ == "__main__":
    main()
