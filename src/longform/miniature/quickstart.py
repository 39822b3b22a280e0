"""The quickstart: the full Writing-RL pipeline in the miniature world, through the functions that the commands call.

All files are in one folder and in the commands' formats, so each stage can be inspected or rerun by hand. The miniature's
server stops with the pipeline; to continue by hand, start another with `longform serve-miniature`.
"""

import asyncio
import ctypes
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import torch

from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.endpoints.recorded import calls_path
from longform.engines import train
from longform.judging.pointwise import PointwiseJudge
from longform.miniature.policy import SFT_SETTINGS, build_model, build_tokenizer, sft_rows
from longform.miniature.writers import LEVELS
from longform.recipe.loading import dump_recipe, load_recipe
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows, write_rows, write_text
from longform.records.progress import Advance, Stage
from longform.records.schemas import Prompt, Response
from longform.selection.generate import collect_responses, collect_responses_locally
from longform.selection.grade import collect_grades
from longform.selection.select import Selection, select
from longform.selection.settings import SelectionSettings
from longform.steps.recorder import RunResult
from longform.training.supervised.sft import train_sft
from longform.training.supervised.sft_recipe import SftSettings
from longform.writers.endpoint import EndpointWriter
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

POLICY = "policy"
COMPETITORS = tuple(LEVELS)
MAX_TOKENS = 160


class Scale(NamedTuple):
    """Sizes of the stages."""

    sft: SftSettings
    train_prompts: int
    validation_prompts: int
    held_out_prompts: int
    recipe: tuple[str, ...] = ()
    """Overrides of recipes/ppo.yaml."""


FULL = Scale(
    sft=SFT_SETTINGS,
    train_prompts=320,
    validation_prompts=64,
    held_out_prompts=200,
)
SMOKE = Scale(
    sft=SFT_SETTINGS.model_copy(update={"steps": 20}),
    train_prompts=32,
    validation_prompts=8,
    held_out_prompts=16,
    recipe=("run.steps=3", "data.per_step=16", "optim.mini_batch=8", "run.checkpoint_every=2", "validation.every=2"),
)


def prepare_process() -> None:
    """Set up this process for many passes through a very small model: threads, and memory that is kept."""
    torch.set_num_threads(choose_threads())
    keep_freed_memory()


