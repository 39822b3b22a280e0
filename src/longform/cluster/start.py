"""Finds or starts the actor of a run, and writes its data; shared by launcher and trainer."""

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
from longform.wording import Wording
from longform.writers.think import ThinkPrompt


def actor_of(config: Any) -> Any:
    """The actor of the run in a verl configuration.

    The launcher has started it; if the user starts verl directly, the trainer starts it on its own node.

    Raises:
        BadInputError: a run of that name has another recipe.
    """
    name, path = config.trainer.experiment_name, Path(config.longform.recipe)
    try:
        actor = find_actor(name)
    except ValueError:
        recipe = load_stored_recipe(path, Recipe)
        data, resume = Path(config.data.train_files), config.trainer.resume_mode != "disable"
        return open_actor(recipe, check_inputs(recipe), data=data, name=name, resume=resume)
    opened: Opened = ask(actor.opened.remote())
    if opened.recipe.resolved != load_stored_recipe(path, Recipe).resolved:
        raise BadInputError(
            f"trainer.experiment_name: a run {name!r} is already running on this Ray cluster; choose another name"
        )
    return actor


def check_alone() -> None:
    """Check that no other run is active on this Ray cluster: verl's queue has a fixed name, and ends with the first run.

    Raises:
        BadInputError: there is one.
    """
    try:
        ray.get_actor("TransferQueueController", namespace="transfer_queue")
    except ValueError:
        return
    raise BadInputError(
        "cluster.ray_address: another verl run is active on this Ray cluster; only one can run at a time"
    )


def open_actor(recipe: Recipe, inputs: TrainingInputs, *, data: Path, name: str, resume: bool) -> Any:
    """Start a run actor on this node and open the run in it.

    Raises:
        BadInputError: there is an actor of that name.
        RayTaskError: the error of the actor, as its cause.
    """
    keys = {it.key_env: os.environ[it.key_env] for it in inputs.judges.values() if it.key_env}
    open_rows(data)
    try:
        actor = start_actor(name)
    except ValueError:
        raise BadInputError(f"run.name: a run {name!r} is already active on this Ray cluster") from None
    ray.get(actor.open.remote(recipe, inputs.judges, data=data, keys=keys, resume=resume, folder=Path.cwd()))
    return actor


def data_folder(recipe: Recipe) -> Path:
    """The folder of the prompts in verl's format."""
    return recipe.run_path / "data"


def write_data(recipe: Recipe, inputs: TrainingInputs, *, wording: Wording | None = None) -> Path:
    """Write the prompts of a run as Parquet into its directory, with the think prompt if any; returns the folder."""
    folder = data_folder(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    think = ThinkPrompt.read(recipe.generation.think, recipe.generation.think_prompt, wording=wording)
    messages = think.messages if recipe.generation.uses_chat_template else think.raw_messages
    write_verl(folder / "train.parquet", inputs.prompts, messages=messages)
    if inputs.validation_prompts:
        write_verl(folder / "validation.parquet", inputs.validation_prompts, split="validation", messages=messages)
    return folder
