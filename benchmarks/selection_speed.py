"""How long `longform select` takes and how much memory: 24,000 prompts with grades of 5 models, as one command.

    python benchmarks/selection_speed.py [--prompts 24000] [--characters 400] [--top-k 1000]

Grades and responses are made up and lie in a temporary folder while the command runs. The time is that of the process,
start of Python included; must be at most 3 s and 500 MB, without torch.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

MODELS = ("policy", "alpha", "beta", "gamma", "delta")
MOST_SECONDS, MOST_MEGABYTES = 3.0, 500.0
RUN_AND_MEASURE = """
import resource, sys
from longform.cli import main
try:
    main(sys.argv[1:])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, "torch" in sys.modules)
"""


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=24_000)
    parser.add_argument("--characters", type=int, default=400, help="length of each response")
    parser.add_argument("--top-k", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, num_prompts=arguments.prompts, characters=arguments.characters)
        measured = [run_select(folder, top_k=arguments.top_k) for _ in range(arguments.runs)]
    seconds, megabytes = min(it.seconds for it in measured), max(it.megabytes for it in measured)
    torch_loaded = any(it.torch_loaded for it in measured)
    print(f"seconds    {seconds:.2f}  (best of {arguments.runs}; at most {MOST_SECONDS:g})")
    print(f"  of CPU   {min(it.cpu_seconds for it in measured):.2f}")
    print(f"peak MB    {megabytes:.0f}  (at most {MOST_MEGABYTES:g})")
    print(f"torch      {'imported' if torch_loaded else 'not imported'}")
    sys.exit(seconds > MOST_SECONDS or megabytes > MOST_MEGABYTES or torch_loaded)


def write_files(folder: Path, *, num_prompts: int, characters: int) -> None:
    """Prompts, responses and grades in files of the commands."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(2000)]
    with (
        (folder / "prompts.jsonl").open("w") as prompts,
        (folder / "responses.jsonl").open("w") as responses,
        (folder / "grades.jsonl").open("w") as grades,
    ):
        for number in range(num_prompts):
            id_ = f"prompt-{number:06d}"
            prompts.write(json.dumps({"id": id_, "prompt": " ".join(rng.choices(words, k=30))}) + "\n")
            for model in MODELS:
                text = " ".join(rng.choices(words, k=characters // 6))
                responses.write(json.dumps({"prompt_id": id_, "model": model, "text": text}) + "\n")
                dimensions = {name: rng.randint(1, 10) for name in ("relevance", "coherence", "style", "depth")}
                score = sum(dimensions.values()) / len(dimensions)
                grade = {"prompt_id": id_, "model": model, "score": score, "dimensions": dimensions, "judge": "judge"}
                grades.write(json.dumps(grade) + "\n")


class Measured(NamedTuple):
    """What one command took."""

    seconds: float
    cpu_seconds: float
    megabytes: float
    torch_loaded: bool


def run_select(folder: Path, *, top_k: int) -> Measured:
    """Run the command in a process of its own and measure it."""
    files = [f"--{name}={folder / name}.jsonl" for name in ("prompts", "responses", "grades")]
    command = ["select", *files, "--policy=policy", f"--top-k={top_k}", f"--out={folder / 'ladders.jsonl'}"]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUN_AND_MEASURE, *command], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    cpu_seconds, megabytes, torch_loaded = done.stdout.splitlines()[-1].split()
    return Measured(seconds, float(cpu_seconds), float(megabytes), torch_loaded == "True")


if __name__ == "__main__":
    main()