def choose_threads() -> int:
    """The number of torch threads, from a measurement of a few milliseconds; `OMP_NUM_THREADS` decides if it is set.

    A model this small gains little from more threads, the server needs a core, and on a busy machine several threads
    spend most of their time waiting for each other. So each doubling has to be 1.5 times as fast, and one core stays free.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    threads, fastest = 1, _pass_seconds(1)
    while 2 * threads < (os.cpu_count() or 1) and (seconds := _pass_seconds(2 * threads)) < fastest / 1.5:
        threads, fastest = 2 * threads, seconds
    return threads


def _pass_seconds(threads: int) -> float:
    """The least wall time of a matrix product of the size that dominates training here."""
    torch.set_num_threads(threads)
    left, right = torch.ones(2048, 160), torch.ones(160, 480)
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def keep_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors instead of returning it to the system after each operation.

    Every operation on a tensor of some megabytes would otherwise begin with a page fault for each of its pages: a tenth of
    the quickstart's processor time. Elsewhere (musl, macOS, Windows) nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 1 << 30)


def train_start(folder: Path, *, scale: Scale, seed: int, stage: Stage) -> None:
    """Train the initial policy in `folder`/start: a tiny model, fine-tuned from scratch."""
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=seed)
    with stage("fine-tuning a tiny writer") as advance:

        def on_progress(step: int, steps: int, loss: float) -> None:
            advance(step, steps, f"loss {loss:.2f}")

        rows = sft_rows(seed=seed, count=scale.sft.steps * scale.sft.batch_size)
        settings = scale.sft.model_copy(update={"seed": seed})
        train_sft(model, tokenizer, rows, settings, out=folder / "start", on_progress=on_progress)


def gather_candidates(folder: Path, *, seed: int, stage: Stage) -> None:
    """Write responses of the policy and the competitors to the training prompts, and grade them."""
    rows = list(read_rows(folder / "prompts.jsonl", Prompt))
    with stage("responses of the policy") as advance:
        write_locally(
            rows, folder / "start", folder / "responses-policy.jsonl", name=POLICY, seed=seed, advance=advance
        )
    with SqliteCallLog(folder / "selection.sqlite") as log:
        models = read_models(folder / "models.yaml")
        with stage("responses of the competitors") as advance:
            asyncio.run(
                write_remotely(
                    rows,
                    [Endpoint(name, models[name], call_log=log) for name in COMPETITORS],
                    lambda name: folder / f"responses-{name}.jsonl",
                    advance=advance,
                )
            )
    grades = folder / "grades.jsonl"
    with SqliteCallLog(calls_path(grades)) as log, stage("grades") as advance:
        judge = Endpoint("judge", models["judge"], call_log=log)
        asyncio.run(_grade_all(folder, rows, judge, advance, out=grades, secret=log.secret()))


def build_ladders(folder: Path) -> Selection:
    """Select the training prompts by learning potential and write their ladders."""
    chosen = select(
        prompts=folder / "prompts.jsonl",
        responses=[_responses(folder, name) for name in (POLICY, *COMPETITORS)],
        grades=[folder / "grades.jsonl"],
        settings=SelectionSettings(policy=POLICY),
    )
    write_rows(folder / "ladders.jsonl", chosen.ladders)
    return chosen


def pipeline_recipe(folder: Path, *, scale: Scale, seed: int, overrides: Sequence[str]) -> Recipe:
    """Load the RL recipe with its paths set to `folder`.

    Raises:
        BadInputError: an override has an unknown key or an invalid value.
    """
    paths = {"policy": "start", "data.ladders": "ladders.jsonl"}
    return placed_recipe("ppo", folder, paths, [f"run.seed={seed}", *scale.recipe, *overrides])


def placed_recipe(name: str, folder: Path, paths: Mapping[str, str], overrides: Sequence[str]) -> Recipe:
    """Load a recipe of the miniature world with its paths, including `paths`, set to `folder`.

    Raises:
        BadInputError: an override has an unknown key or an invalid value.
    """
    everywhere = {"models": "models.yaml", "validation.prompts": "validation.jsonl", "run.folder": ""}
    placed = [f"{key}={json.dumps(str(folder / path))}" for key, path in (everywhere | dict(paths)).items()]
    with as_file(files("longform.miniature") / "recipes" / f"{name}.yaml") as source:
        return load_recipe(source, Recipe, [*placed, *overrides])


def train_policy(folder: Path, *, scale: Scale, seed: int, overrides: Sequence[str], stage: Stage) -> RunResult:
    """Train the policy with RL from `folder`/start; the run is recorded in `folder`/run."""
    recipe = pipeline_recipe(folder, scale=scale, seed=seed, overrides=overrides)
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    with stage("PPO against the ladders") as advance:
        return train(recipe, on_step=lambda report: report.show(advance))


def write_locally(rows: list[Prompt], model: Path, out: Path, *, name: str, seed: int, advance: Advance) -> None:
    """Write a local model's responses to prompts to `out`."""
    settings = GenerationSettings(max_tokens=MAX_TOKENS)
    writer = LocalWriter(str(model))
    collect_responses_locally(
        rows, writer, name=name, samples=1, settings=settings, seed=seed, out=out, on_progress=advance
    )


async def write_remotely(
    rows: list[Prompt], endpoints: Sequence[Endpoint], out: Callable[[str], Path], *, advance: Advance
) -> None:
    """Write the responses of endpoint writers to prompts; `out` maps each writer's name to its file."""
    for index, endpoint in enumerate(endpoints):

        def on_progress(done: int, total: int, index: int = index) -> None:
            advance(index * total + done, len(endpoints) * total)

        async with endpoint:
            writer = EndpointWriter(endpoint, max_tokens=MAX_TOKENS, temperature=1.0)
            await collect_responses(rows, writer, samples=1, out=out(endpoint.name), on_progress=on_progress)


async def _grade_all(
    folder: Path, rows: list[Prompt], judge: Endpoint, advance: Advance, *, out: Path, secret: bytes
) -> None:
    responses = [row for name in (POLICY, *COMPETITORS) for row in read_rows(_responses(folder, name), Response)]
    by_id = {row.id: row for row in rows}
    async with judge:
        pointwise = PointwiseJudge(judge, secret=secret)
        await collect_grades(responses, by_id, pointwise, out=out, on_progress=advance)


def _responses(folder: Path, name: str) -> Path:
    return folder / f"responses-{name}.jsonl"
