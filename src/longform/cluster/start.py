"""A run's actor, found or started, and its data, written once: what launcher and trainer have in common."""

import os
from pathlib import Path
from typing import Any

import ray

from longform.cluster.actor_client import ask, find_actor, start_actor
from longform.cluster.prompt_table import open_rows
from longform.cluster.run_actor import Opened
from longform.recipe.inputs import TrainingInputs, check_inputs
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.interchange import write_verl
from longform.writers.think import ThinkPrompt


def actor_of(config: Any) -> Any:
    """The host of the run that a verl configuration names.

    The launcher has started it; under a verl command of the user's own the trainer starts it, where it runs itself.

    Raises:
        BadInputError: a run of that name is another recipe's.
    """
    name, path = config.trainer.experiment_name, Path(config.longform.recipe)
    try:
        actor = find_actor(name)
    except ValueError:
        recipe = load_stored_recipe(path, Recipe)
        data, resume = Path(config.data.train_files), config.trainer.resume_mode != "disable"
        return open_actor(recipe, check_inputs(recipe), data=data, name=name, resume=resume)
    opened: Opened = ask(actor.opened.remote())
    if opened.recipe != load_stored_recipe(path, Recipe):
        raise BadInputError(
            f"trainer.experiment_name: a run {name!r} is under way on this Ray cluster; choose another name"
        )
    return actor


def check_alone() -> None:
    """No other run is under way on this Ray cluster: verl's queue has one name, and ends with whoever ends first.

    Raises:
        BadInputError: there is one.
    """
    try:
        ray.get_actor("TransferQueueController", namespace="transfer_queue")
    except ValueError:
        return
    raise BadInputError(
        "cluster.ray_address: another verl run is under way on this Ray cluster, which holds one at a time"
    )


def open_actor(recipe: Recipe, inputs: TrainingInputs, *, data: Path, name: str, resume: bool) -> Any:
    """Start a host on this node and give it the run.

    Raises:
        BadInputError: there is a host of that name.
        RayTaskError: with the host's own error as its cause.
    """
    keys = {it.key_env: os.environ[it.key_env] for it in inputs.judges.values() if it.key_env}
    open_rows(data)
    try:
        actor = start_actor(name)
    except ValueError:
        raise BadInputError(f"run.name: a run {name!r} is under way on this Ray cluster") from None
    ray.get(actor.open.remote(recipe, inputs.judges, data=data, keys=keys, resume=resume, folder=Path.cwd()))
    return actor


def data_folder(recipe: Recipe) -> Path:
    """Where the prompts stand as verl reads them."""
    return recipe.run_path / "data"


def write_data(recipe: Recipe, inputs: TrainingInputs) -> Path:
    """The prompts of a run as Parquet in its directory, with the think prompt where there is one; returns the folder."""
    folder = data_folder(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    think = ThinkPrompt.read(recipe.generation.think, recipe.generation.think_prompt)
    write_verl(folder / "train.parquet", inputs.prompts, messages=think.messages)
    if inputs.validation_prompts:
        write_verl(
            folder / "validation.parquet", inputs.validation_prompts, split="validation", messages=think.messages
        )
    return folder
