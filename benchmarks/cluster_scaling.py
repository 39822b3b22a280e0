"""What holds a step up as a cluster run grows: responses of very unequal length, a judge's limits, the run's database.

    python benchmarks/cluster_scaling.py [--part steps|tail|database] [--median 3500] [--spread 0.6] [--seed 0]

Simulated, not measured, but for the database. A 7B policy with a critic writes on A100 cards at the speed that `longform
estimate` takes for granted. Lengths of responses are log-normal, cut at 10,000 tokens. Each copy writes its share side by
side, a step as slow as the batch makes it; each response goes to the judge when it ends. The judge answers after a
log-normal time, and is asked as `endpoints/client.py` asks: a number of calls in flight, and buckets of requests and tokens
that fill in a minute.
"""

import argparse
import heapq
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longform.planning.assumptions import Assumptions
from longform.planning.judge_load import LONGEST_ANSWER
from longform.planning.shapes import shape_of
from longform.planning.speed import Machine, Policy, at_once, decode_seconds, find_machine, updating_seconds
from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord
from longform.records.run_directory import RunDirectory

QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
}
PROMPT, FRAME, REFERENCE, LONGEST = 300, 600, 4000, 10_000
"""Tokens: of a prompt, of what a judge reads beside two texts, of a reference, of the longest response."""
PRICES = (0.4, 1.2)
ANSWER, LATENCY, LATENCY_SPREAD = 250, 8.0, 0.5
STEPS, SETTLED = 5, 2
"""Steps in a row, of which the first ones find the judge's buckets full."""


class Scale(NamedTuple):
    """One run."""

    prompts: int
    nodes: int
    per_step: int
    steps: int


SCALES = (
    Scale(1_500, 1, 32, 405),
    Scale(10_000, 4, 128, 405),
    Scale(100_000, 16, 512, 405),
    Scale(1_000_000, 64, 2048, 489),
)


class Judge(NamedTuple):
    """The limits of an endpoint."""

    in_flight: int
    rpm: float
    tpm: float


SMALL, LARGE = Judge(64, 600, 1e6), Judge(1024, 10_000, 30e6)


class Bucket:
    """Lets through `rate` a minute, at most that much at once; as aiolimiter does."""

    def __init__(self, rate: float) -> None:
        self.rate, self.level, self.seen = rate, 0.0, 0.0

    def admit(self, now: float, amount: float) -> float:
        """When an `amount` that comes at `now` is let through; calls come in order."""
        now = max(now, self.seen)
        self.level = max(self.level - (now - self.seen) * self.rate / 60, 0.0)
        wait = max(self.level + amount - self.rate, 0.0) * 60 / self.rate
        self.level = self.level - wait * self.rate / 60 + amount
        self.seen = now + wait
        return self.seen


