"""How long 512 verdicts take from a judge that answers after 0.5 s, with 64 requests in flight; at most 4.4 s.

    python benchmarks/verdict_throughput.py [--verdicts 512] [--in-flight 64] [--words 1500] [--runs 3] [--json OUT]

The real path: `PairwiseJudge` asks through an `Endpoint` and every answer is committed to a `SqliteCallLog` on disk, which
is where the temporary folder is. The judge is a process of its own that answers each request 0.5 s after its last byte came
in. Each run has a new endpoint, new texts and a new log, so connections are opened within the time; libraries are imported
before it. The ideal is verdicts / in flight x 0.5 s. With --profile the functions that took the client's time are printed.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from slow_judge import LATENCY_SECONDS, prose, slow_judge

from longform.endpoints.client import Endpoint
from longform.endpoints.concurrency import map_bounded
from longform.endpoints.models import ModelSpec
from longform.judging.pairwise import PairwiseJudge
from longform.records.calls import SqliteCallLog
from longform.records.schemas import Prompt

MOST_SECONDS = 4.4


class Run(NamedTuple):
    """What all verdicts of one run took."""

    seconds: float
    cpu_seconds: float
    """Of this process, the judge's left out."""


def main() -> None:
    """Measure and print; exits with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=512)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--words", type=int, default=1500, help="of the response and of the reference")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import aiohttp  # noqa: F401  # what the endpoint imports with its first request

    profile = cProfile.Profile() if options.profile else None
    runs: list[Run] = []
    with slow_judge("B is richer.\n[[B]]") as base_url:
        spec = ModelSpec(base_url=base_url, model="judge", concurrency=options.in_flight)
        for number in range(options.runs):
            pairs = [
                (prose(f"{number}/{i}", options.words), prose(f"{number}/{-1 - i}", options.words))
                for i in range(options.verdicts)
            ]
            with tempfile.TemporaryDirectory() as folder, SqliteCallLog(Path(folder) / "run.sqlite") as log:
                runs.append(asyncio.run(time_verdicts(pairs, spec, log, profile)))
                assert log.totals().answered == options.verdicts
            print(f"run {number + 1}     {runs[-1].seconds:.2f} s   {runs[-1].cpu_seconds:.2f} s of CPU", flush=True)
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
    ideal = -(-options.verdicts // options.in_flight) * LATENCY_SECONDS
    best = min(it.seconds for it in runs)
    print(
        f"{options.verdicts} verdicts of {LATENCY_SECONDS} s, {options.in_flight} in flight, {options.words} words a text"
    )
    print(f"seconds   {best:.2f}  (best of {len(runs)}; ideal {ideal:.2f}, at most {MOST_SECONDS * ideal / 4:.2f})")
    if options.json is not None:
        figures = {"seconds": best, "ideal": ideal, "runs": [it._asdict() for it in runs]}
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.exit(best > MOST_SECONDS * ideal / 4)


async def time_verdicts(
    pairs: list[tuple[str, str]], spec: ModelSpec, log: SqliteCallLog, profile: cProfile.Profile | None
) -> Run:
    """All verdicts through a new endpoint, as many at once as it takes."""
    async with Endpoint("judge", spec, call_log=log) as endpoint:
        judge = PairwiseJudge(endpoint, secret=b"secret")
        outcomes: list[str | None] = []

        async def work(numbered: tuple[int, tuple[str, str]]) -> None:
            number, (response, reference) = numbered
            prompt = Prompt(id=str(number), prompt="Write a story.")
            verdict = await judge.compare(prompt, response=response, reference=reference, step=1)
            outcomes.append(verdict.value)

        if profile is not None:
            profile.enable()
        began, began_cpu = time.perf_counter(), time.process_time()
        await map_bounded(enumerate(pairs), work, workers=spec.concurrency)
        run = Run(time.perf_counter() - began, time.process_time() - began_cpu)
        if profile is not None:
            profile.disable()
    assert outcomes == ["win"] * len(pairs)
    return run


if __name__ == "__main__":
    main()
