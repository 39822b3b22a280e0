"""How long a step of GRPO takes, beside TRL's GRPOTrainer: without a judge, and with one that is as slow as writing.

    OMP_NUM_THREADS=1 python benchmarks/grpo_step.py [--rounds 8] [--trl-batch 8] [--json OUT]

Both sides run their own loop, `train_grpo` with its metrics and records, and `GRPOTrainer.train`, and take turns step by
step. They have the same start (the miniature's policy, untrained and made nearly uniform), prompts, number of rollouts, one
thread, and one optimizer step over all rollouts of a step; TRL goes without KL, bfloat16 and gradient checkpointing.
`--trl-batch` is how many rollouts TRL takes through the model at once; longform has its defaults.

Lengths are the same on both sides, new ones in every round: log-normal (`--median` in tokens, `--spread` in logarithms), cut
at `--max-tokens`. A closing token is drawn at each response's length and nowhere else: here by the number that the token is
drawn with, there by a logits processor.

The judge's work on all rollouts takes as long as writing: six in flight, each for writing x 6 / rollouts seconds, where
writing is ours in one round and TRL's in the next. It gives random rewards. TRL asks it in an async reward function. Rounds
of the three kinds follow each other, `--rounds` of each after one that warms up. Ratios are medians over rounds of whole
steps, with the least and the largest.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from transformers import LogitsProcessor, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from longform.curriculum.schedule import Curriculum
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.recipe.recipe import Recipe
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.rewards.reward import RewardResult
from longform.rewards.reward_set import RewardSet
from longform.steps.recorder import StepReport
from longform.text.structure import ParsedResponse
from longform.training.checkpoint import TrainingState
from longform.training.grpo import train_grpo
from longform.training.rollouts import JudgeThread, RolloutGenerator
from longform.training.run import build_recorder, load_models
from longform.writers import decoding
from longform.writers.loading import load_model

LIMITS = {"no judge": 0.67, "judge as slow as our writing": 0.55, "judge as slow as TRL's writing": 0.55}
IN_FLIGHT = 6
FLATTENING = 0.1
EARLIER = 0.9
"""Numbers below this draw no token from the end of a nearly uniform vocabulary, where the closing one is."""
LEARNING_RATE = 1e-6


class Step(NamedTuple):
    """Seconds of one step."""

    writing: float
    updating: float
    """Forward and backward; ours with the optimizer."""
    total: float

    @property
    def rest(self) -> float:
        """Waiting for the judge, metrics, records, logs."""
        return self.total - self.writing - self.updating


class Lengths:
    """The lengths of responses, by round and row."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def of_round(self, number: int) -> np.ndarray:
        """[rollouts] tokens, the closing one included. Rounds count from 1."""
        it = self._options
        drawn = np.random.default_rng(number).lognormal(np.log(it.median), it.spread, it.prompts * it.group)
        return np.clip(drawn.round(), 2, it.max_tokens).astype(int)


class Judge:
    """Rewards at random, after a time that can be set, so many at once. Each engine has one of its own."""

    def __init__(self) -> None:
        self.latency = 0.0
        self._random = np.random.default_rng(0)
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def verdict(self) -> float:
        """One reward."""
        if self.latency:
            async with self._slots:
                await asyncio.sleep(self.latency)
        return float(self._random.random())

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """What longform asks of a reward."""
        return RewardResult(await self.verdict())