def main() -> None:
    """Simulate, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["steps", "tail", "database"])
    parser.add_argument("--median", type=float, default=3500, help="of responses, in tokens")
    parser.add_argument("--spread", type=float, default=0.6, help="of their logarithms")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    parts = {"steps": print_steps, "tail": print_tail, "database": print_database}
    for name, part in parts.items():
        if options.part in (None, name):
            part(options)


def print_steps(options: argparse.Namespace) -> None:
    """A row for each scale."""
    columns = "prompts|GPUs|a step|writing s|tail s|updating s|tokens/min|step s, small|large|hours, large|verdicts"
    print("|".join(f"{it:>14}" for it in columns.split("|")))
    for scale in SCALES:
        recipe, policy, machine = _setting(scale.nodes, tensor_parallel=2)
        lengths = draw_lengths(options, scale.per_step)
        ends = writing_ends(machine, policy, lengths)
        updating = _updating(machine, policy, recipe, lengths)
        asked = question_tokens(lengths)
        needed = 60 * float((asked + LONGEST_ANSWER).sum()) / (ends.max() + updating)
        small, large = (simulate(judge, scale, options) for judge in (SMALL, LARGE))
        money = scale.steps * (PRICES[0] * asked.sum() + PRICES[1] * ANSWER * len(lengths)) / 1e6
        cells = [
            f"{scale.prompts:,}",
            f"{machine.gpus:,}",
            f"{scale.per_step:,}",
            f"{ends.max():.0f}",
            f"{ends.max() - np.quantile(ends, 0.9):.0f}",
            f"{updating:.0f}",
            f"{needed / 1e6:.1f} million",
            f"{small:.0f}",
            f"{large:.0f}",
            f"{scale.steps * large / 3600:.0f}",
            f"{money:,.0f}",
        ]
        print("|".join(f"{it:>14}" for it in cells))


def print_tail(options: argparse.Namespace) -> None:
    """How long the last tenth of the responses keeps the largest run waiting, by how a copy is spread."""
    print(f"{'GPUs a copy':>14}|{'longest':>14}|{'writing s':>14}|{'tail s':>14}|{'idle':>14}")
    for parallel, longest in ((1, LONGEST), (2, LONGEST), (4, LONGEST), (4, 6000)):
        _, policy, machine = _setting(SCALES[-1].nodes, tensor_parallel=parallel)
        lengths = np.minimum(draw_lengths(options, SCALES[-1].per_step), longest)
        copies = machine.gpus // machine.per_copy
        ends = writing_ends(machine, policy, lengths)
        busy = [ends[copy::copies].max() for copy in range(copies)]
        idle = 1 - float(np.mean(busy)) / ends.max()
        tail = ends.max() - np.quantile(ends, 0.9)
        print(f"{parallel:>14}|{longest:>14,}|{ends.max():>14.0f}|{tail:>14.0f}|{idle:>14.0%}")


def print_database(options: argparse.Namespace) -> None:
    """What it takes to put a step of 2,048 rollouts on record, texts of words drawn by Zipf's law."""
    rng = np.random.default_rng(options.seed)
    words = np.array(["".join(rng.choice(list("etaoinshrdlucm"), size=rng.integers(2, 9))) for _ in range(20_000)])
    chances = 1 / np.arange(1, len(words) + 1)
    chances /= chances.sum()

    def write(tokens: int) -> str:
        return " ".join(words[rng.choice(len(words), size=int(tokens / 1.3), p=chances)])

    count = SCALES[-1].per_step
    with tempfile.TemporaryDirectory() as folder, RunDirectory.open(Path(folder) / "run") as run:
        for step in (1, 2):  # the second pays for no new tables
            rollouts = [
                RolloutRecord(
                    step,
                    row,
                    f"prompt-{row}",
                    0,
                    write(tokens),
                    write(REFERENCE),
                    tokens,
                    0,
                    0,
                    "stop",
                    "win",
                    None,
                    1.0,
                )
                for row, tokens in enumerate(draw_lengths(options, count).astype(int).tolist())
            ]
            before = run.database_path.stat().st_size
            began = time.perf_counter()
            run.database.record_step(step, seconds=0.0, metrics={}, rollouts=rollouts)
            run.database.sync()
            seconds = time.perf_counter() - began
        size = run.database_path.stat().st_size - before
    print(f"a step of {count:,} rollouts on record: {seconds:.2f} s, {size / 1e6:.0f} MB, references included")


def simulate(judge: Judge, scale: Scale, options: argparse.Namespace) -> float:
    """Mean seconds of a step, from its start to the end of its update, once the judge's buckets have settled."""
    recipe, policy, machine = _setting(scale.nodes, tensor_parallel=2)
    rng = np.random.default_rng([options.seed, 1])
    requests, tokens = Bucket(judge.rpm), Bucket(judge.tpm)
    now, starts = 0.0, []
    for step in range(STEPS):
        starts.append(now)
        lengths = draw_lengths(options, scale.per_step, step=step)
        ends = now + writing_ends(machine, policy, lengths)
        order = np.argsort(ends)
        latency = LATENCY * np.exp(LATENCY_SPREAD * rng.standard_normal(len(order)))
        verdicts = judged_at(judge, ends[order], question_tokens(lengths)[order], latency, requests, tokens)
        now = max(verdicts) + _updating(machine, policy, recipe, lengths)
    return (now - starts[SETTLED]) / (STEPS - SETTLED)


