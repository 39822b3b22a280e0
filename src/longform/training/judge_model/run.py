"""Train a judge model from its recipe: fine-tuning on verdicts with reasons, then GRPO on labels.

The stages are `run_sft` and `train` with the answer reward, each resumable. Their files are in `OUT.checkpoints` until OUT
is written.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from longform.planning.device import MemoryPlan, check_memory
from longform.planning.supervised import SupervisedPlan
from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows, write_text
from longform.records.folders import write_folder
from longform.steps.recorder import StepReport
from longform.training.judge_model.asking import (
    JudgeCurve,
    JudgeCurvePoint,
    Verdicts,
    ask_judge_model,
    draw_pairs,
    judge_curve_point,
)
from longform.training.judge_model.pairs import LabelledPair
from longform.training.judge_model.recipe import (
    QUESTIONS,
    REINFORCED,
    ROWS,
    JudgeModelRecipe,
    JudgeSplit,
    read_split,
)
from longform.training.run import train
from longform.training.supervised.encoding import encode_rows
from longform.training.supervised.resumable import check_out, check_start, is_begun, model_files, resumable
from longform.training.supervised.sft_run import run_sft
from longform.training.supervised.stage_check import check_stage_memory, check_stage_model
from longform.version import __version__
from longform.wording import CURRENT, load_wording
from longform.writers.encoding import encode_prompts
from longform.writers.loading import check_weights, load_config, load_model, load_tokenizer
from longform.writers.self_check import check_context

NAME = "training of a judge model"
RESOLVED, FACTS, ENTRY, HELD_OUT = "judge-model.yaml", "judge.json", "models.yaml", "held-out.jsonl"
"""Files in the folder of a judge model: its recipe, the facts that a caller needs, its entry for models.yaml, and the
held-out pairs with its verdicts."""
OnStage = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, note)."""


class JudgeFacts(BaseModel):
    """The questions that a judge model was trained on, and must be asked with."""

    model_config = ConfigDict(frozen=True, extra="allow")

    question: str = "pairwise"
    wording: int
    """Version of longform's questions."""
    max_prompt_tokens: int
    max_tokens: int
    """Longest answer."""
    longform: str = __version__


class JudgeModelResult(NamedTuple):
    """A trained judge model."""

    path: Path
    split: JudgeSplit
    curve: list[JudgeCurvePoint]


class JudgeModelPlan(NamedTuple):
    """The memory plans of both stages; None for a stage that the recipe leaves out."""

    sft: SupervisedPlan | None
    rl: MemoryPlan | None


def run_judge_model(
    recipe: JudgeModelRecipe,
    split: JudgeSplit | None = None,
    *,
    resume: bool = False,
    self_check: bool = True,
    on_progress: OnStage = lambda stage, done, total, note: None,
) -> JudgeModelResult:
    """Train a judge model. `out` is created atomically at the end, with the resolved recipe in `judge-model.yaml`.

    Args:
        recipe: The recipe.
        split: Its pairs; by default from `read_split`.
        resume: Continue an interrupted training; the weights equal those of an uninterrupted one.
        self_check: Check before training that texts fit into the model's context and updates into memory, and that the
            model can be saved.
        on_progress: Called at intervals.

    Raises:
        BadInputError: a file or model of the recipe cannot be used, or has changed since the interrupted training began.
        StoppedError: the disk is full, or the device is out of memory.
    """
    check_out(recipe)
    check_start(recipe, name=NAME, resume=resume)
    split = split or read_split(recipe)
    if self_check:
        check_judge_model(recipe, split)
    else:
        check_chat_template(recipe)
    with resumable(recipe, [*recipe.pairs, *model_files(recipe.base)], name=NAME) as folder:
        write_rows(folder / ROWS, split.rows)
        write_rows(folder / QUESTIONS, split.questions)
        curve = JudgeCurve(folder)
        _add_point(curve, "base", 0, recipe.base, recipe, split, on_progress)
        model = recipe.base
        if recipe.sft is not None:
            model = _fine_tune(recipe, resume=resume, self_check=self_check, on_progress=on_progress)
            _add_point(curve, "fine-tuned", 0, model, recipe, split, on_progress)
        if recipe.rl is not None:
            rl = recipe.reinforcement(model, on_gpu=torch.cuda.is_available())

            def show(report: StepReport) -> None:
                on_progress("reinforcement learning", report.step, report.steps, report.note)

            trained = train(rl, resume=rl.run_path.exists(), self_check=self_check, on_step=show)
            for step in range(recipe.rl.evaluate_every, recipe.rl.steps, recipe.rl.evaluate_every):
                kept = rl.run_path / "policies" / f"step-{step:06d}"
                _add_point(curve, REINFORCED, step, str(kept), recipe, split, on_progress)
            model = str(trained.policy_path)
            _add_point(curve, REINFORCED, recipe.rl.steps, model, recipe, split, on_progress)

        def write(target: Path) -> None:
            save_judge_model(recipe, model, split.held_out, target, on_progress=on_progress)
            if recipe.rl is not None:
                (target / REINFORCED).mkdir()
                for name in ("recipe.yaml", "run.sqlite"):
                    shutil.copy2(folder / REINFORCED / name, target / REINFORCED / name)

        write_folder(recipe.out, write)
    return JudgeModelResult(recipe.out, split, curve.points)


