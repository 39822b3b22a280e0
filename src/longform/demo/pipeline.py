"""The demonstration: a pretrained chat model writes, is trained in two short runs, and writes again.

Part one is GRPO with LongWriter-Zero's length and format rewards. Part two is Writing-RL's method: the model itself writes
references, the functions of `longform generate`, `grade` and `select` build ladders from them, and a judge that is served
over HTTP compares. All files are in one folder and in the commands' formats; the resolved recipes run with `longform train`.
"""

import gc
import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import yaml
from huggingface_hub import snapshot_download

from longform.demo.encoder import load_encoder
from longform.demo.evidence import DemoEvidence, compare
from longform.demo.judge import JUDGE
from longform.demo.prompts import DemoSplit, length_range_of, load_prompts
from longform.demo.server import serve_in_background
from longform.recipe.loading import dump_recipe, load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows, write_text
from longform.records.progress import Stage
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt, PromptRow, Response
from longform.selection.generate import generate
from longform.selection.grade import grade
from longform.selection.select import select
from longform.selection.settings import SelectionSettings
from longform.steps.recorder import RunResult
from longform.training.run import train
from longform.writers.device import choose_device, fast_precision
from longform.writers.loading import load_tokenizer
from longform.writers.paths import check_model_path, is_model_folder
from longform.writers.settings import LocalOptions

LadderMethod = Literal["grpo", "ppo"]
PromptT = TypeVar("PromptT", bound=PromptRow)
OWN = "own"
"""The policy's name in part two, as in recipes/ladder.yaml."""


class DemoScale(NamedTuple):
    """Sizes of the stages."""

    held_out_per_range: int = 12
    samples: int = 2
    """Texts of each writer for each held-out prompt."""
    candidates_per_range: int = 12
    """Training prompts for which references are written."""
    ladders_per_range: int = 10
    """Number of ladders, from the candidates with the highest learning potential."""
    recipe: tuple[str, ...] = ()
    """Overrides of both recipes."""


FULL = DemoScale()
SMOKE = DemoScale(
    held_out_per_range=2,
    samples=1,
    candidates_per_range=2,
    ladders_per_range=2,
    recipe=(
        "run.steps=2",
        "run.checkpoint_every=1",
        "data.per_step=2",
        "generation.max_tokens=48",
        "optim.mini_batch=4",
    ),
)


class ReferenceWriter(NamedTuple):
    """A writer of references: weights and temperature."""

    name: str
    trained: bool
    """Whether the weights are those of part one's policy; if not, they are the initial ones."""
    temperature: float


REFERENCES = (
    ReferenceWriter("start", False, 0.7),
    ReferenceWriter(OWN, True, 0.7),
    ReferenceWriter("cool", True, 0.4),
)
"""Writers of references: the model itself, before and after part one, at several temperatures."""


class DemoResult(NamedTuple):
    """Results of the demonstration."""

    evidence: DemoEvidence
    figures: dict[str, Any]
    """All results, JSON-serializable; also written to `evidence.json`."""
    run: RunResult
    """The run of part two."""


