"""LongWriter-Zero in the miniature: pretraining, GRPO with thinking and three balanced rewards, and supervised baselines.

The writer never sees a text that was written for the request it practises on; the baselines see nothing else. They start
from the same base and learn from writers of three levels, and it is told as it comes out who writes better.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from longform.miniature.base import PRETRAIN_SETTINGS, pretrain
from longform.miniature.corpus import DIRECT_PROMPT, THINK_PROMPT
from longform.miniature.quickstart import Stage, placed_recipe
from longform.miniature.world import parse_request
from longform.miniature.writers import write_story
from longform.recipe.loading import dump_recipe
from longform.recipe.recipe import Recipe
from longform.records.files import read_rows, write_text
from longform.records.schemas import Prompt
from longform.steps.recorder import RunResult
from longform.training.run import train
from longform.training.sft import SftSettings, train_sft
from longform.writers.local import load_model

BASELINES = {"weak": "novice", "middle": "journeyman", "best": "master"}
"""What the supervised baselines are called, and the writers whose texts they learn from."""
TUNING_SETTINGS = SftSettings(
    steps=40, batch_size=16, max_tokens=256, optimizer="muon", lr=2e-3, muon_lr=0.01, warmup_steps=5, decay=0.5
)
"""How the baselines learn: about 12 s each."""


class Scale(NamedTuple):
    """How much of everything."""

    pretraining: SftSettings
    tuning: SftSettings
    train_prompts: int
    validation_prompts: int
    held_out_prompts: int
    recipe: tuple[str, ...] = ()
    """Overrides of recipes/grpo.yaml."""


FULL = Scale(
    pretraining=PRETRAIN_SETTINGS,
    tuning=TUNING_SETTINGS,
    train_prompts=768,
    validation_prompts=64,
    held_out_prompts=200,
)
SMOKE = Scale(
    pretraining=PRETRAIN_SETTINGS.model_copy(update={"steps": 10}),
    tuning=TUNING_SETTINGS.model_copy(update={"steps": 3}),
    train_prompts=32,
    validation_prompts=8,
    held_out_prompts=16,
    recipe=(
        "run.steps=2",
        "data.per_step=4",
        "data.group=4",
        "optim.mini_batch=8",
        "run.checkpoint_every=2",
        "validation.every=2",
    ),
)


def train_base(folder: Path, *, scale: Scale, seed: int, stage: Stage, more: Sequence[str] = ()) -> None:
    """The writer that everything starts from, which has only read, in `folder`/base.

    The words of the texts in `more`, which it is to read later, are one token each.
    """
    with stage("pretraining of a tiny base") as advance:

        def on_progress(step: int, steps: int, loss: float) -> None:
            advance(step, steps, f"loss {loss:.2f}")

        settings = scale.pretraining.model_copy(update={"seed": seed})
        pretrain(settings, out=folder / "base", more=more, on_progress=on_progress)


def pipeline_recipe(folder: Path, *, scale: Scale, seed: int, overrides: Sequence[str]) -> Recipe:
    """The recipe of the training, with the paths of `folder` in it.

    Raises:
        BadInputError: an override names no setting, or gives it a value that it can't have.
    """
    paths = {"policy": "base", "data.prompts": "prompts.jsonl", "generation.think_prompt": "think.txt"}
    return placed_recipe("grpo", folder, paths, [f"run.seed={seed}", *scale.recipe, *overrides])


def train_policy(folder: Path, *, scale: Scale, seed: int, overrides: Sequence[str], stage: Stage) -> RunResult:
    """Reinforcement learning from `folder`/base, recorded in `folder`/run."""
    recipe = pipeline_recipe(folder, scale=scale, seed=seed, overrides=overrides)
    write_text(folder / "think.txt", (DIRECT_PROMPT if recipe.generation.think == "direct" else THINK_PROMPT) + "\n")
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    with stage("GRPO with three rewards") as advance:
        return train(recipe, on_step=lambda report: advance(report.step, report.steps, report.note))


def tune_baselines(folder: Path, *, scale: Scale, seed: int, stage: Stage) -> None:
    """The base, fine-tuned on what a weak, a middling and the best writer wrote for the prompts, in `folder`/sft-NAME."""
    requests = [parse_request(prompt.request) for prompt in read_rows(folder / "prompts.jsonl", Prompt)]
    settings = scale.tuning.model_copy(update={"seed": seed})
    with stage("SFT of three baselines") as advance:
        for place, (name, level) in enumerate(BASELINES.items()):

            def on_progress(step: int, steps: int, loss: float, place: int = place, name: str = name) -> None:
                advance(place * steps + step, len(BASELINES) * steps, f"{name} loss {loss:.2f}")

            tokenizer, model = load_model(str(folder / "base"), device="cpu")
            rows = [{"prompt": it.text, "completion": " " + write_story(it, level=level)} for it in requests]
            train_sft(model, tokenizer, rows, settings, out=folder / f"sft-{name}", on_progress=on_progress)
