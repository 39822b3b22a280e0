"""The demonstration on a pretrained model (`longform quickstart --real`) on several seeds, with what it has to reach.

    python benchmarks/demo_seeds.py --model build/demo-models/smollm2-135m-instruct \\
        --embeddings build/demo-models/all-minilm-l6-v2 --out runs/demo-seeds --seeds 1 2 3 [--method ppo]

Prompts, split, judge and examiner were fixed before any model wrote for them; how the recipes were chosen is in
benchmarks/RESULTS.md. Each seed runs in a process of its own, so that its peak memory is its own. A seed whose result is in
OUT is not run again, one that was interrupted continues, and none is left out.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from longform.cli.output import print_table, progress
from longform.demo.pipeline import run_demo

ONE = "--one"


def main() -> None:
    """Run the seeds that are missing and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--embeddings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--method", choices=["grpo", "ppo"], default="grpo", help="of part two")
    parser.add_argument(ONE, action="store_true", help="run one seed in this process")
    options = parser.parse_args()
    if options.one:
        (seed,) = options.seeds
        folder = folder_of(options.out, seed, options.method)
        run_demo(
            options.model,
            folder,
            seed=seed,
            stage=progress,
            method=options.method,
            embeddings=options.embeddings,
            resume=folder.exists(),
        )
        return
    for seed in options.seeds:
        folder = folder_of(options.out, seed, options.method)
        if not (folder / "evidence.json").exists():
            subprocess.run([sys.executable, *sys.argv[:1], *arguments(options, seed), ONE], check=True, env=os.environ)
    print_seeds([read(folder_of(options.out, seed, options.method)) for seed in options.seeds])


def folder_of(out: Path, seed: int, method: str) -> Path:
    """The folder of a seed."""
    return out / f"{method}-{seed}"


def arguments(options: argparse.Namespace, seed: int) -> list[str]:
    """The arguments for one seed."""
    given = ["--model", options.model, "--out", str(options.out), "--seeds", str(seed), "--method", options.method]
    return given if options.embeddings is None else [*given, "--embeddings", options.embeddings]


def read(folder: Path) -> dict[str, Any]:
    """The figures of a finished seed."""
    return json.loads((folder / "evidence.json").read_text(encoding="utf-8"))


def print_seeds(results: list[dict[str, Any]]) -> None:
    """Two tables: a row for each measure, a column for each seed."""
    names = [f"seed {result['seed']}" for result in results]
    rows = [
        ["inside the range", *map(_three("inside"), results)],
        ["length score", *map(_three("length"), results)],
        ["  change", *(_change(result, "length") for result in results)],
        ["requirements met", *map(_three("requirements"), results)],
        ["  change", *(_change(result, "requirements") for result in results)],
        ["finished by itself", *map(_three("finished"), results)],
        ["letters a word", *map(_three("letters_per_word"), results)],
        ["distinct pairs of words", *(_both(result, lambda own: own["distinct_2"], 3) for result in results)],
        ["words", *(_both(result, lambda own: own["words"], 0) for result in results)],
    ]
    if all("relevance" in result["writers"]["after"]["measures"] for result in results):
        rows.append(["relevance", *map(_three("relevance"), results)])
    rows += [
        ["mean rung", *(f"{result['mean_rung']:.2f}" for result in results)],
        ["seconds (processor)", *(f"{result['seconds']:.0f} ({result['cpu_seconds']:.0f})" for result in results)],
        ["peak memory, GiB", *(f"{result['peak_memory_gib']:.2f}" for result in results)],
        ["tokens a second", *(f"{result['tokens_per_second']:.0f}" for result in results)],
    ]
    print_table("Held-out prompts: before -> after part one -> after both", ["", *names], rows)
    print_table(
        "By range: inside before -> after (mean words)",
        ["", *names],
        [[name, *(_range(result, name) for result in results)] for name in results[0]["writers"]["before"]["ranges"]],
    )


def _three(measure: str) -> Any:
    return lambda result: " -> ".join(f"{own['measures'][measure][0]:.2f}" for own in result["writers"].values())


def _both(result: dict[str, Any], value: Any, digits: int) -> str:
    return " -> ".join(f"{value(own):.{digits}f}" for own in result["writers"].values())


def _change(result: dict[str, Any], measure: str) -> str:
    estimate, low, high = result["changes"]["after"][measure]
    return f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]"


def _range(result: dict[str, Any], name: str) -> str:
    before, after = (result["writers"][writer]["ranges"][name] for writer in ("before", "after"))
    return f"{before['inside']:.2f} ({before['words']:.0f}) -> {after['inside']:.2f} ({after['words']:.0f})"


if __name__ == "__main__":
    main()
