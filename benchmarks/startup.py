"""How long `longform --help` takes, start of Python included; must be at most 0.5 s, without torch.

python benchmarks/startup.py [--runs 10]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

MOST_SECONDS = 0.5
LIST_MODULES = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from longform.cli import main; main()"
HEAVY = {"torch", "transformers", "trl", "openai", "pyarrow", "numpy"}


def main() -> None:
    """Measure and print; exits with 1 where the limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    seconds = [time_help() for _ in range(parser.parse_args().runs)]
    imported = HEAVY & set(list_modules())
    print(f"seconds    min {min(seconds):.3f}   median {statistics.median(seconds):.3f}  (at most {MOST_SECONDS:g})")
    print(f"imported   {', '.join(sorted(imported)) or 'no ' + ', '.join(sorted(HEAVY))}")
    sys.exit(min(seconds) > MOST_SECONDS or "torch" in imported)


def time_help() -> float:
    """Seconds of one `longform --help`."""
    command = Path(sys.executable).with_name("longform")
    began = time.perf_counter()
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def list_modules() -> list[str]:
    """Modules in memory when `longform --help` ends."""
    done = subprocess.run([sys.executable, "-c", LIST_MODULES, "--help"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].split()


if __name__ == "__main__":
    main()
