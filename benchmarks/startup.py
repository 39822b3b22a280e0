"""How long commands take that have next to nothing to do, start of Python included, and that none of them loads torch.

python benchmarks/startup.py [--runs 10]

`longform --help` must take at most 0.5 s; `arena`, `audit` and `compare` on files of a few rows at most 1 s. The least
of the runs counts: the others tell what else the machine was doing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MOST_SECONDS = {"--help": 0.5, "arena": 1.0, "audit": 1.0, "compare": 1.0}
COMMANDS = {
    "--help": ["--help"],
    "arena": ["arena", "games.jsonl"],
    "audit": ["audit", "pairs.jsonl"],
    "compare": ["compare", "a.jsonl", "b.jsonl"],
}
REFERENCE = ["python", "-c", "import cyclopts, rich"]
LIST_MODULES = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from longform.cli import main; main()"
PROMPTS = 4


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        met = [measure(name, Path(folder), runs) for name in COMMANDS]
        print(f"--help takes {help_ratio(Path(folder), runs):.2f} x `{' '.join(REFERENCE)}` (aim: 1.5; least of each)")
    sys.exit(not all(met))


def write_files(folder: Path) -> None:
    """A few games, judged pairs and responses."""
    files: dict[str, list[dict[str, Any]]] = {"games": [], "pairs": [], "a": [], "b": []}
    for place in range(PROMPTS):
        prompt = f"p{place}"
        winner = "ab"[place % 2]
        files["games"].append({"prompt_id": prompt, "model_a": "x", "model_b": "y", "winner": winner})
        verdicts = {"judge": {"ab": winner, "ba": winner}}
        pair = {
            "id": prompt,
            "prompt": "Write.",
            "response_a": "One two.",
            "response_b": "Three four.",
            "label": winner,
        }
        files["pairs"].append(pair | {"verdicts": verdicts})
        files["a"].append({"prompt_id": prompt, "model": "x", "text": "One two three."})
        files["b"].append({"prompt_id": prompt, "model": "y", "text": "Four five six seven."})
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measure(name: str, folder: Path, runs: int) -> bool:
    """Print the seconds of one command; whether it keeps to its limit."""
    seconds = [time_command(COMMANDS[name], folder) for _ in range(runs)]
    has_torch = "torch" in list_modules(COMMANDS[name], folder)
    print(
        f"{name:<8} min {min(seconds):.3f}   median {statistics.median(seconds):.3f}  "
        f"(at most {MOST_SECONDS[name]:g}){', loads torch' if has_torch else ''}",
        flush=True,
    )
    return min(seconds) <= MOST_SECONDS[name] and not has_torch


def help_ratio(folder: Path, runs: int) -> float:
    """The least time of `longform --help` over the least of importing the libraries that it is made with, alternating."""
    pairs = [
        (time_command(["--help"], folder), _seconds([sys.executable, *REFERENCE[1:]], folder)) for _ in range(runs)
    ]
    ours, theirs = zip(*pairs, strict=True)
    return min(ours) / min(theirs)


def time_command(arguments: list[str], folder: Path) -> float:
    """Seconds of one command."""
    return _seconds([str(Path(sys.executable).with_name("longform")), *arguments], folder)


def _seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def list_modules(arguments: list[str], folder: Path) -> list[str]:
    """Modules in memory when a command ends."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *arguments], check=True, cwd=folder, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1].split()


if __name__ == "__main__":
    main()