def run_demo(
    model: str,
    folder: Path,
    *,
    seed: int,
    stage: Stage,
    scale: DemoScale = FULL,
    method: LadderMethod = "grpo",
    embeddings: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> DemoResult:
    """Run both parts and measure the writer before and after on the held-out prompts.

    Args:
        model: Folder or Hub id of a chat model.
        folder: Output folder.
        seed: Seed of sampling and training.
        stage: Opens a progress stage.
        scale: Sizes of the stages.
        method: Training method of part two.
        embeddings: Folder or Hub id of a sentence-transformers model, which measures relevance to the request.
        overrides: `KEY=VALUE` for both recipes.
        resume: Continue in `folder`: existing texts are kept, and an interrupted run continues from its newest checkpoint.

    Raises:
        BadInputError: the model, the encoder or an override cannot be used.
        StoppedError: a run stopped; it can be resumed.
    """
    began = time.perf_counter()
    model = _fetch(model)
    encoder = None if embeddings is None else load_encoder(embeddings)
    overrides = [f"run.seed={seed}", *scale.recipe, *overrides]
    first = demo_recipe("length", folder, {"policy": model}, overrides)  # fail fast on a mistyped override
    _check_chat_template(model)
    _write_files(folder, scale)
    speed = _Speed()

    _write_held_out(folder, "before", model, first, scale=scale, seed=seed, stage=stage, speed=speed)
    one = _train(first, folder, "part one: GRPO with length and format", stage, resume=resume)
    trained = str(one.policy_path)
    _write_held_out(folder, "between", trained, first, scale=scale, seed=seed, stage=stage, speed=speed)

    with serve_in_background() as base_url:
        write_text(folder / "models.yaml", yaml.safe_dump({"judge": {"base_url": base_url, "model": JUDGE}}))
        _build_ladders(folder, model, trained, first, scale=scale, seed=seed, stage=stage)
        name = "ladder" if method == "grpo" else "ladder-ppo"
        second = demo_recipe(name, folder, {"policy": trained}, overrides)
        two = _train(second, folder, f"part two: {method.upper()} against the ladders", stage, resume=resume)
    final = str(two.policy_path)
    _write_held_out(folder, "after", final, second, scale=scale, seed=seed, stage=stage, speed=speed)

    rows = list(read_rows(folder / "held-out.jsonl", Prompt))
    texts = {name: list(read_rows(held_out_path(folder, name), Response)) for name in ("before", "between", "after")}
    evidence = compare(rows, texts, encoder)
    figures = evidence.as_json() | {
        "seed": seed,
        "method": method,
        "mean_rung": _metric(two, "curriculum/mean_rung")[-1],
        "rungs": _rungs(folder),
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(sum(_cpu_seconds(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)), 1),
        "part_seconds": {"one": round(one.seconds, 1), "two": round(two.seconds, 1)},
        "peak_memory_gib": round(peak_memory_gib(), 2),
        "tokens_per_second": round(speed.tokens / speed.seconds, 1),
        "judge_calls": two.calls.calls,
    }
    write_text(folder / "evidence.json", json.dumps(figures, indent=2) + "\n")
    return DemoResult(evidence, figures, two)


def demo_recipe(name: str, folder: Path, paths: Mapping[str, str], overrides: Sequence[str]) -> Recipe:
    """Load a recipe of the demonstration with its paths, and those in `paths`, set.

    Raises:
        BadInputError: an override has an unknown key or an invalid value.
    """
    # One source per length range, so that every step has prompts of all lengths.
    kind = "prompts" if name == "length" else "ladders"
    files = [_path_of_range(folder, kind, name) for name in _by_range(load_prompts("training"))]
    placed = {
        "models": str(folder / "models.yaml"),
        "run.folder": str(folder),
        "memory.precision": fast_precision(choose_device()),
        "data.sources": [{"name": file.stem, kind: str(file)} for file in files],
        **paths,
    }
    with resources.as_file(resources.files("longform.demo") / "recipes" / f"{name}.yaml") as source:
        return load_recipe(source, Recipe, [*(f"{it}={json.dumps(value)}" for it, value in placed.items()), *overrides])


def held_out_path(folder: Path, writer: str) -> Path:
    """Path of a writer's responses to the held-out prompts."""
    return folder / f"held-out-{writer}.jsonl"


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class _Speed:
    """Tokens and seconds of writing for the held-out prompts, loading included."""

    tokens = 0
    seconds = 0.0


def _write_files(folder: Path, scale: DemoScale) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in _by_range(load_prompts("training")).items():
        write_rows(_path_of_range(folder, "prompts", name), rows)
    write_rows(folder / "held-out.jsonl", _first_of_each_range("held-out", scale.held_out_per_range))
    write_rows(folder / "candidates.jsonl", _first_of_each_range("training", scale.candidates_per_range))


def _first_of_each_range(split: DemoSplit, count: int) -> list[Prompt]:
    """The first prompts of each range, with the range in `meta` for `select --group-by`."""
    return [
        it.model_copy(update={"meta": it.meta | {"range": name}})
        for name, rows in _by_range(load_prompts(split)).items()
        for it in rows[:count]
    ]


def _by_range(prompts: Sequence[PromptT]) -> dict[str, list[PromptT]]:
    """The prompts of each range, such as `20 to 40`."""
    by_range: dict[str, list[PromptT]] = {}
    for prompt in prompts:
        low, high = length_range_of(prompt)
        by_range.setdefault(f"{low} to {high}", []).append(prompt)
    return by_range


def _path_of_range(folder: Path, kind: str, length_range: str) -> Path:
    return folder / f"{kind}-{length_range.replace(' ', '-')}.jsonl"


def _fetch(model: str) -> str:
    """The folder of a model, downloaded if it is a Hub id."""
    check_model_path(model)
    if is_model_folder(model):
        return model
    try:
        return snapshot_download(model)
    except Exception as error:  # of the network or of the Hub, of many types
        raise BadInputError(f"--real {model}: cannot be downloaded: {' '.join(str(error).split())[:200]}") from error


def _check_chat_template(model: str) -> None:
    template = load_tokenizer(model).chat_template
    if not template or "<|im_start|>" not in str(template):
        raise BadInputError(
            f"--real {model}: needs a chat model whose turns begin with <|im_start|>, as SmolLM2's and Qwen's do"
        )


def _write_held_out(
    folder: Path,
    name: str,
    model: str,
    recipe: Recipe,
    *,
    scale: DemoScale,
    seed: int,
    stage: Stage,
    speed: _Speed,
) -> None:
    """Generate responses to the held-out prompts with the recipe's generation settings."""
    began = time.perf_counter()
    out = held_out_path(folder, name)
    generate(
        folder / "held-out.jsonl",
        writer=model,
        out=out,
        samples=scale.samples,
        name=name,
        max_tokens=recipe.generation.max_tokens,
        temperature=recipe.generation.temperature,
        local=_local_options(recipe),
        seed=seed,
        progress=stage,
    )
    speed.seconds += time.perf_counter() - began
    tokenizer = load_tokenizer(model)
    texts = (row.text for row in read_rows(out, Response))
    speed.tokens += sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)


