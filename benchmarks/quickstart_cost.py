"""Seconds and peak memory of `longform quickstart`, with its server.

python benchmarks/quickstart_cost.py [--smoke]

Memory is the largest sum of the resident sets of the process and its children, sampled ten times a second; pages that
they share are counted for each.
"""

import argparse
import subprocess
import sys
import tempfile
import time

import psutil


def main() -> None:
    """Run the command once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = ["--smoke"] if parser.parse_args().smoke else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "longform", "quickstart", "--out", f"{folder}/run", *smoke]
        began, peak = time.perf_counter(), 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, resident(psutil.Process(process.pid)))
                time.sleep(0.1)
        seconds = time.perf_counter() - began
    print(f"{' '.join(['quickstart', *smoke])}: exit {process.returncode}, {seconds:.0f} s, {peak / 2**20:.0f} MiB")


def resident(process: psutil.Process) -> int:
    """Bytes in memory of a process and its children; what has ended meanwhile counts nothing."""
    total = 0
    try:
        for it in (process, *process.children(recursive=True)):
            total += it.memory_info().rss
    except psutil.Error:
        pass
    return total


if __name__ == "__main__":
    main()
