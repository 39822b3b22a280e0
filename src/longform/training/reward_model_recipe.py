"""Train a reward model from its recipe: read and check pairs, hold out prompts, train, save atomically."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError
from longform.records.files import read_located_rows, write_text
from longform.records.folders import write_folder
from longform.records.schemas import Preference, PromptRow
from longform.rl.settings import LoraSettings
from longform.training.optimizer import LossCallback
from longform.training.reward_model import RewardModelReport, RewardModelSettings, train_reward_model
from longform.writers.paths import check_model_path

RESOLVED = "reward-model.yaml"
MIN_HELD_OUT = 2
"""Minimum number of held-out prompts; one prompt gives no interval."""


class RewardModelRecipe(BaseModel):
    """Recipe of a reward model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    """Folder or hub id of the language model to start from."""
    preferences: list[Path] = Field(min_length=1)
    """Preferences files, as `longform preferences` writes them."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Fraction of the prompts to hold out with all their pairs; chosen by hash of the prompt and `settings.seed`."""
    out: Path
    """Folder of the reward model, in Hugging Face format; must not exist."""
    lora: LoraSettings | None = None
    """Train adapters and the head instead of all weights; the adapters are merged into the weights at the end."""
    settings: RewardModelSettings = RewardModelSettings()


class PreferenceSplit(NamedTuple):
    """Training and held-out pairs."""

    training: list[Preference]
    held_out: list[Preference]


class RewardModelResult(NamedTuple):
    """A trained reward model."""

    path: Path
    report: RewardModelReport


def read_split(recipe: RewardModelRecipe) -> PreferenceSplit:
    """Read training and held-out pairs, and check everything that the recipe names before a model is loaded.

    Raises:
        BadInputError: a file is missing or invalid, a pair has equal or empty texts, there are too few prompts to hold any
            out, there is no model at `base`, or `out` exists.
    """
    check_model_path(recipe.base)
    if recipe.out.exists():
        raise BadInputError(f"out: {recipe.out} exists; choose another folder")
    pairs = [it for path in recipe.preferences for it in read_preferences(path)]
    split = PreferenceSplit([], [])
    for it in pairs:
        split[_is_held_out(it, recipe)].append(it)
    learned, examined = (len({PromptRow(id="-", prompt=it.prompt).request for it in part}) for part in split)
    if not learned or examined < MIN_HELD_OUT:
        raise BadInputError(
            f"held_out: {recipe.held_out} leaves {learned} prompts for training and holds out {examined}; at least "
            f"{MIN_HELD_OUT} must be held out"
        )
    return split


def read_preferences(path: Path) -> list[Preference]:
    """Read the pairs of a file.

    Raises:
        BadInputError: the file cannot be read, has an invalid row, or has a pair of equal or empty texts.
    """
    rows = []
    for location, it in read_located_rows([path], Preference):
        if it.chosen.strip() == it.rejected.strip():
            raise BadInputError(f"{location}: chosen and rejected are equal")
        if not it.chosen.strip():
            raise BadInputError(f"{location}: chosen: is empty")
        rows.append(it)
    if not rows:
        raise BadInputError(f"{path}: contains no rows")
    return rows


def run_reward_model(
    recipe: RewardModelRecipe, split: PreferenceSplit, *, on_progress: LossCallback
) -> RewardModelResult:
    """Train a reward model. `out` is created atomically at the end, with the resolved recipe in `reward-model.yaml`.

    Args:
        recipe: The recipe.
        split: Its pairs, from `read_split`.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: something the recipe names cannot be used.
        StoppedError: the disk is full.
    """
    reports: list[RewardModelReport] = []

    def write(folder: Path) -> None:
        reports.append(
            train_reward_model(
                recipe.base,
                split.training,
                split.held_out,
                recipe.settings,
                lora=recipe.lora,
                out=folder,
                on_progress=on_progress,
            )
        )
        write_text(folder / RESOLVED, dump_recipe(recipe))

    write_folder(recipe.out, write)
    return RewardModelResult(recipe.out, reports[0])


def _is_held_out(it: Preference, recipe: RewardModelRecipe) -> bool:
    request = PromptRow(id="-", prompt=it.prompt).request
    digest = hashlib.blake2b(f"{recipe.settings.seed}/{request}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < recipe.held_out
