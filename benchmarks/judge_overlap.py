"""Rollouts judged while others are still being written: how long generation and rewards take together, beside TRL's GRPO.

    python benchmarks/judge_overlap.py [--engines own] [--prompts 16] [--group 4] [--max-tokens 400] [--runs 5] [--json OUT]

The judge's work on all rollouts takes as long as generation: n rollouts, `--in-flight` at a time, each for generation x
in flight / n seconds (at most a tenth of generation). From the first token to the last reward must take at most 1.15 times
generation alone plus one verdict. The policy is the miniature's, untrained and made nearly uniform; a few of its tokens are
named as closing tokens in its generation config, so that lengths are geometric, cut at max-tokens (mean about a quarter).

Ours is `RolloutGenerator.generate` and `rewards`. TRL's is `GRPOTrainer._generate_and_score_completions` with an async
reward function, on the same model, prompts and length settings, held against its own generation. Generation alone is
the same code with a judge that answers at once. `ideal` is what no engine could beat: these rollouts, judged the moment
that they end. The runs take turns; each figure is the best of its runs.

`--engines own paged vllm sglang` measures these engines; TRL is measured beside `own`. The last two start the commands
`vllm` and `sglang`. To measure with stand-ins, which speak their protocols and decode one response at a time, first run

    python tests/served_engines.py build/engine-commands && export PATH=$PWD/build/engine-commands:$PATH
"""

import argparse
import asyncio
import heapq
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from longform.curriculum.schedule import PromptDraw
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.records.schemas import Ladder, Prompt, PromptRow, Reference
from longform.rewards.judge_thread import JudgeThread
from longform.rewards.reward import RewardResult
from longform.rewards.reward_set import RewardSet
from longform.rl.settings import MemorySettings
from longform.text.structure import ParsedResponse
from longform.training.models import FullModels
from longform.training.policy_writer import PolicyWriter
from longform.training.rollouts import RolloutGenerator
from longform.writers.loading import load_model
from longform.writers.served.server import open_server
from longform.writers.settings import SERVED, GenerationSettings

MOST_OF_GENERATION = 1.15
LONGEST_VERDICT = 0.1
LONGEST_PROMPT = 100
CLOSING_TOKENS = 5
FLATTENING = 0.1


class ScriptedJudge:
    """Answers after a time that can be set, to so many at once; keeps when it was asked."""

    def __init__(self, *, in_flight: int) -> None:
        self.latency = 0.0
        self.asked_at: list[float] = []
        self._slots = asyncio.Semaphore(in_flight)

    async def verdict(self) -> float:
        """One score."""
        self.asked_at.append(time.perf_counter())
        if self.latency:
            async with self._slots:
                await asyncio.sleep(self.latency)
        return 1.0

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """What longform asks of a reward."""
        return RewardResult(await self.verdict(), "win")

    async def __call__(self, completions: list[Any], **_: Any) -> list[float]:
        """What TRL asks of a reward."""
        return await asyncio.gather(*(self.verdict() for _ in completions))


class Phase(NamedTuple):
    """Rollouts and rewards of one engine, in seconds."""

    generation: float
    latency: float
    """Of one verdict."""
    both: float
    mean_tokens: float
    ideal: float | None = None

    @property
    def ratio(self) -> float:
        """Of both to generation alone plus one verdict."""
        return self.both / (self.generation + self.latency)


