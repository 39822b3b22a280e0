"""A GRPO step beside TRL's GRPOTrainer: CPU time and peak memory, on a CPU with one thread.

    OMP_NUM_THREADS=1 python benchmarks/grpo_against_trl.py [--model FOLDER] [--rounds 8] [--cases equal tail]
        [--microbatch 512] [--trl-batch 8] [--trl-continuous] [--json OUT]

Both sides run their own loop, `train_grpo` with its metrics and records, and `GRPOTrainer.train`, each measurement in a
process of its own, by turns, beginning with either. They have the same start (the model of a folder, or the miniature's
policy), prompts, 4 responses to each of 4, one thread, float32, random rewards, and one optimizer step (AdamW) over all
responses. A process takes two steps: one with responses of 4 tokens, which warms up, and the one that is measured: CPU
seconds (user and system) and seconds of that step, and the most memory that the process held at any time in pages of its
own, looked at every 10 ms.

Lengths are forced to be equal on both sides: end tokens are never drawn but at the end that a response is given, there by
a logits processor. `equal` has 64 tokens in each response; `tail` has log-normal lengths (median 64, spread 0.8 in
logarithms) between 16 and 256, the longest always 256, new ones in every round.

TRL has the settings that are best for this machine: `use_cpu`, no bfloat16, no gradient checkpointing, no KL and so no
reference model, `loss_type: grpo` (the same loss), `num_iterations: 1`, a generation of all responses at once, TRL's own
chunked output head, no completions logged, and `--trl-batch` responses through the model at once. `--trl-continuous` is
its continuous batching (equal lengths only, without warm-up). longform takes `--microbatch` tokens through the model at
once; its default on a CPU, 2,048, takes more memory.

Aims: at most 0.75 of TRL's CPU time and memory with equal lengths, 0.5 with a tail.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from datasets import Dataset
from one_device import own_pages, watched_memory
from transformers import LogitsProcessor, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from longform.cli.output import print_table
from longform.curriculum.schedule import Curriculum
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.planning.memory import GIB
from longform.recipe.recipe import Recipe
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.rewards.judge_thread import JudgeThread
from longform.rewards.reward import RewardResult
from longform.rewards.reward_set import RewardSet
from longform.steps.recorder import StepReport
from longform.text.structure import ParsedResponse
from longform.training.checkpoint import TrainingState
from longform.training.grpo import train_grpo
from longform.training.policy_writer import PolicyWriter
from longform.training.rollouts import RolloutGenerator
from longform.training.run import build_recorder, load_models
from longform.writers import decoding
from longform.writers.loading import load_model
from longform.writers.settings import GenerationSettings
from longform.writers.stops import find_stops

AIMS = {"equal": 0.75, "tail": 0.5}
PROMPTS, GROUP = 4, 4
EQUAL_TOKENS, WARM_UP_TOKENS = 64, 4
SHORTEST, LONGEST, MEDIAN, SPREAD = 16, 256, 64, 0.8
LEARNING_RATE = 1e-6
MEASURED_STEP = 2
END = 2.0
"""Stands among the uniform numbers of a response for its end."""


class Cost(NamedTuple):
    """Of one step."""

    cpu: float
    """Seconds of the processor."""
    wall: float
    """Seconds."""
    peak: float
    """Bytes that the process held at most."""


class RandomReward:
    """Rewards at random."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def draw(self) -> float:
        """One reward."""
        return float(self._random.random())

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """What longform asks of a reward."""
        return RewardResult(self.draw())


