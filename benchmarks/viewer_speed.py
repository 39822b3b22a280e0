"""How fast `longform view` answers on a large run: pages, filters and searches over HTTP, and what the index takes.

    python benchmarks/viewer_speed.py --out runs/large --steps 405 --per-step 32 --words 2000
    python benchmarks/viewer_speed.py --out runs/huge --steps 2000 --per-step 500 --words 200
    python benchmarks/viewer_speed.py --out runs/large --bundle
    python benchmarks/viewer_speed.py --out runs/live --live

Writes a run of random words (frequencies as in natural text: the k-th most frequent word 1/k as often) unless OUT has one,
serves it in a process of its own, waits for the index, and asks for each page five times; the median counts. With --live
it prints how long after a step of a running quickstart is on record its texts are in the list, and with --bundle what a
bundle with all texts of the run takes.
"""

import argparse
import itertools
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from longform.cli.output import print_table
from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.rollout_search import INDEX_NAME, RolloutIndex
from longform.records.run_directory import RunDirectory
from longform.viewer.bundle import write_bundle
from longform.viewer.links import BundleLinks

VOCABULARY = ["the", "of", "and", *(f"w{number}" for number in range(30_000))]
RARE, ABSENT = "zyzzyva", "qwertyuiop"
PROMPTS = 1500
PAGES = {
    "list of runs": "/",
    "run": "/run/{key}",
    "first page of rollouts": "/run/{key}/rollouts",
    "one step": "/run/{key}/rollouts?step=77",
    "wins by reward": "/run/{key}/rollouts?outcome=win&sort=-reward",
    "frequent word": "/run/{key}/rollouts?q=the",
    "frequent word, wins only": "/run/{key}/rollouts?q=the&outcome=win",
    "rare word": f"/run/{{key}}/rollouts?q={RARE}",
    "absent word": f"/run/{{key}}/rollouts?q={ABSENT}",
    "phrase": "/run/{key}/rollouts?q=%22the+of%22",
    "one rollout": "/run/{key}/rollout/77/3",
    "a prompt's history": "/run/{key}/prompt?id=p7",
}


def main() -> None:
    """Write, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="run directory")
    parser.add_argument("--steps", type=int, default=405)
    parser.add_argument("--per-step", type=int, default=32)
    parser.add_argument("--words", type=int, default=2000, help="of each response")
    parser.add_argument("--bundle", action="store_true", help="write a bundle with texts beside OUT instead")
    parser.add_argument("--live", action="store_true", help="run `longform quickstart --smoke` in the new folder OUT")
    options = parser.parse_args()
    if options.live:
        watch(options.out)
        return
    if not (options.out / "run.sqlite").exists():
        write_run(options.out, steps=options.steps, per_step=options.per_step, words=options.words)
    if options.bundle:
        write_and_measure(options.out)
        return
    (options.out / INDEX_NAME).unlink(missing_ok=True)
    began, processor = time.perf_counter(), time.process_time()
    added = RolloutIndex(options.out).update()
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    sizes = [(options.out / name).stat().st_size / 1e6 for name in ("run.sqlite", INDEX_NAME)]
    print(f"{added:,} rollouts of {options.words} words: index in {seconds:.0f} s ({processor:.0f} of processor time)")
    print(f"run {sizes[0]:,.0f} MB, index {sizes[1]:,.0f} MB")
    with viewer(options.out) as address:
        rows = [
            [name, f"{ask(address + page.format(key=options.out.resolve().name)):.3f}"] for name, page in PAGES.items()
        ]
    print_table("seconds for a page", ["page", "median of five"], rows)


def write_and_measure(run: Path) -> None:
    """Write a bundle of a run, and print its time and sizes."""
    began, folder = time.perf_counter(), run.with_name(f"{run.name}-bundle")
    bundle = write_bundle([run], folder, with_texts=True)
    seconds = time.perf_counter() - began
    listed = (folder / BundleLinks(with_texts=True).rollouts(run.resolve().name)).stat().st_size
    print(
        f"{bundle.files:,} files, {bundle.size / 1e6:,.0f} MB, in {seconds:.0f} s; list of rollouts {listed / 1e6:.1f} MB"
    )


@contextmanager
def viewer(path: Path) -> Iterator[str]:
    """`longform view` in a process of its own; its address."""
    command = [sys.executable, "-m", "longform", "view", str(path), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip().rstrip("/")
        server.terminate()


def watch(folder: Path) -> None:
    """Train the quickstart's smallest run, and print for each step how long after its record the list of texts had it."""
    command = [sys.executable, "-m", "longform", "quickstart", "--smoke", "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        while not (found := sorted(folder.rglob("run.sqlite"))) and training.poll() is None:
            time.sleep(0.1)
        run = found[0].parent
        recorded: dict[int, float] = {}
        shown: dict[int, float] = {}
        with viewer(run) as address:
            ended = False
            while not ended:
                ended = training.poll() is not None  # and once more, for the last step
                step = last_step(run)
                recorded.setdefault(step, time.perf_counter())
                with urllib.request.urlopen(f"{address}/run/{run.resolve().name}/rollouts?sort=latest") as answer:
                    listed = re.findall(r"/rollout/([0-9]+)/", answer.read().decode())
                if listed:
                    shown.setdefault(max(map(int, listed)), time.perf_counter())
                ended = ended and step in (0, *shown)
    rows = [[f"{step}", f"{max(0.0, shown[step] - at):.2f}"] for step, at in recorded.items() if step in shown]
    print_table("seconds from the record of a step to its texts in the list", ["step", "seconds"], rows)


def last_step(run: Path) -> int:
    """The last step on record; 0 while the run begins."""
    try:
        with RunDirectory.read(run) as opened:
            return opened.database.last_step()
    except BadInputError:
        return 0


def write_run(folder: Path, *, steps: int, per_step: int, words: int) -> None:
    """A run of random words; one response has the rare word."""
    draw = random.Random(0)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(VOCABULARY))))
    with RunDirectory.open(folder) as run:
        for step in range(1, steps + 1):
            rollouts = []
            for row in range(per_step):
                text = " ".join(draw.choices(VOCABULARY, cum_weights=weights, k=words))
                rollouts.append(
                    RolloutRecord(
                        step=step,
                        row=row,
                        prompt_id=f"p{draw.randrange(PROMPTS)}",
                        rung=draw.randrange(3),
                        text=f"{text} {RARE}" if (step, row) == (77, 3) else text,
                        reference=f"Reference {row}.",
                        tokens=words,
                        words=words,
                        think_words=0,
                        finish_reason="stop",
                        outcome=draw.choice(["win", "tie", "loss"]),
                        cause=None,
                        reward=draw.random(),
                        scores={"pairwise": 0.5},
                    )
                )
            metrics = {"reward/mean": draw.random(), "reward/count": float(per_step)}
            run.database.record_step(step, seconds=60.0, metrics=metrics, rollouts=rollouts)


def ask(address: str) -> float:
    """Median seconds of five requests for a page."""
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        with urllib.request.urlopen(address) as answer:
            answer.read()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


if __name__ == "__main__":
    main()
