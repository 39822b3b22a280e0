"""LongWriter-Zero in the miniature world: pretraining, GRPO with thinking and three balanced rewards, and SFT baselines.

The RL writer never sees a text written for its training requests; the baselines are fine-tuned on nothing else. All start
from the same base. The baselines learn from writers of three levels, and the comparison is reported whoever wins.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from longform.engines import train
from longform.miniature.base import PRETRAIN_SETTINGS, pretrain
from longform.miniature.corpus import DIRECT_PROMPT, THINK_PROMPT
from longform.miniature.quickstart import placed_recipe
from longform.miniature.world import parse_request
from longform.miniature.writers import write_story
from longform.recipe.loading import dump_recipe
from longform.recipe.recipe import Recipe
from longform.records.files import read_rows, write_text
from longform.records.progress import Stage
from longform.records.schemas import Prompt
from longform.steps.recorder import RunResult
from longform.training.supervised.sft import train_sft
from longform.training.supervised.sft_recipe import SftSettings
from longform.writers.loading import load_model

BASELINES = {"weak": "novice", "middle": "journeyman", "best": "master"}
"""Names of the SFT baselines, and the writers whose texts they learn from."""
TUNING_SETTINGS = SftSettings(
    steps=40, batch_size=16, max_tokens=256, optimizer="muon", lr=2e-3, muon_lr=0.01, warmup_steps=5, decay=0.5
)
"""SFT settings of the baselines; about 12 s each."""


class ZeroScale(NamedTuple):
    """Sizes of the stages."""

    pretraining: SftSettings
    tuning: SftSettings
    train_prompts: int
    validation_prompts: int
    held_out_prompts: int
    recipe: tuple[str, ...] = ()
    """Overrides of recipes/grpo.yaml."""


FULL = ZeroScale(
    pretraining=PRETRAIN_SETTINGS,
    tuning=TUNING_SETTINGS,
    train_prompts=768,
    validation_prompts=64,
    held_out_prompts=200,
)
SMOKE = ZeroScale(
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


def train_base(folder: Path, *, scale: ZeroScale, seed: int, stage: Stage, more: Sequence[str] = ()) -> None:
    """Pretrain the base model in `folder`/base, from which all writers start.

    Args:
        folder: Folder of the quickstart.
        scale: Sizes of the stages.
        seed: Seed of the documents and the initial weights.
        stage: Opens a progress stage.
        more: Texts of later stages, whose words get one token each.
    """
    with stage("pretraining a tiny base model") as advance:

        def on_progress(step: int, steps: int, loss: float) -> None:
            advance(step, steps, f"loss {loss:.2f}")

        settings = scale.pretraining.model_copy(update={"seed": seed})
        pretrain(settings, out=folder / "base", more=more, on_progress=on_progress)


def pipeline_recipe(folder: Path, *, scale: ZeroScale, seed: int, overrides: Sequence[str]) -> Recipe:
    """Load the RL recipe with its paths set to `folder`.

    Raises:
        BadInputError: an override has an unknown key or an invalid value.
    """
    paths = {"policy": "base", "data.prompts": "prompts.jsonl", "generation.think_prompt": "think.txt"}
    return placed_recipe("grpo", folder, paths, [f"run.seed={seed}", *scale.recipe, *overrides])


def train_policy(folder: Path, *, scale: ZeroScale, seed: int, overrides: Sequence[str], stage: Stage) -> RunResult:
    """Train the policy with RL from `folder`/base; the run is recorded in `folder`/run."""
    recipe = pipeline_recipe(folder, scale=scale, seed=seed, overrides=overrides)
    write_text(folder / "think.txt", (DIRECT_PROMPT if recipe.generation.think == "direct" else THINK_PROMPT) + "\n")
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    with stage("GRPO with three rewards") as advance:
        return train(recipe, on_step=lambda report: report.show(advance))


def tune_baselines(folder: Path, *, scale: ZeroScale, seed: int, stage: Stage) -> None:
    """Fine-tune the base on a weak, a middling and the best writer's responses to the prompts, in `folder`/sft-NAME."""
    requests = [parse_request(prompt.request) for prompt in read_rows(folder / "prompts.jsonl", Prompt)]
    settings = scale.tuning.model_copy(update={"seed": seed})
    with stage("fine-tuning three baselines") as advance:
        for index, (name, level) in enumerate(BASELINES.items()):

            def on_progress(step: int, steps: int, loss: float, index: int = index, name: str = name) -> None:
                advance(index * steps + step, len(BASELINES) * steps, f"{name} loss {loss:.2f}")

            tokenizer, model = load_model(str(folder / "base"), device="cpu")
            rows = [{"prompt": it.text, "completion": " " + write_story(it, level=level)} for it in requests]
            train_sft(model, tokenizer, rows, settings, out=folder / f"sft-{name}", on_progress=on_progress)