class Turns:
    """Lets another thread's loop go on step by step."""

    def __init__(self) -> None:
        self._begin, self._end = threading.Semaphore(0), threading.Semaphore(0)

    def give(self) -> None:
        """Let the other loop take its next step, and wait for its end."""
        self._begin.release()
        self._end.acquire()

    def wait(self) -> None:
        """Called by the other loop before a step."""
        self._begin.acquire()

    def end(self) -> None:
        """Called by the other loop after a step."""
        self._end.release()


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--median", type=float, default=80)
    parser.add_argument("--spread", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--trl-batch", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(Path(folder), options)
    tokens = np.mean([Lengths(options).of_round(number).mean() for number in range(1, 1 + len(rounds))])
    print(f"{options.prompts} prompts x {options.group}, {tokens:.0f} tokens on average, at most {options.max_tokens}")
    print(
        f"TRL's batch {options.trl_batch}; load {before:.1f} to {os.getloadavg()[0]:.1f}; median seconds of {options.rounds}"
    )
    ratios = print_rounds(rounds)
    if options.json is not None:
        figures = [{"longform": ours._asdict(), "TRL": theirs._asdict()} for ours, theirs in rounds]
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.exit(any(ratios[kind] > limit for kind, limit in LIMITS.items()))


def print_rounds(rounds: Sequence[tuple[Step, Step]]) -> dict[str, float]:
    """A table of medians; returns the ratios by kind."""
    print(f"{'':<32}{'':<10}{'writing':>9}{'updating':>10}{'rest':>7}{'step':>7}{'ratio':>8}")
    medians: dict[str, float] = {}
    for kind, (name, limit) in enumerate(LIMITS.items()):
        pairs = rounds[len(LIMITS) + kind :: len(LIMITS)]  # the first of each kind warms up
        ratios = [ours.total / theirs.total for ours, theirs in pairs]
        medians[name] = float(np.median(ratios))
        spread = f"{medians[name]:>8.2f}  ({min(ratios):.2f} to {max(ratios):.2f}; at most {limit})"
        for steps, title, engine, ratio in zip(
            zip(*pairs, strict=True), (name, ""), ("longform", "TRL"), (spread, ""), strict=True
        ):
            parts = (np.median([(it.writing, it.updating, it.rest, it.total) for it in steps], axis=0)).tolist()
            figures = "{:>9.2f}{:>10.2f}{:>7.2f}{:>7.2f}".format(*parts)
            print(f"{title:<32}{engine:<10}{figures}{ratio}")
    return medians


def measure(folder: Path, options: argparse.Namespace) -> list[tuple[Step, Step]]:
    """All rounds, (ours, TRL's) each."""
    judges, turns = (Judge(), Judge()), Turns()
    rounds: list[tuple[Step, Step]] = []
    theirs: list[Step] = []
    steps = len(LIMITS) * (options.rounds + 1)
    save_writer(folder / "start")
    trainer = build_trainer(folder, judges[1], turns, steps=steps, on_step=theirs.append, options=options)
    other = threading.Thread(target=trainer.train, daemon=True)

    def on_our_step(ours: Step) -> None:
        if not rounds:
            other.start()
        turns.give()
        rounds.append((ours, theirs[len(rounds)]))
        as_slow_as = [0.0, *(float(np.median([pair[side].writing for pair in rounds])) for side in (0, 1))]
        for judge in judges:
            judge.latency = as_slow_as[len(rounds) % len(LIMITS)] * IN_FLIGHT / (options.prompts * options.group)

    train_longform(folder, judges[0], steps=steps, on_step=on_our_step, options=options)
    return rounds


def save_writer(folder: Path) -> None:
    """A policy that writes nearly uniform tokens; the last one of its vocabulary ends a response."""
    tokenizer = build_tokenizer()
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(len(tokenizer) - 1)
    model = build_model(tokenizer, seed=0)
    with torch.no_grad():
        model.state_dict()["model.embed_tokens.weight"].mul_(FLATTENING)
    for config in (model.config, model.generation_config):
        config.eos_token_id = len(tokenizer) - 1
    for part in (model, tokenizer):
        part.save_pretrained(folder)


def train_longform(
    folder: Path, judge: Judge, *, steps: int, on_step: Callable[[Step], None], options: argparse.Namespace
) -> None:
    """`train_grpo` as `longform train` calls it."""
    recipe = Recipe.model_validate(
        {
            "method": "grpo",
            "policy": str(folder / "start"),
            "data": {"prompts": "unused.jsonl", "per_step": options.prompts, "group": options.group},
            "rewards": [{"kind": "length"}],
            "generation": {"max_tokens": options.max_tokens},
            "optim": {"lr": LEARNING_RATE, "warmup_steps": 0, "mini_batch": options.prompts * options.group},
            "run": {"name": "run", "folder": str(folder), "steps": steps, "checkpoint_every": steps},
        }
    )
    requests = prompts(seed=0, split="train", count=options.prompts)
    lengths = Lengths(options)
    models = load_models(recipe, device="cpu")
    curriculum = Curriculum.of(
        [(it.id, it.rungs) for it in requests], recipe.curriculum, policy="policy", seed=0, steps=steps
    )
    state = TrainingState.start(models, curriculum, recipe.optim)
    began = time.perf_counter()

    def report(it: StepReport) -> None:
        nonlocal began
        total = time.perf_counter() - began
        assert np.isclose(it.metrics["text/tokens"], lengths.of_round(it.step).mean()), "responses have other lengths"
        on_step(Step(it.metrics["seconds/writing"], it.metrics["seconds/updating"], total))
        began = time.perf_counter()

    rewards = RewardSet({"length": judge})
    with closing_at(lengths), RunDirectory.open(recipe.run_path) as run, JudgeThread() as thread:
        source = RolloutGenerator(
            requests,
            models,
            rewards,
            thread,
            group=options.group,
            settings=recipe.generation,
            seed=0,
            read_text=run.database.text,
        )
        recorder = build_recorder(recipe, run, state, None, prompts=requests, on_step=report)
        train_grpo(recipe, state, source, recorder)


@contextmanager
def closing_at(lengths: Lengths) -> Iterator[None]:
    """A context in which the numbers that tokens are drawn with choose the last of the vocabulary at these lengths alone."""
    drawn = decoding.uniform_draws

    def draws(*, seed: int, step: int, rows: Sequence[int], count: int) -> np.ndarray:
        uniforms = drawn(seed=seed, step=step, rows=rows, count=count) * EARLIER
        uniforms[np.arange(len(rows)), lengths.of_round(step)[list(rows)] - 1] = 1 - 1e-9
        return uniforms

    decoding.uniform_draws = draws
    try:
        yield
    finally:
        decoding.uniform_draws = drawn


class ClosesAt(LogitsProcessor):
    """Draws the closing token at the length of each row and nowhere else."""

    def __init__(self, lengths: np.ndarray, closing: int) -> None:
        self._ending = [np.flatnonzero(lengths == t + 1) for t in range(lengths.max())]
        self._closing, self._t = closing, 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002, D102
        scores[:, self._closing] = -torch.inf
        if len(rows := self._ending[self._t]):
            scores[rows] = -torch.inf
            scores[rows, self._closing] = 0.0
        self._t += 1
        return scores


class TimedTrainer(GRPOTrainer):
    """TRL's trainer with a clock on its parts; asks the model for responses of given lengths."""

    def begin(self, lengths: np.ndarray) -> None:
        """Begin a step whose responses have these lengths."""
        self.lengths = lengths
        self.seconds: dict[str, float] = dict.fromkeys(("writing", "preparing", "training"), 0.0)
        self._began = time.perf_counter()

    def end(self) -> Step:
        """The step that has begun last."""
        total, it = time.perf_counter() - self._began, self.seconds
        return Step(it["writing"], it["training"] - it["preparing"], total)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        with self._timing("training"):
            return super().training_step(*args, **kwargs)

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        with self._timing("preparing"):
            return super()._prepare_inputs(*args, **kwargs)

    def generate(self, *args: Any, write: Callable[..., Any], closing: int, **kwargs: Any) -> Any:
        """In place of the model's own, `write`."""
        with self._timing("writing"):
            return write(*args, **kwargs, logits_processor=[ClosesAt(self.lengths, closing)])

    @contextmanager
    def _timing(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - began


class TakesTurns(TrainerCallback):
    """A step begins with a turn, and ends when the next is about to begin: its logs are written by then."""

    def __init__(self, trainer: TimedTrainer, turns: Turns, lengths: Lengths, on_step: Callable[[Step], None]) -> None:
        self._trainer, self._turns, self._lengths, self._on_step = trainer, turns, lengths, on_step
        self._number = 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:  # noqa: D102
        self.on_train_end()
        self._turns.wait()
        self._number += 1
        self._trainer.begin(self._lengths.of_round(self._number))

    def on_train_end(self, *_: Any, **__: Any) -> None:  # noqa: D102
        if self._number:
            self._on_step(self._trainer.end())
            self._turns.end()


def build_trainer(
    folder: Path,
    judge: Judge,
    turns: Turns,
    *,
    steps: int,
    on_step: Callable[[Step], None],
    options: argparse.Namespace,
) -> TimedTrainer:
    """TRL's side: `train` takes a step at each turn."""
    rows = [{"prompt": it.messages} for it in prompts(seed=0, split="train", count=options.prompts)]
    tokenizer, model = load_model(str(folder / "start"), device="cpu")

    async def reward(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        assert [len(it) for it in completion_ids] == trainer.lengths.tolist(), "completions have other lengths"
        return await asyncio.gather(*(judge.verdict() for _ in completions))

    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=options.trl_batch,
        gradient_accumulation_steps=len(rows) * options.group // options.trl_batch,
        num_generations=options.group,
        max_completion_length=options.max_tokens,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        loss_type="grpo",
        beta=0.0,
        num_iterations=1,
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        report_to=[],
    )
    trainer = TimedTrainer(
        model=model,
        reward_funcs=reward,  # pyright: ignore[reportArgumentType]
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    write: Any = model.generate
    vars(model)["generate"] = partial(trainer.generate, write=write, closing=tokenizer.eos_token_id)
    trainer.add_callback(TakesTurns(trainer, turns, Lengths(options), on_step))
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    main()
