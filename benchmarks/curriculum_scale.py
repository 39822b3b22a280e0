"""A curriculum of a million prompts: what a step of 4,096 promotions takes, and how large its state is.

    python benchmarks/curriculum_scale.py [--prompts 1000000] [--promotions 4096] [--top stay|self] [--runs 5] [--json OUT]

The step goes through the calls of a training step: draw the prompts, stage visits that all win, commit the climbs,
record the promotions in a run's database, save the state as a checkpoint does. What comes after the update (commit, record
and save) must take at most 1 s, and the state at most 100 MB, in memory (what Python and numpy allocated for it) as on disk.
With `--top self` every prompt stands at the top, where a win makes the policy's own response its next rung, and memory is
read after all of them have won: the most that a state can hold.
"""

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from longform.curriculum.schedule import Curriculum, PromptDraw, PromptOutcome
from longform.curriculum.settings import CurriculumSettings
from longform.records.database import Promotion
from longform.records.run_directory import RunDirectory

MOST_SECONDS, MOST_MEGABYTES = 1.0, 100.0
RUNGS = 5
ResultT = TypeVar("ResultT")


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--promotions", type=int, default=4096)
    parser.add_argument("--top", choices=["stay", "self"], default="stay")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = time_steps(options, Path(folder))
        in_memory, on_disk = measure_state(options, Path(folder))
    after_update = sum(seconds[name] for name in ("commit", "record", "save"))
    print(f"{options.prompts:,} prompts of {RUNGS} references, {options.promotions:,} promotions, top: {options.top}")
    for name, took in seconds.items():
        print(f"{name:<16}{took:>8.3f} s")
    print(f"{'after the update':<16}{after_update:>8.3f} s   (commit, record, save; at most {MOST_SECONDS:g})")
    print(f"{'in memory':<16}{in_memory:>8.1f} MB  (at most {MOST_MEGABYTES:g})")
    print(f"{'on disk':<16}{on_disk:>8.1f} MB  (at most {MOST_MEGABYTES:g})")
    if options.json is not None:
        figures = {"seconds": seconds, "after_update": after_update, "memory_mb": in_memory, "disk_mb": on_disk}
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.exit(after_update > MOST_SECONDS or max(in_memory, on_disk) > MOST_MEGABYTES)


def build(options: argparse.Namespace) -> Curriculum:
    """The curriculum at the start of a run."""
    settings = CurriculumSettings(mode="dynamic", top=options.top)
    start = RUNGS - 1 if options.top == "self" else 0
    num_prompts = options.prompts
    return Curriculum([RUNGS] * num_prompts, [start] * num_prompts, settings, seed=0, steps=1000)


def time_steps(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The best time of each part of a step."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], ResultT]) -> ResultT:
        began = time.perf_counter()
        result = work()
        seconds[name] = min(seconds.get(name, float("inf")), time.perf_counter() - began)
        return result

    curriculum = timed("build", lambda: build(options))
    with RunDirectory.open(folder / "run") as run:
        for step in range(1, options.runs + 1):
            faced = timed("draw", lambda step=step: curriculum.draw(step, options.promotions))
            climbs = timed("stage", lambda faced=faced: curriculum.stage([won(it) for it in faced]))
            promoted = timed("commit", lambda climbs=climbs: curriculum.commit(climbs))
            assert len(promoted) == options.promotions
            promotions = [Promotion(step, f"prompt-{it.prompt_index:07d}", it.rung) for it in promoted]
            timed(
                "record",
                lambda step=step, promotions=promotions: run.database.record_step(
                    step, seconds=0.0, metrics={}, promotions=promotions
                ),
            )
            timed("save", lambda: curriculum.save(folder))
    return seconds


def measure_state(options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Megabytes of a state after a step of every prompt (top: self) or of some: in memory, and of its checkpoint."""
    tracemalloc.start()
    curriculum = build(options)
    for step in range(1, 2 + (options.prompts // options.promotions if options.top == "self" else 0)):
        curriculum.commit(curriculum.stage([won(it) for it in curriculum.draw(step, options.promotions)]))
    in_memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    place = folder / "state"
    place.mkdir()
    curriculum.save(place)
    return in_memory / 1e6, sum(file.stat().st_size for file in place.iterdir()) / 1e6


def won(faced: PromptDraw) -> PromptOutcome:
    """A visit of one rollout that wins."""
    return PromptOutcome(faced.prompt_index, faced.rung, ("win",), (f"{faced.prompt_index:064x}",))


if __name__ == "__main__":
    main()
