"""How long WritingBench's 5,000 questions take from a judge that answers after 0.5 s, 64 in flight; at most 1.15 x latency.

    python benchmarks/bench_throughput.py [--queries 1000] [--in-flight 64] [--words 1500] [--runs 1] [--json OUT]

The real path: the benchmark's questions are asked through an `Endpoint` and every answer is committed to a `SqliteCallLog`
on disk. The judge is a process of its own that answers each request 0.5 s after its last byte came in. What latency alone
needs is questions / in flight x 0.5 s: 39.1 s for 1,000 queries of five criteria. Afterwards everything is asked once more,
as a command that is started again would: no request may reach the judge.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from slow_judge import LATENCY_SECONDS, prose, slow_judge

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.judged import ask_judge
from longform.evaluation.benchmarks.writingbench import BANDS, NUM_CRITERIA, Query, WritingBench
from longform.records.calls import SqliteCallLog
from longform.records.schemas import Response

MOST_TIMES_LATENCY = 1.15
_SAID = 'It keeps to the facts.\n{"scores": {"criterion": 7}}'


class Run(NamedTuple):
    """What all questions of one run took."""

    seconds: float
    cpu_seconds: float
    """Of this process, the judge's left out."""
    again_seconds: float
    """The same from what is on record."""


def main() -> None:
    """Measure and print; exits with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--words", type=int, default=1500, help="of each response")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import aiohttp  # noqa: F401  # what the endpoint imports with its first request

    questions = options.queries * NUM_CRITERIA
    runs: list[Run] = []
    with slow_judge(_SAID) as base_url:
        spec = ModelSpec(base_url=base_url, model="judge", concurrency=options.in_flight)
        for number in range(options.runs):
            material = written(number, options.queries, options.words)
            with tempfile.TemporaryDirectory() as folder, SqliteCallLog(Path(folder) / "bench.sqlite") as log:
                seconds, cpu_seconds = asyncio.run(time_questions(material, spec, log))
                again, _ = asyncio.run(time_questions(material, spec, log))
                assert log.totals().calls == log.totals().answered == questions
            runs.append(Run(seconds, cpu_seconds, again))
            print(f"run {number + 1}     {seconds:.2f} s   {cpu_seconds:.2f} s of CPU; again {again:.2f} s", flush=True)
    ideal = questions / options.in_flight * LATENCY_SECONDS
    best = min(it.seconds for it in runs)
    print(
        f"{questions} questions of {LATENCY_SECONDS} s, {options.in_flight} in flight, {options.words} words a text\n"
        f"seconds   {best:.2f}  ({best / ideal:.3f} x the {ideal:.1f} s of latency; at most {MOST_TIMES_LATENCY})"
    )
    if options.json is not None:
        figures = {"seconds": best, "ideal": ideal, "runs": [it._asdict() for it in runs]}
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.exit(best > MOST_TIMES_LATENCY * ideal)


async def time_questions(material: Material[Query], spec: ModelSpec, log: SqliteCallLog) -> tuple[float, float]:
    """Seconds and CPU seconds of all questions through a new endpoint."""
    async with Endpoint("judge", spec, call_log=log) as endpoint:
        began, began_cpu = time.perf_counter(), time.process_time()
        answers = await ask_judge(
            WritingBench(), material, endpoint, JudgePrompt(log.secret()), on_progress=lambda done, total: None
        )
        taken = time.perf_counter() - began, time.process_time() - began_cpu
    check_whole(answers, material)
    return taken


def check_whole(answers: Answers, material: Material[Query]) -> None:
    """Every criterion of every query has its score."""
    assert not answers.missing
    assert list(answers.values.values()) == [7] * (len(material.items) * NUM_CRITERIA)


def written(run: int, queries: int, words: int) -> Material[Query]:
    """Made-up queries with criteria, and a made-up response to each."""
    checklist = [
        {
            "name": f"Criterion {i}",
            "description": prose(f"c{i}", 30),
            "bands": {band: prose(band, 20) for band in BANDS},
        }
        for i in range(NUM_CRITERIA)
    ]
    items = {
        str(i): Query.model_validate(
            {
                "id": str(i),
                "prompt": prose(f"q{run}/{i}", 200),
                "domain1": "Education",
                "domain2": "Coursework",
                "checklist": checklist,
                "requirements": {},
            }
        )
        for i in range(queries)
    }
    responses = [Response(prompt_id=it, model="m", text=prose(f"r{run}/{it}", words)) for it in items]
    return Material(items, responses)


if __name__ == "__main__":
    main()
