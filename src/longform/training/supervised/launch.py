"""Starts fine-tuning in as many processes as its recipe is planned for, with `accelerate launch` on this machine."""

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
_LAST = 2000
"""Bytes of the log in which the last line is looked for."""


def launch_sft(recipe: SftRecipe, folder: Path) -> None:
    """Fine-tune in `recipe.devices.count` processes, from where it was interrupted; they end when this process does.

    Args:
        recipe: The recipe.
        folder: Gets the recipe (sft.yaml) and all output (sft.log).

    Raises:
        BadInputError: something that the recipe names cannot be used; its devices are on several machines.
        StoppedError: it stopped; the next call resumes.
    """
    check_launch(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECIPE, dump_recipe(recipe))
    with ExitStack() as stack:
        options = _options(recipe, stack)
        command = [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            *options,
            "-m",
            "longform",
            "sft",
            folder / RECIPE,
        ]
        if is_begun(recipe):
            command.append("--resume")
        log = stack.enter_context((folder / LOG).open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-P", guard.__file__, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        code = process.wait()
    if code:
        error = BadInputError if code == BadInputError.exit_code else StoppedError
        raise error(f"{folder / LOG}: fine-tuning ended with exit code {code}: {_last_line(folder / LOG)}")


def check_launch(recipe: SftRecipe) -> None:
    """Check that a recipe's devices are those of one machine.

    Raises:
        BadInputError: they are not.
    """
    available = torch.cuda.device_count()
    if recipe.devices.per_sequence > 1 or (available and recipe.devices.count > available):
        raise BadInputError(
            f"devices: {recipe.devices.count} GPUs with {recipe.devices.per_sequence} for each sequence are more than this "
            f"machine's {available}, or need a configuration of their own; fine-tune with `accelerate launch` and name the "
            "folder as `model`"
        )


def _options(recipe: SftRecipe, stack: ExitStack) -> list[str]:
    count = ["--num_processes", str(recipe.devices.count), "--main_process_port", "0"]
    if not torch.cuda.is_available():
        return ["--cpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", *count]
    if not recipe.devices.sharded:
        return ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", *count]
    config = stack.enter_context(as_file(files("longform") / "recipes" / "accelerate" / "fsdp2.yaml"))
    return ["--config_file", str(config), *count]


def _last_line(path: Path) -> str:
    lines = path.read_bytes()[-_LAST:].decode("utf-8", "replace").split("\n")
    return next((it.strip() for it in reversed(lines) if it.strip()), "no output")
