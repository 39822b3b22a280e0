"""What `longform quickstart --method longwriter-zero` reaches on fresh seeds.

python benchmarks/longwriter_zero_seeds.py --out runs/zero --seeds 2001 2002 2003

Every seed has a corpus, prompts, weights and draws of its own, and none is left out. A seed whose result is in OUT is not
run again. The load of the machine is printed beside the seconds.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the seeds that are missing and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    for seed in options.seeds:
        folder = options.out / str(seed)
        if not (folder / "evidence.json").exists():
            run_seed(folder, seed, options.overrides)
        print_seed(seed, json.loads((folder / "evidence.json").read_text(encoding="utf-8")))


def run_seed(folder: Path, seed: int, overrides: list[str]) -> None:
    """The command itself, in a process of its own."""
    command = [sys.executable, "-m", "longform", "quickstart", "--method", "longwriter-zero"]
    command += ["--out", str(folder), "--seed", str(seed), *(f"--set={it}" for it in overrides)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def print_seed(seed: int, figures: dict[str, Any]) -> None:
    """One seed in a few lines."""
    base, trained = figures["writers"]["base"], figures["writers"]["trained"]
    before, after = figures["thinking"]["base"], figures["thinking"]["trained"]
    rates = [f"{name} {rate:.3f} [{low:.3f}, {high:.3f}]" for name, (rate, low, high) in figures["win_rates"].items()]
    grades = [f"{name} {it['grade'][0]:.2f}" for name, it in figures["writers"].items()]
    print(
        f"seed {seed}: structure {before['structure'][0]:.3f} -> {after['structure'][0]:.3f}; "
        f"inside the range {base['in_range'][0]:.3f} -> {trained['in_range'][0]:.3f}; "
        f"fluency {base['fluency'][0]:.3f} -> {trained['fluency'][0]:.3f}; "
        f"grade {base['grade'][0]:.2f} -> {trained['grade'][0]:.2f}; words {base['words']:.0f} -> {trained['words']:.0f}\n"
        f"  plan {_number(before['plan_words'])} -> {_number(after['plan_words'])} words, "
        f"of under 5 words {_number(before['short_plans'])} -> {_number(after['short_plans'])}\n"
        f"  wins: {'; '.join(rates)}\n"
        f"  grades: {', '.join(grades)}\n"
        f"  {figures['seconds']:.0f} s (GRPO {figures['grpo_seconds']:.0f}), load now {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