def judged_at(
    judge: Judge,
    asked: Sequence[float] | np.ndarray,
    sizes: Sequence[float] | np.ndarray,
    latency: Sequence[float] | np.ndarray,
    requests: Bucket,
    tokens: Bucket,
) -> list[float]:
    """When each verdict is there, of questions in the order in which they are asked."""
    flying: list[float] = []
    found: list[float] = []
    for now, size, seconds in zip(asked, sizes, latency, strict=True):
        if len(flying) == judge.in_flight:
            now = max(now, heapq.heappop(flying))
        start = tokens.admit(requests.admit(now, 1), size + LONGEST_ANSWER)
        heapq.heappush(flying, start + seconds)
        found.append(start + seconds)
    return found


def writing_ends(machine: Machine, policy: Policy, lengths: np.ndarray) -> np.ndarray:
    """Seconds after which each response ends; copies take responses in turn, before it is known how long they get."""
    copies = machine.gpus // machine.per_copy
    ends = np.empty(len(lengths))
    for copy in range(copies):
        ends[copy::copies] = _copy_ends(machine, policy, lengths[copy::copies])
    return ends


def _copy_ends(machine: Machine, policy: Policy, lengths: np.ndarray) -> np.ndarray:
    """Of one copy. All that are under way gain a token at each decoding step, which is the longer the more they are."""
    room = at_once(machine, policy, length=PROMPT + float(np.mean(lengths)))
    waiting = list(range(len(lengths)))[::-1]
    ends = np.empty(len(lengths))
    running: list[tuple[float, int]] = []
    seconds, tokens = 0.0, 0.0
    while waiting or running:
        while waiting and len(running) < room:
            row = waiting.pop()
            heapq.heappush(running, (tokens + lengths[row], row))
        until, row = running[0]
        context = PROMPT + min(until, LONGEST) / 2
        seconds += (until - tokens) * decode_seconds(machine, policy, batch=len(running), length=context)
        tokens = until
        heapq.heappop(running)
        ends[row] = seconds
    return ends


def draw_lengths(options: argparse.Namespace, count: int, *, step: int = 0) -> np.ndarray:
    """Tokens of the responses of a step."""
    rng = np.random.default_rng([options.seed, step])
    drawn = options.median * np.exp(options.spread * rng.standard_normal(count))
    return np.clip(drawn, 50, LONGEST)


def question_tokens(lengths: np.ndarray) -> np.ndarray:
    """What the judge reads of each response."""
    return FRAME + REFERENCE + lengths


def _updating(machine: Machine, policy: Policy, recipe: Recipe, lengths: np.ndarray) -> float:
    seconds = updating_seconds(machine, policy, recipe, length=PROMPT + float(lengths.mean()))
    return seconds * len(lengths) / recipe.rollouts


def _setting(nodes: int, *, tensor_parallel: int) -> tuple[Recipe, Policy, Machine]:
    shape = shape_of(QWEN_7B)
    policy = Policy(shape.parameters, shape)
    recipe = Recipe.model_validate(
        {
            "policy": "7b",
            "data": {"ladders": "-", "per_step": 32},
            "rewards": [{"kind": "pairwise", "judge": "judge"}],
            "memory": {"precision": "bfloat16", "gradient_checkpointing": True},
            "engine": "cluster",
            "cluster": {"nodes": nodes, "tensor_parallel": tensor_parallel, "offload": True},
            "run": {"name": "scaling", "steps": 405},
        }
    )
    return recipe, policy, find_machine(recipe, policy, Assumptions(gpu="a100"))


if __name__ == "__main__":
    main()