def main() -> None:
    """Measure and print; exits with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=["own", "paged", *SERVED], default=["own"])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--in-flight", type=int, default=6)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    requests = prompts(seed=0, split="train", count=options.prompts)
    with tempfile.TemporaryDirectory() as folder:
        save_writer(Path(folder))
        phases = {engine: measure_longform(folder, requests, options, engine=engine) for engine in options.engines}
        if "own" in phases:
            phases["TRL"] = measure_trl(folder, requests, options)
    print(
        f"{options.prompts} prompts x {options.group}, at most {options.max_tokens} tokens; seconds, best of {options.runs}"
    )
    print(f"{'':<10}{'tokens':>8}{'generation':>12}{'verdict':>9}{'both':>8}{'ratio':>8}{'ideal':>8}")
    for name, it in phases.items():
        ideal = "" if it.ideal is None else f"{it.ideal / (it.generation + it.latency):.3f}"
        figures = f"{it.mean_tokens:>8.0f}{it.generation:>12.2f}{it.latency:>9.3f}{it.both:>8.2f}{it.ratio:>8.3f}"
        print(f"{name:<10}{figures}{ideal:>8}")
    print(f"ratio: both / (generation + one verdict), at most {MOST_OF_GENERATION:g} for longform's engines")
    if options.json is not None:
        figures = {name: {**it._asdict(), "ratio": it.ratio} for name, it in phases.items()}
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.exit(any(phases[name].ratio > MOST_OF_GENERATION for name in options.engines))


def save_writer(folder: Path) -> None:
    """A policy that writes nearly uniform tokens and ends with the same chance after each."""
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=0)
    with torch.no_grad():
        model.state_dict()["model.embed_tokens.weight"].mul_(FLATTENING)
    model.generation_config.eos_token_id = list(range(len(tokenizer) - CLOSING_TOKENS, len(tokenizer)))
    for part in (model, tokenizer):
        part.save_pretrained(folder)


def measure_longform(folder: str, requests: Sequence[Prompt], options: argparse.Namespace, *, engine: str) -> Phase:
    """Rollouts as a training step takes them."""
    models = FullModels(folder, device="cpu", with_reference=False, initial_value=0.5, memory=MemorySettings())
    reference = Reference(model="someone", text="A story.", score=5.0)
    fields = {"references": [reference], "policy_score": 5.0, "potential": 1.0}
    ladders = [Ladder(id=it.id, prompt=it.prompt, **fields) for it in requests]
    faced = [PromptDraw(index, 0) for index in range(len(ladders))]
    judge = ScriptedJudge(in_flight=options.in_flight)
    settings = GenerationSettings.model_validate({"max_tokens": options.max_tokens, "engine": engine})
    longest = options.max_tokens + LONGEST_PROMPT
    serving = open_server(settings, model=folder, longest=longest, precision="float32")
    with serving as server, JudgeThread() as thread:
        source = RolloutGenerator(
            ladders,
            PolicyWriter(models, settings, seed=0, server=server),
            RewardSet({"pairwise": judge}),
            thread,
            group=options.group,
            read_text=str,
        )

        def phase() -> float:
            rollouts = source.generate(faced, step=1)
            source.rewards()
            return sum(len(it.completion.tokens) for it in rollouts) / len(rollouts)

        return time_phases(phase, judge, options, overlaps=True)


def measure_trl(folder: str, requests: Sequence[Prompt], options: argparse.Namespace) -> Phase:
    """The same phase of a GRPO step of TRL."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    rollouts = len(requests) * options.group
    judge = ScriptedJudge(in_flight=options.in_flight)

    async def reward(completions: list[Any], **columns: Any) -> list[float]:
        return await judge(completions, **columns)

    tokenizer, model = load_model(folder, device="cpu")
    rows = [{"prompt": it.messages} for it in requests]
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=out,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=rollouts,
            num_generations=options.group,
            max_completion_length=options.max_tokens,
            temperature=1.0,
            report_to=[],
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,  # pyright: ignore[reportArgumentType]
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        model.train()
        inputs = [row for row in rows for _ in range(options.group)]

        def phase() -> float:
            torch.manual_seed(0)
            scored = trainer._generate_and_score_completions(inputs)
            return float(scored["completion_mask"].sum()) / rollouts

        return time_phases(phase, judge, options, overlaps=False)


def time_phases(
    phase: Callable[[], float], judge: ScriptedJudge, options: argparse.Namespace, *, overlaps: bool
) -> Phase:
    """Run with a judge that answers at once and with one as slow as generation, in turns."""
    rollouts = options.prompts * options.group
    mean_tokens = phase()  # warms up
    generation, both, ideal = min(timed(phase) for _ in range(2)), float("inf"), None
    latency = generation * options.in_flight / rollouts
    assert latency <= LONGEST_VERDICT * generation, "choose fewer in flight or more rollouts"
    for _ in range(options.runs):
        judge.latency, judge.asked_at = 0.0, []
        began, alone = time.perf_counter(), timed(phase)
        if overlaps and alone <= generation:
            ideal = best_end([at - began for at in judge.asked_at], servers=options.in_flight, seconds=latency)
        generation = min(generation, alone)
        judge.latency = latency
        both = min(both, timed(phase))
    return Phase(generation, latency, both, mean_tokens, ideal)


def timed(phase: Callable[[], float]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    phase()
    return time.perf_counter() - began


def best_end(arrivals: Sequence[float], *, servers: int, seconds: float) -> float:
    """When the last of the arrivals is served, each taking `seconds`, first come first served."""
    free = [0.0] * servers
    for arrival in sorted(arrivals):
        heapq.heapreplace(free, max(free[0], arrival) + seconds)
    return max(free)


if __name__ == "__main__":
    main()