def _local_options(recipe: Recipe) -> LocalOptions:
    return LocalOptions(batch=recipe.generation.batch, precision=recipe.memory.precision)


def _train(recipe: Recipe, folder: Path, title: str, stage: Stage, *, resume: bool) -> RunResult:
    write_text(folder / f"{recipe.run.name}.yaml", dump_recipe(recipe))
    with stage(title) as advance:
        result = train(
            recipe,
            resume=resume and recipe.run_path.exists(),
            on_step=lambda report: report.show(advance),
        )
    gc.collect()  # models with adapters hold references to themselves, and would stay beside those of the next stage
    return result


def _build_ladders(
    folder: Path,
    start: str,
    trained: str,
    recipe: Recipe,
    *,
    scale: DemoScale,
    seed: int,
    stage: Stage,
) -> None:
    """Write references, grade them, and select the prompts of part two."""
    candidates = folder / "candidates.jsonl"
    for index, it in enumerate(REFERENCES):
        generate(
            candidates,
            writer=trained if it.trained else start,
            out=_responses(folder, it.name),
            name=it.name,
            max_tokens=recipe.generation.max_tokens,
            temperature=it.temperature,
            local=_local_options(recipe),
            seed=seed + 1000 * (index + 1),
            progress=stage,
        )
    responses = [_responses(folder, it.name) for it in REFERENCES]
    models, grades = folder / "models.yaml", folder / "grades.jsonl"
    grade(responses, prompts=candidates, judge="judge", out=grades, models=models, progress=stage)
    rules = SelectionSettings(policy=OWN, top_k=scale.ladders_per_range, group_by="meta.range")
    chosen = select(prompts=candidates, responses=responses, grades=[grades], settings=rules)
    # The curriculum starts at the policy's own response, which a ladder lacks if the response was empty.
    ladders = _by_range([ladder for ladder in chosen.ladders if OWN in ladder.rungs])
    for name in _by_range(load_prompts("training")):
        if name not in ladders:
            raise BadInputError(
                f"{grades}: part one's policy wrote only empty responses of {name} words, so part two lacks ladders"
            )
        write_rows(_path_of_range(folder, "ladders", name), ladders[name])


def _responses(folder: Path, name: str) -> Path:
    return folder / f"references-{name}.jsonl"


def _rungs(folder: Path) -> dict[str, float]:
    """Mean grade of each reference writer."""
    scores: dict[str, list[float]] = {}
    for line in (folder / "grades.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        scores.setdefault(row["model"], []).append(row["score"])
    return {name: round(sum(it) / len(it), 2) for name, it in scores.items()}


def _metric(result: RunResult, name: str) -> list[float]:
    with RunDirectory.read(result.path) as run:
        return [value for _, value in run.database.metric(name)] or [float("nan")]


def _cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
