"""Starts fine-tuning in as many processes as its recipe is planned for, on this machine."""

import subprocess
import sys
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

import torch

from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import write_text
from longform.training.supervised.resumable import is_begun
from longform.training.supervised.sft_recipe import SftRecipe
from longform.writers.served import guard

RECIPE, LOG = "sft.yaml", "sft.log"
_LAST = 20_000
"""Bytes at the end of the log that are searched for the error."""


def launch_sft(recipe: SftRecipe, folder: Path) -> None:
    """Fine-tune in `recipe.devices.count` processes, resuming an interrupted fine-tuning; they end with this process.

    Args:
        recipe: The recipe.
        folder: Folder for the recipe (sft.yaml) and the log (sft.log).

    Raises:
        BadInputError: this machine does not have the recipe's devices.
        StoppedError: the processes stopped; the error quotes the end of their log, and the next call resumes.
    """
    check_launch(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECIPE, dump_recipe(recipe))
    with ExitStack() as stack:
        command = [*_launcher(recipe, stack), "-m", "longform", "sft", folder / RECIPE]
        if is_begun(recipe):
            command.append("--resume")
        log = stack.enter_context((folder / LOG).open("wb"))
        guarded = [sys.executable, "-P", guard.__file__, *map(str, command)]
        with subprocess.Popen(guarded, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT) as process:
            code = process.wait()
    if code:
        raise StoppedError(f"{folder / LOG}: fine-tuning stopped: {_problem(folder / LOG)}")


def check_launch(recipe: SftRecipe) -> None:
    """Check that this machine has a recipe's devices.

    Raises:
        BadInputError: it has not.
    """
    available = torch.cuda.device_count()
    if recipe.devices.per_sequence > 1 or (available and recipe.devices.count > available):
        raise BadInputError(
            f"devices: {recipe.devices.count} GPUs ({recipe.devices.per_sequence} per sequence) cannot be used from here: "
            f"this machine has {available}, and sequences are not divided; fine-tune with `accelerate launch`, and name "
            "the resulting folder as `model`"
        )


def _launcher(recipe: SftRecipe, stack: ExitStack) -> list[str | Path]:
    """The command that starts the processes: torch's, or accelerate's with the configuration of FSDP2."""
    count = str(recipe.devices.count)
    if not recipe.devices.sharded:
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", count]
    config = stack.enter_context(as_file(files("longform") / "recipes" / "accelerate" / "fsdp2.yaml"))
    options = ["--config_file", config, "--num_processes", count, "--main_process_port", "0"]
    return [sys.executable, "-m", "accelerate.commands.launch", *options]


def _problem(path: Path) -> str:
    """The last line of the log that is an error of longform; if there is none, the last line."""
    lines = [it.strip() for it in path.read_bytes()[-_LAST:].decode("utf-8", "replace").split("\n") if it.strip()]
    ours = [it for it in lines if it.startswith("longform: ")]
    return (ours or lines or ["no output"])[-1].removeprefix("longform: ")
