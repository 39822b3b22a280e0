"""The stages around RL in the full LongWriter-Zero pipeline of the miniature world: names, sizes, and pretraining.

    chat log -> pool -> filter -> lengths -------------------------------> GRPO -> arena
    base -> pretrain -> generate, grade, select -> preferences -> reward models -^

The stages call the functions of the commands `longform pool`, `filter`, `lengths`, `pretrain`, `generate`, `grade`,
`select`, `preferences`, `reward-model`, `train` and `arena` and write the same files, so each can be inspected or rerun by
hand.
"""

import json
import random
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

from longform.miniature.corpus import SKETCH_PROMPT, THINK_PROMPT, outline
from longform.miniature.world import WIDE_RANGES, parse_request, prompts
from longform.miniature.writers import write_story
from longform.recipe.loading import RecipeT, dump_recipe, load_recipe
from longform.records.files import write_rows, write_text
from longform.records.progress import Stage
from longform.records.schemas import Prompt, Response, Row
from longform.training.supervised.pretrain_recipe import PretrainRecipe
from longform.training.supervised.pretrain_run import PretrainResult, run_pretraining

PRETRAINED, WRITING = "pretrained", ("writing-grades", "writing-requirements")
"""Output folders of the stages."""
TRAINING_PROMPTS = "training-prompts.jsonl"
"""Prompts of the RL stage, from the chat log."""
SHARES = (2.0, 1.0)
"""Weights of the two reward models. Equal weights decide worse than the first model alone if the second learned little."""
SOURCES = {"grades-model": ("scores", "verdicts"), "requirements-model": ("dropping",)}
"""Recipes of the reward models, and the preference pairs of each."""
MIN_MARGIN = 0.8
"""Minimum grade difference of a preference pair, in points (1 to 10). The judge's error has a standard deviation of 0.4."""


class ChainScale(NamedTuple):
    """Sizes of the stages before RL."""

    documents: int
    """Pretraining documents of each kind."""
    graded_prompts: int
    """Prompts of the graded pairs: writers of all levels and the base write for each."""
    dropped_prompts: int
    """Prompts of the reduced pairs: the best writer writes for each and revises its text for the reduced prompt. Most ask
    for a short story, in which a missing requirement is easier to detect."""
    ladders: int
    """Ladders of the run whose verdicts become pairs."""
    pretrain: tuple[str, ...] = ()
    """Overrides of recipes/pretrain.yaml."""
    reward_model: tuple[str, ...] = ()
    """Overrides of recipes/grades-model.yaml and recipes/requirements-model.yaml."""
    first_run: tuple[str, ...] = ()
    """Overrides of recipes/first.yaml."""


FULL = ChainScale(documents=3000, graded_prompts=3000, dropped_prompts=20_000, ladders=320)
SMOKE = ChainScale(
    documents=60,
    graded_prompts=12,
    dropped_prompts=40,
    ladders=12,
    pretrain=("tokens=8192", "max_epochs=9"),
    reward_model=("settings.steps=3", "settings.evaluate_every=2", "held_out=0.3"),
    first_run=("run.steps=1", "data.per_step=8"),
)


class Text(Row):
    """A raw text document."""

    text: str


def write_texts(folder: Path, *, scale: ChainScale, seed: int) -> None:
    """Write the texts for continued pretraining: stories by good writers, outlines with stories, and planned answers.

    Planned answers play the part of those by a reasoning model, as `longform generate --think on` writes them.
    """
    rows = prompts(seed=seed + 300_000, split="train", count=3 * scale.documents, ranges=WIDE_RANGES)
    stories, pages, planned = (rows[start::3] for start in range(3))
    write_rows(folder / "stories.jsonl", [Text(text=f"{row.request} {_good_story(row)}") for row in stories])
    write_rows(folder / "pages.jsonl", [Text(text=_workshop_page(row)) for row in pages])
    planned = planned[: max(1, scale.documents // 4)]
    write_rows(folder / "planned-prompts.jsonl", planned)
    write_rows(folder / "planned-responses.jsonl", [_planned_answer(row) for row in planned])
    write_text(folder / "think.txt", THINK_PROMPT + "\n")


def pretrain(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> PretrainResult:
    """Continue pretraining the base; save it in `folder`/pretrained."""
    paths = {
        "policy": "base",
        "sources.0.path": "stories.jsonl",
        "sources.1.path": "pages.jsonl",
        "sources.2.prompts": "planned-prompts.jsonl",
        "sources.2.think_prompt": "think.txt",
        "out": PRETRAINED,
    }
    responses = f"sources.2.responses={json.dumps([str(folder / 'planned-responses.jsonl')])}"
    overrides = [responses, f"settings.seed={seed}", *scale.pretrain]
    recipe = stage_recipe(folder, "pretrain", PretrainRecipe, paths, overrides)
    with stage("pretraining on better texts") as advance:
        return run_pretraining(
            recipe, on_training=lambda update, updates, loss: advance(update, updates, f"loss {loss:.2f}")
        )


def learning_overrides(folder: Path) -> list[str]:
    """Return the overrides of the RL recipe in this pipeline: initial policy, prompts, reward models, and a stronger KL
    penalty.

    The KL penalty keeps the policy close to its start because reward models are unreliable far from their training texts.
    """
    models = json.dumps([str(folder / name) for name in WRITING])
    changes = [
        f"policy={json.dumps(str(folder / PRETRAINED))}",
        f"data.prompts={json.dumps(str(folder / TRAINING_PROMPTS))}",
        f"rewards.2={{kind: writing, model: {models}, shares: {list(SHARES)}}}",
    ]
    return [*changes, "optim.kl_coef=0.05", "optim.lr=7.0e-4"]


def stage_recipe(
    folder: Path, name: str, schema: type[RecipeT], paths: dict[str, str], overrides: Sequence[str]
) -> RecipeT:
    """Load a recipe of the miniature world, set its paths to `folder`, and save a copy there."""
    placed = [f"{key}={json.dumps(str(folder / path))}" for key, path in paths.items()]
    with as_file(files("longform.miniature") / "recipes" / f"{name}.yaml") as source:
        recipe = load_recipe(source, schema, [*placed, *overrides])
    write_text(folder / f"{name}.yaml", dump_recipe(recipe))
    return recipe


def _good_story(row: Prompt) -> str:
    level = random.Random(f"good/{row.id}").choice(("journeyman", "master", "master"))
    return write_story(parse_request(row.request), level=level)


def _workshop_page(row: Prompt) -> str:
    story = _good_story(row)
    return f"{SKETCH_PROMPT.format(request=row.request)} {outline(story)}. {story}"


def _planned_answer(row: Prompt) -> Response:
    story = _good_story(row)
    meta = {"plan": outline(story), "well_formed": True}
    return Response(prompt_id=row.id, model="thinker", text=story, finish_reason="stop", meta=meta)
