"""Memory and time of log-probabilities, entropies and their gradients: ours, TRL's chunked head, and plain logits.

    python benchmarks/log_probs.py [--rows 4] [--tokens 2048] [--vocabulary 152000] [--width 896] [--json OUT]

Hidden states and output weight are float32 and both get a gradient; the loss holds both log-probabilities and entropy.
Ours must take at most 0.2 of the memory of plain logits, 0.8 of TRL's, and 1.2 of TRL's time. Each run is a process of its
own and the kinds take turns; time is the best of the runs. Memory is the process's peak resident set (`ru_maxrss`) above
what is resident once the inputs are there, so it holds the gradients (the weight's alone is V x D x 4 bytes) and no inputs.

Plain logits need about 5 tensors of [tokens, vocabulary]. Where they would not fit into what is free they run on fewer
tokens: their memory beyond the weight's gradient grows with the tokens, and is scaled by them. The line says so.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor

from longform.rl.log_probs import OutputHead, token_statistics

MOST_OF_PLAIN_MEMORY, MOST_OF_TRL_MEMORY, MOST_OF_TRL_TIME = 0.2, 0.8, 1.2
PLAIN_TENSORS = 5
TRL_CHUNK = 32_768  # trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE, what GRPOTrainer uses
ENTROPY_WEIGHT = 0.01
GIB = 2**30


class Shape(NamedTuple):
    """N tokens, vocabulary V, hidden width D."""

    tokens: int
    vocabulary: int
    width: int


class Cost(NamedTuple):
    """What forward and backward pass of one kind took."""

    peak_bytes: float
    seconds: float
    cpu_seconds: float
    """Over all threads."""
    tokens: int
    """How many were really run."""


def ours(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles, as training takes them."""
    return token_statistics(hidden, OutputHead(weight), targets)


def trl(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """TRL's chunked head, asked for what GRPOTrainer asks it for."""
    from trl.kernels import ChunkedLogProbFunction

    asked = ("log_probs", "entropy")
    log_probs, entropy, *_ = ChunkedLogProbFunction.apply(
        hidden, weight, None, targets, 1.0, TRL_CHUNK, None, 1.0, asked
    )
    return log_probs, entropy


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """All logits at once."""
    log_p = torch.log_softmax(hidden @ weight.T, dim=-1)
    return log_p.gather(1, targets[:, None]).squeeze(1), -(log_p.exp() * log_p).sum(1)


KINDS: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {"ours": ours, "trl": trl, "plain": plain}


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    options = read_options()
    if options.measure:
        print(json.dumps(measure(options.measure, Shape(*options.shape), threads=options.threads)))
        return
    shape = Shape(options.rows * options.tokens, options.vocabulary, options.width)
    print(f"{shape.tokens:,} tokens, vocabulary {shape.vocabulary:,}, width {shape.width}, {options.threads} threads")
    runs: dict[str, list[Cost]] = {kind: [] for kind in KINDS}
    for number in range(options.runs):
        for kind in ("ours", "trl"):
            runs[kind].append(run_alone(kind, shape, threads=options.threads))
            show(kind, runs[kind][-1], number)
    room = psutil.virtual_memory().available - 2 * GIB
    logits = shape.vocabulary * 4 * PLAIN_TENSORS
    halvings = next(n for n in range(10) if shape.tokens // 2**n * logits < room)
    fitting = shape._replace(tokens=shape.tokens // 2**halvings)
    runs["plain"].append(run_alone("plain", fitting, threads=options.threads))
    show("plain", runs["plain"][-1], 0)
    sys.exit(not report(runs, shape, out=options.json))


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=152_000)
    parser.add_argument("--width", type=int, default=896)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", choices=list(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_alone(kind: str, shape: Shape, *, threads: int) -> Cost:
    """One kind in a process of its own."""
    command = [sys.executable, __file__, "--measure", kind, "--threads", str(threads), "--shape", *map(str, shape)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(*json.loads(done.stdout))


def measure(kind: str, shape: Shape, *, threads: int) -> Cost:
    """Forward and backward pass in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    compute = KINDS[kind]
    small = (torch.randn(2, 4, requires_grad=True), torch.randn(8, 4, requires_grad=True), torch.zeros(2).long())
    sum(part.sum() for part in compute(*small)).backward()  # pyright: ignore  # imports are not measured
    hidden = torch.randn(shape.tokens, shape.width).requires_grad_()
    weight = torch.empty(shape.vocabulary, shape.width).normal_(0, 0.05).requires_grad_()
    targets = torch.randint(0, shape.vocabulary, (shape.tokens,))
    advantages = torch.randn(shape.tokens)
    resident = psutil.Process().memory_info().rss
    began, began_cpu = time.perf_counter(), time.process_time()
    log_probs, entropy = compute(hidden, weight, targets)
    ((log_probs * advantages).mean() + ENTROPY_WEIGHT * entropy.mean()).backward()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(peak - resident, seconds, cpu_seconds, shape.tokens)


def show(kind: str, cost: Cost, number: int) -> None:
    """One run on one line."""
    used = f"{cost.peak_bytes / GIB:6.2f} GiB  {cost.seconds:6.1f} s  {cost.cpu_seconds:6.1f} s of CPU"
    print(f"  {kind:<6} run {number + 1}: {used}", flush=True)


def whole_memory(cost: Cost, shape: Shape) -> float:
    """Bytes for all tokens, where fewer were run."""
    gradient = shape.vocabulary * shape.width * 4
    return gradient + (cost.peak_bytes - gradient) * shape.tokens / cost.tokens


def report(runs: dict[str, list[Cost]], shape: Shape, *, out: Path | None) -> bool:
    """Print the table and write the figures; whether every limit is kept."""
    memory = {kind: max(whole_memory(it, shape) for it in costs) for kind, costs in runs.items()}
    seconds = {kind: min(it.seconds * shape.tokens / it.tokens for it in costs) for kind, costs in runs.items()}
    ratios: dict[str, tuple[float, float]] = {
        "memory / plain": (memory["ours"] / memory["plain"], MOST_OF_PLAIN_MEMORY),
        "memory / TRL": (memory["ours"] / memory["trl"], MOST_OF_TRL_MEMORY),
        "time / TRL": (seconds["ours"] / seconds["trl"], MOST_OF_TRL_TIME),
    }
    print(f"{'':<16}{'peak GiB':>10}{'seconds':>10}")
    for kind, costs in runs.items():
        scaled = "" if costs[0].tokens == shape.tokens else f"  (scaled from {costs[0].tokens:,} tokens)"
        print(f"{kind:<16}{memory[kind] / GIB:>10.2f}{seconds[kind]:>10.1f}{scaled}")
    for name, (ratio, most) in ratios.items():
        print(f"{name:<16}{ratio:>10.3f}  (at most {most:g})")
    if out is not None:
        figures: dict[str, Any] = {"shape": shape._asdict(), "ratios": {name: it[0] for name, it in ratios.items()}}
        figures["runs"] = {kind: [it._asdict() for it in costs] for kind, costs in runs.items()}
        out.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return all(ratio <= most for ratio, most in ratios.values())


if __name__ == "__main__":
    main()
