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
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.pairwise import PairwiseJudge
from longform.records.calls import SqliteCallLog
from longform.records.schemas import Prompt
from longform.selection.gathering import for_each

LATENCY_SECONDS = 0.5
MOST_SECONDS = 4.4
_ANSWER = json.dumps(
    {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "B is richer.\n[[B]]"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 4000, "completion_tokens": 8},
    }
).encode()
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_ANSWER), _ANSWER)


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
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    import openai.resources.chat  # noqa: F401  # what the endpoint imports with its first request

    profile = cProfile.Profile() if options.profile else None
    runs: list[Run] = []
    with judge_process() as base_url:
        spec = ModelSpec(base_url=base_url, model="judge", concurrency=options.in_flight)
        for number in range(options.runs):
            pairs = [
                (text(number, i, options.words), text(number, -1 - i, options.words)) for i in range(options.verdicts)
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
            outcomes.append(verdict.outcome)

        if profile is not None:
            profile.enable()
        began, began_cpu = time.perf_counter(), time.process_time()
        await for_each(enumerate(pairs), work, workers=spec.concurrency)
        run = Run(time.perf_counter() - began, time.process_time() - began_cpu)
        if profile is not None:
            profile.disable()
    assert outcomes == ["win"] * len(pairs)
    return run


def text(run: int, number: int, words: int) -> str:
    """A made-up text of so many words, another one for each number."""
    stream = random.Random(f"{run}/{number}")
    vocabulary = ["".join(stream.choices("etaoinshrdlucmfwyp", k=stream.randint(2, 9))) for _ in range(500)]
    chosen = stream.choices(vocabulary, k=words)
    return "\n\n".join(" ".join(chosen[i : i + 90]) + "." for i in range(0, words, 90))


@contextmanager
def judge_process() -> Iterator[str]:
    """The judge in a process of its own; yields its base URL."""
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.kill()


async def serve() -> None:
    """Answer every request after `LATENCY_SECONDS`, whatever it says, with no work of its own."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; its requests come one after the other."""

    def __init__(self) -> None:
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = bytes(self.received).partition(b"\r\n\r\n")
        if not found:
            return
        (length,) = (
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        if len(body) >= length:
            self.received.clear()
            asyncio.get_running_loop().call_later(LATENCY_SECONDS, self.transport.write, _REPLY)


if __name__ == "__main__":
    main()