def save_judge_model(
    recipe: JudgeModelRecipe,
    model: str,
    held_out: list[LabelledPair],
    folder: Path,
    *,
    on_progress: OnStage = lambda stage, done, total, note: None,
) -> None:
    """Write a judge model as a folder that any engine can serve, with `judge.json` and its verdicts on the held-out pairs.

    Args:
        recipe: Recipe of the training.
        model: Folder of the trained policy; adapters are merged.
        held_out: Pairs whose prompts it was not trained on.
        folder: Where to write.
        on_progress: Called at intervals.
    """
    tokenizer, weights = load_model(model, device="cpu", trust_remote_code=recipe.trust_remote_code)
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    facts = facts_of(recipe)
    write_text(folder / FACTS, facts.model_dump_json(indent=2) + "\n")
    write_text(folder / ENTRY, models_entry(recipe.out, facts))
    write_text(folder / RESOLVED, dump_recipe(recipe))
    verdicts = _ask(str(folder), recipe, held_out, on_progress)
    rows = [
        pair.model_copy(update={"verdicts": {**(pair.verdicts or {}), recipe.out.name: both}})
        for pair, both in zip(held_out, verdicts, strict=True)
    ]
    write_rows(folder / HELD_OUT, rows)


def facts_of(recipe: JudgeModelRecipe) -> JudgeFacts:
    """The questions of a judge model of this recipe."""
    limits = recipe.generation
    return JudgeFacts(wording=CURRENT, max_prompt_tokens=limits.max_prompt_tokens, max_tokens=limits.max_tokens)


def read_facts(folder: Path) -> JudgeFacts:
    """The questions of the judge model in a folder, from its `judge.json`.

    Raises:
        BadInputError: the folder has no such file, or it cannot be read.
    """
    try:
        return JudgeFacts.model_validate(json.loads((folder / FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        raise BadInputError(
            f"{folder}: not a judge model written by `longform judge-model`: {FACTS} is missing or invalid"
        ) from None


def models_entry(out: Path, facts: JudgeFacts) -> str:
    """The entry of models.yaml for a served judge model, with its limits and wording: YAML with comments."""
    entry = {
        "base_url": "http://localhost:8000/v1",
        "model": out.name,
        "max_tokens": facts.max_tokens,
        "wording": facts.wording,
    }
    served = f"# vllm serve {out} --served-model-name {out.name}\n# Ask it in both orders (position: both).\n"
    return served + yaml.safe_dump({out.name: entry}, sort_keys=False, allow_unicode=True)


def check_judge_model(recipe: JudgeModelRecipe, split: JudgeSplit) -> JudgeModelPlan:
    """Check that the base has a chat template and its weights, that questions and answers fit its context, and that memory
    suffices for both stages; return the memory plans.

    Raises:
        BadInputError: one of these checks fails.
    """
    tokenizer = check_chat_template(recipe)
    check_weights(recipe.base, trust_remote_code=recipe.trust_remote_code)
    sft, rl = None, None
    if recipe.sft is not None:
        rows = [{"messages": [turn.model_dump() for turn in it.messages or ()]} for it in split.rows]
        longest = encode_rows(tokenizer, rows, max_tokens=recipe.sft.max_tokens).longest
        check_stage_model(recipe, recipe.base, longest=longest)
        sft = check_stage_memory(recipe, recipe.base, recipe.sft, longest=longest)
    generation = recipe.generation
    prompts = encode_prompts(tokenizer, split.questions, settings=generation)
    longest_prompt = max(map(len, prompts))
    config = load_config(recipe.base, trust_remote_code=recipe.trust_remote_code)
    check_context(config, path=recipe.base, settings=generation, longest_prompt=longest_prompt)
    if recipe.rl is not None:
        plan = recipe.reinforcement(recipe.base, on_gpu=torch.cuda.is_available())
        rl = check_memory(plan, longest_prompt=longest_prompt)
    return JudgeModelPlan(sft, rl)


def check_chat_template(recipe: JudgeModelRecipe) -> Any:
    """Return the base model's tokenizer.

    Raises:
        BadInputError: it has no chat template.
    """
    tokenizer = load_tokenizer(recipe.base, trust_remote_code=recipe.trust_remote_code)
    if not tokenizer.chat_template:
        raise BadInputError(f"base: {recipe.base} has no chat template, which servers need to ask a judge; add one")
    return tokenizer


def _fine_tune(recipe: JudgeModelRecipe, *, resume: bool, self_check: bool, on_progress: OnStage) -> str:
    """The folder of the fine-tuned model, trained unless it is there."""
    stage = recipe.fine_tuning()
    if not stage.out.exists():
        run_sft(
            stage,
            resume=resume and is_begun(stage),
            self_check=self_check,
            on_progress=lambda step, steps, loss: on_progress("fine-tuning", step, steps, f"loss {loss:.3f}"),
        )
    return str(stage.out)


def _add_point(
    curve: JudgeCurve,
    stage: str,
    step: int,
    model: str,
    recipe: JudgeModelRecipe,
    split: JudgeSplit,
    on_progress: OnStage,
) -> None:
    if curve.has(stage, step):
        return
    pairs = draw_pairs(split.held_out, count=recipe.examination.max_pairs, seed=recipe.seed)
    curve.add(judge_curve_point(stage, step, pairs, _ask(model, recipe, pairs, on_progress)))


def _ask(model: str, recipe: JudgeModelRecipe, pairs: list[LabelledPair], on_progress: OnStage) -> list[Verdicts]:
    return ask_judge_model(
        model,
        pairs,
        wording=load_wording(CURRENT),
        generation=recipe.generation,
        trust_remote_code=recipe.trust_remote_code,
        on_progress=lambda done, total: on_progress("examining", done, total, "questions answered"),
    )
