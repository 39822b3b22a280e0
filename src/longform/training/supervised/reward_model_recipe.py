"""Train a reward model from its recipe: read and check pairs, hold out prompts, train, save atomically."""

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from longform.planning.supervised import SupervisedPlan
from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.folders import write_folder
from longform.tracking.available import check_trackers
from longform.training.supervised.preferences import (
    EXAMINATION,
    HELD_OUT,
    ExaminationSettings,
    PreferenceSplit,
    divide,
    read_preferences,
    request_of,
)
from longform.training.supervised.processes import find_processes
from longform.training.supervised.resumable import check_out, check_start, model_files, resumable
from longform.training.supervised.reward_model import (
    RewardModelReport,
    RewardModelSettings,
    learn_pairs,
    longest_text,
    pairs_at_once,
)
from longform.training.supervised.settings import LossCallback, SupervisedRecipe
from longform.training.supervised.stage import StageRun
from longform.training.supervised.stage_check import check_stage_memory, check_stage_model
from longform.writers.loading import load_tokenizer
from longform.writers.paths import check_model_path

NAME = "training of a reward model"
RESOLVED = "reward-model.yaml"
MIN_HELD_OUT = 2
"""Minimum number of held-out prompts; one prompt gives no interval."""


class RewardModelRecipe(SupervisedRecipe):
    """Recipe of a reward model."""

    base: str
    """Folder or hub id of the language model to start from."""
    preferences: list[Path] = Field(min_length=1)
    """Preferences files, as `longform preferences` writes them."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Fraction of the prompts to hold out with all their pairs; chosen by hash of the prompt and `settings.seed`."""
    settings: RewardModelSettings = RewardModelSettings()
    examination: ExaminationSettings = ExaminationSettings()

    @property
    def texts_at_once(self) -> int:
        """Texts that are scored at once."""
        memory = self.memory.resolved(on_gpu=False)
        limited = memory.max_tokens_per_microbatch is not None
        return 2 * pairs_at_once(memory, self.settings) if limited else self.settings.batch_size


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
    check_trackers(recipe.track, key="track")
    check_model_path(recipe.base)
    _check_out(recipe)
    recipe.planned_devices.rows_each(recipe.settings.batch_size)
    pairs = [it for path in recipe.preferences for it in read_preferences(path)]
    seed = recipe.settings.seed
    rest, examined = divide(pairs, recipe.held_out, seed=seed)
    training, validation = rest, None
    if recipe.validation is not None and recipe.validation.file is not None:
        validation = read_preferences(recipe.validation.file)
    elif recipe.validation is not None and recipe.validation.share is not None:
        training, validation = divide(rest, recipe.validation.share, seed=seed, salt="validation/")
    learned, held_out = (len({request_of(it) for it in part}) for part in (training, examined))
    if not learned or held_out < MIN_HELD_OUT:
        raise BadInputError(
            f"held_out: {recipe.held_out} leaves {learned} prompts for training and holds out {held_out}; at least "
            f"{MIN_HELD_OUT} must be held out"
        )
    if validation is not None and not validation:
        raise BadInputError("validation.share: holds out no prompt; raise it, or name a validation.file")
    return PreferenceSplit(training, examined, validation)


def _check_out(recipe: RewardModelRecipe) -> None:
    """Refuse to overwrite a reward model; if it was trained and not examined yet, say how to do that."""
    if (recipe.out / HELD_OUT).exists() and not (recipe.out / EXAMINATION).exists():
        raise BadInputError(
            f"out: {recipe.out} exists, trained and not examined yet: add --examine {recipe.out / HELD_OUT}, or choose "
            "another folder"
        )
    check_out(recipe)


def run_reward_model(
    recipe: RewardModelRecipe,
    split: PreferenceSplit | None = None,
    *,
    resume: bool = False,
    self_check: bool = True,
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> RewardModelResult:
    """Train a reward model. `out` is created atomically at the end, with the resolved recipe in `reward-model.yaml`.

    Args:
        recipe: The recipe.
        split: Its pairs; by default from `read_split`.
        resume: Continue an interrupted training; the weights equal those of an uninterrupted one.
        self_check: Check before training that texts fit into the model's context and an update into memory, and that the
            model can be saved.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: something the recipe names cannot be used, or has changed since the interrupted training began.
        StoppedError: the disk is full, or the device is out of memory.
    """
    _check_out(recipe)
    check_start(recipe, name=NAME, resume=resume)
    split = split or read_split(recipe)
    if self_check:
        check_reward_model(recipe, split)
    with resumable(recipe, input_files(recipe), name=NAME):
        trained = learn_pairs(
            recipe.base,
            split.training,
            split.held_out,
            recipe.settings,
            StageRun.of(recipe),
            validation=split.validation,
            lora=recipe.lora,
            trust_remote_code=recipe.trust_remote_code,
            self_check=self_check,
            on_progress=on_progress,
        )

        def write(folder: Path) -> None:
            trained.save(folder)
            write_text(folder / RESOLVED, dump_recipe(recipe))

        if find_processes().is_main:
            write_folder(recipe.out, write)
    return RewardModelResult(recipe.out, trained.report)


def check_reward_model(recipe: RewardModelRecipe, split: PreferenceSplit) -> SupervisedPlan:
    """Check that the longest text fits into the model's context, and an update into memory; return the plan.

    Raises:
        BadInputError: one of them does not fit, or a prompt is too long.
    """
    tokenizer = load_tokenizer(recipe.base, trust_remote_code=recipe.trust_remote_code)
    if tokenizer.pad_token is None and tokenizer.eos_token is None:
        raise BadInputError(
            f"base: the tokenizer of {recipe.base} has neither a padding nor an end-of-text token, and a reward model needs "
            "one of them to find the end of a text; name one as pad_token in its tokenizer_config.json"
        )
    longest = longest_text(tokenizer, split.training, recipe.settings)
    check_stage_model(recipe, recipe.base, longest=longest, has_head=False)
    return check_stage_memory(recipe, recipe.base, recipe.settings, longest=longest, texts_per_row=2)


def input_files(recipe: RewardModelRecipe) -> list[Path]:
    """Files and folders with the data and the model."""
    return [*recipe.preferences, *recipe.validation_files, *model_files(recipe.base)]
