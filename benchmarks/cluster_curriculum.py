"""A million prompts in the process that owns a run: promotions through Ray, and how large its curriculum is.

    python benchmarks/cluster_curriculum.py [--prompts 1000000] [--promotions 4096] [--steps 5]

Each step goes through the calls of a training step on a cluster: the prompts are drawn by the actor, a step of verdicts that
all win is closed, and its climbs are committed and put on record, all by Ray from another process. At least 4,096 promotions
must be committed a second, for good. The state (what Python and numpy hold for the curriculum and the index of its prompts,
as benchmarks/curriculum_scale.py counts it) must stay under 100 MB. Beside it stand what the whole process grows by, which
has no bound and is more, and the record of as many rollouts of a few words. Texts stay on the disk.
"""

import argparse
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from longform.cli.output import print_table
from longform.curriculum.schedule import Curriculum
from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord
from longform.records.interchange import write_verl
from longform.records.schemas import Ladder, Reference
from longform.rewards.reward import RewardResult

LEAST_PROMOTIONS, MOST_MEGABYTES = 4096.0, 100.0
RUNGS = 5


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--promotions", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, count in (("few", 1000), ("all", options.prompts)):
            write_verl(folder / f"{name}.parquet", (_ladder(n) for n in range(count)))
        timings, added, saved = measure(folder, options)
        held = state_size(folder / "all.parquet", _recipe(folder, "all", options))
    rates = [options.promotions / (it["commit"] + it["record"]) for it in timings]
    rows = [[name, *(f"{it[name]:.3f}" for it in timings)] for name in timings[0]]
    rows.append(["promotions a second", *(f"{rate:,.0f}" for rate in rates)])
    print_table(f"{options.prompts:,} prompts", ["seconds", *(str(n + 1) for n in range(options.steps))], rows)
    print(f"state: {held:.1f} MB, {saved:.1f} MB of it in a checkpoint; the process grew by {added:.1f} MB")
    sys.exit(min(rates) < LEAST_PROMOTIONS or held > MOST_MEGABYTES)


def _ladder(number: int) -> Ladder:
    references = [Reference(model=f"m{n}", text="Once.", score=n) for n in range(RUNGS)]
    return Ladder(id=f"prompt-{number}", prompt="Write.", references=references, policy_score=0, potential=4)


def measure(folder: Path, options: argparse.Namespace) -> tuple[list[dict[str, float]], float, float]:
    """Seconds of the parts of each step, and megabytes: added to the process, and in a checkpoint."""
    import ray

    from longform.cluster.actor_client import start_actor
    from longform.cluster.prompt_table import open_rows

    (folder / "ladders.jsonl").touch()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        hosts = {}
        for name in ("few", "all"):
            hosts[name] = start_actor(name)
            recipe = _recipe(folder, name, options)
            data = folder / f"{name}.parquet"
            open_rows(data)
            ray.get(hosts[name].open.remote(recipe, {}, data=data, keys={}, resume=False, folder=folder))
        few, all_ = _own_memory()
        timings = [_step(hosts["all"], step, options.promotions) for step in range(1, options.steps + 1)]
        return timings, all_ - few, len(ray.get(hosts["all"].state.remote())) / 1e6
    finally:
        ray.shutdown()


def _recipe(folder: Path, name: str, options: argparse.Namespace) -> Recipe:
    return Recipe.model_validate(
        {
            "engine": "cluster",
            "policy": "none",
            "data": {"ladders": str(folder / "ladders.jsonl"), "per_step": options.promotions},
            "rewards": [{"kind": "pairwise", "judge": "judge"}],
            "run": {"name": name, "folder": str(folder / "runs"), "steps": options.steps},
        }
    )


def state_size(data: Path, recipe: Recipe) -> float:
    """Megabytes that Python and numpy hold for the curriculum and the index of its prompts."""
    from longform.cluster.prompt_table import PromptTable

    tracemalloc.start()
    table = PromptTable(data)
    curriculum = Curriculum.of(table.ladders(), recipe.curriculum, policy="none", seed=0, steps=1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(curriculum.rungs) == len(table)
    return held / 1e6


def _own_memory() -> list[float]:
    """Megabytes of each actor, ascending."""
    hosts = [it for it in psutil.process_iter() if it.name().startswith("ray::RunActor")]
    return sorted(it.memory_full_info().uss / 1e6 for it in hosts)


def _step(actor: Any, step: int, count: int) -> dict[str, float]:
    import ray

    seconds: dict[str, float] = {}

    def timed(name: str, answer: Any) -> Any:
        began = time.perf_counter()
        found = ray.get(answer())
        seconds[name] = time.perf_counter() - began
        return found

    faced = timed("draw", lambda: actor.draw.remote(step, count))
    results = [{"pairwise": RewardResult(1.0, "win")}] * count
    hashes = ["0" * 64] * count
    timed("close", lambda: actor.close.remote(step, results, faced, hashes, np.zeros(count, dtype=bool)))
    promoted = timed("commit", lambda: actor.commit.remote(step))
    assert promoted == count
    rollouts = [
        RolloutRecord(
            step, row, f"prompt-{it.prompt_index}", it.rung, "Won.", "Once.", 2, 1, 0, "stop", "win", None, 1.0
        )
        for row, it in enumerate(faced)
    ]
    timed("record", lambda: actor.record.remote(step, seconds=1.0, metrics={}, rollouts=[]))
    timed("record with rollouts", lambda: actor.record.remote(step, seconds=1.0, metrics={}, rollouts=rollouts))
    return seconds


if __name__ == "__main__":
    main()