class Clock:
    """Measures the step between `begin` and `end`, and the memory of the process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.step: tuple[float, float] | None = None

    def begin(self) -> None:
        """Begin a step."""
        self._began = self._now()

    def end(self) -> None:
        """End it."""
        cpu, wall = self._now()
        self.step = cpu - self._began[0], wall - self._began[1]

    def _now(self) -> tuple[float, float]:
        times = self._process.cpu_times()
        return times.user + times.system, time.perf_counter()


def main() -> None:
    """Measure and print; exits with 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="a folder with weights; by default the miniature's policy, untrained"
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cases", nargs="+", choices=AIMS, default=list(AIMS))
    parser.add_argument("--microbatch", type=int, default=512, metavar="TOKENS")
    parser.add_argument("--trl-batch", type=int, default=8, choices=[2, 4, 8, 16])
    parser.add_argument("--trl-continuous", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=4, metavar=("SIDE", "CASE", "ROUND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        side, case, number, folder = options.child
        print(json.dumps(measure(side, lengths_of(case, int(number)), Path(folder), options)))
        return
    loads = [os.getloadavg()[0]]
    costs: dict[str, list[tuple[Cost, Cost]]] = {case: [] for case in options.cases}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        save_writer(start) if options.model is None else start.symlink_to(options.model.resolve())
        for number in range(1, options.rounds + 1):
            for case in options.cases:
                turns = ["longform", "TRL"] if number % 2 else ["TRL", "longform"]
                found = {side: run_child(side, case, number, Path(folder)) for side in turns}
                costs[case].append((found["longform"], found["TRL"]))
                said = ", ".join(f"{side} {it.cpu:.1f} s, {it.peak / GIB:.2f} GiB" for side, it in found.items())
                print(f"round {number}, {case}: {said}", file=sys.stderr)
            loads.append(os.getloadavg()[0])
    print(f"load {min(loads):.1f} to {max(loads):.1f}; medians of {options.rounds}, ratios from least to largest")
    missed = print_costs(costs)
    if options.json:
        content = {case: [[ours._asdict(), theirs._asdict()] for ours, theirs in it] for case, it in costs.items()}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    sys.exit(missed)


def lengths_of(case: str, number: int) -> np.ndarray:
    """[responses] tokens of the measured step, the end included."""
    if case == "equal":
        return np.full(PROMPTS * GROUP, EQUAL_TOKENS)
    random = np.random.default_rng(number)
    drawn = random.lognormal(np.log(MEDIAN), SPREAD, PROMPTS * GROUP).round()
    drawn[drawn.argmax()] = LONGEST
    return np.clip(drawn, SHORTEST, LONGEST).astype(int)


def run_child(side: str, case: str, number: int, folder: Path) -> Cost:
    """Measure one step in a process of its own."""
    arguments = [*sys.argv[1:], "--child", side, case, str(number), str(folder)]
    output = subprocess.run(
        [sys.executable, __file__, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return Cost(*json.loads(output.splitlines()[-1]))


def print_costs(costs: dict[str, list[tuple[Cost, Cost]]]) -> bool:
    """A table of medians; returns whether an aim is missed."""
    rows: list[list[str]] = []
    missed = False
    for case, pairs in costs.items():
        ratios = {name: [getattr(a, name) / getattr(b, name) for a, b in pairs] for name in Cost._fields}
        aimed = [float(np.median(ratios[name])) for name in ("cpu", "peak")]
        missed = missed or max(aimed) > AIMS[case]
        for place, side in enumerate(("longform", "TRL")):
            cpu, wall, peak = np.median([pair[place] for pair in pairs], axis=0).tolist()
            rows.append([f"{case} {side}", f"{cpu:.1f}", f"{wall:.1f}", f"{peak / GIB:.2f}"])
        spread = [f"{np.median(it):.2f} ({min(it):.2f} to {max(it):.2f})" for it in ratios.values()]
        rows.append([f"{case} ratio, aim {AIMS[case]}", *spread])
    print_table("one step", ["", "CPU seconds", "seconds", "GiB"], rows)
    return missed


def measure(side: str, lengths: np.ndarray, folder: Path, options: argparse.Namespace) -> Cost:
    """A warm-up step and the measured one, of one side."""
    torch.set_num_threads(1)
    clock = Clock()
    run = train_longform if side == "longform" else train_trl
    with tempfile.TemporaryDirectory(dir=folder) as own, watched_memory() as held:
        run(folder / "start", Path(own), clock, lengths, options)
    assert clock.step is not None
    return Cost(*clock.step, max(*held, own_pages()))


def save_writer(folder: Path) -> None:
    """The miniature's policy, untrained."""
    tokenizer = build_tokenizer()
    for part in (build_model(tokenizer, seed=0), tokenizer):
        part.save_pretrained(folder)


def train_longform(start: Path, own: Path, clock: Clock, lengths: np.ndarray, options: argparse.Namespace) -> None:
    """`train_grpo` as `longform train` calls it."""
    recipe = Recipe.model_validate(
        {
            "method": "grpo",
            "policy": str(start),
            "data": {"prompts": "unused.jsonl", "per_step": PROMPTS, "group": GROUP},
            "rewards": [{"kind": "length"}],
            "generation": {"max_tokens": int(lengths.max())},
            "optim": {"lr": LEARNING_RATE, "warmup_steps": 0, "mini_batch": PROMPTS * GROUP},
            "memory": {"max_tokens_per_microbatch": options.microbatch},
            "run": {"name": "run", "folder": str(own), "steps": MEASURED_STEP + 1, "checkpoint_every": 100},
        }
    )
    requests = prompts(seed=0, split="train", count=PROMPTS)
    models = load_models(recipe, device="cpu")
    curriculum = Curriculum.of(
        [(it.id, it.rungs) for it in requests], recipe.curriculum, policy="policy", seed=0, steps=recipe.run.steps
    )
    state = TrainingState.start(models, curriculum, recipe.optim)
    ends = end_tokens(models.tokenizer, models)

    def on_step(it: StepReport) -> None:
        if it.step < MEASURED_STEP:
            clock.begin()
            return
        clock.end()
        assert np.isclose(it.metrics["text/tokens"], lengths.mean()), "responses have other lengths"
        raise _Measured

    rewards = RewardSet({"length": RandomReward()})
    with ending_at(lengths, ends), RunDirectory.open(recipe.run_path) as run, JudgeThread() as thread:
        source = RolloutGenerator(
            requests,
            PolicyWriter(models, recipe.generation, seed=0),
            rewards,
            thread,
            group=GROUP,
            read_text=run.database.text,
        )
        recorder = build_recorder(recipe, run, state, None, prompts=requests, on_step=on_step)
        with suppress(_Measured):
            train_grpo(recipe, state, source, recorder)


class _Measured(Exception):
    """The measured step has ended."""


def end_tokens(tokenizer: Any, models: Any) -> list[int]:
    """Tokens that end a response, the tokenizer's own first."""
    with models.as_policy() as policy:
        stops = find_stops(tokenizer, GenerationSettings(), generation_config=policy.generation_config)
    return sorted(stops.tokens, key=lambda it: it != tokenizer.eos_token_id)


@contextmanager
def ending_at(lengths: np.ndarray, ends: Sequence[int]) -> Iterator[None]:
    """A context in which responses end at these lengths and nowhere else; in the first step at `WARM_UP_TOKENS`."""
    draw, choose = decoding.uniform_draws, decoding.choose_tokens

    def draws(*, seed: int, step: int, rows: Sequence[int], count: int) -> np.ndarray:
        uniforms = draw(seed=seed, step=step, rows=rows, count=count)
        wanted = lengths[list(rows)] if step == MEASURED_STEP else WARM_UP_TOKENS
        uniforms[np.arange(len(rows)), wanted - 1] = END
        return uniforms

    def choice(
        logits: torch.Tensor, uniforms: torch.Tensor, settings: GenerationSettings
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            logits[:, list(ends)] = -torch.inf
        tokens, log_probs = choose(logits, uniforms.clamp(max=1 - 1e-9), settings)
        is_end = uniforms == END
        return tokens.masked_fill(is_end, ends[0]), log_probs.masked_fill(is_end, 0.0)

    decoding.uniform_draws, decoding.choose_tokens = draws, choice
    try:
        yield
    finally:
        decoding.uniform_draws, decoding.choose_tokens = draw, choose


class EndsAt(LogitsProcessor):
    """Draws the end token at the length of each row and nowhere else."""

    def __init__(self, lengths: np.ndarray, ends: Sequence[int]) -> None:
        self._ending = [np.flatnonzero(lengths == t + 1) for t in range(lengths.max())]
        self._ends, self._t = list(ends), 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002, D102
        scores[:, self._ends] = -torch.inf
        if len(rows := self._ending[self._t]):
            scores[rows] = -torch.inf
            scores[rows, self._ends[0]] = 0.0
        self._t += 1
        return scores


class MeasuresStep(TrainerCallback):
    """Measures the last step of a training."""

    def __init__(self, clock: Clock, steps: int) -> None:
        self._clock, self._steps = clock, steps

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        if state.global_step == self._steps - 1:
            self._clock.begin()

    def on_train_end(self, *_: Any, **__: Any) -> None:  # noqa: D102
        self._clock.end()


def train_trl(start: Path, own: Path, clock: Clock, lengths: np.ndarray, options: argparse.Namespace) -> None:
    """TRL's side."""
    rows = [{"prompt": it.messages} for it in prompts(seed=0, split="train", count=PROMPTS)]
    tokenizer, model = load_model(str(start), device="cpu")
    ends = sorted(
        find_stops(tokenizer, GenerationSettings(), generation_config=model.generation_config).tokens,
        key=lambda it: it != tokenizer.eos_token_id,
    )
    steps = 1 if options.trl_continuous else MEASURED_STEP
    wanted = [np.full(len(lengths), WARM_UP_TOKENS), lengths][-steps:]
    rewards, generated = RandomReward(), 0

    def reward(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        found = [len(it) for it in completion_ids]
        if options.trl_continuous:
            print(f"continuous batching: {np.mean(found):.1f} tokens on average", file=sys.stderr)
        else:
            assert found == wanted[generated - 1].tolist(), "completions have other lengths"
        return [rewards.draw() for _ in completions]

    config = GRPOConfig(
        output_dir=str(own / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=options.trl_batch,
        gradient_accumulation_steps=PROMPTS * GROUP // options.trl_batch,
        num_generations=GROUP,
        max_completion_length=int(lengths.max()),
        generation_kwargs={"min_new_tokens": int(lengths.max())} if options.trl_continuous else None,
        use_transformers_continuous_batching=options.trl_continuous,
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
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,  # pyright: ignore[reportArgumentType]
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    write: Any = model.generate

    def generate(*arguments: Any, **keywords: Any) -> Any:
        nonlocal generated
        generated += 1
        return write(*arguments, **keywords, logits_processor=[EndsAt(wanted[generated - 1], ends)])

    vars(model)["generate"] = partial(generate)
    trainer.add_callback(MeasuresStep(clock, steps))
    trainer.remove_callback(PrinterCallback)
    trainer.train()


if __name__ == "__main__":
    main()
