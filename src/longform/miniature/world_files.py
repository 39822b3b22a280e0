"""The miniature world as files: prompts, a chat log, and a models.yaml, in the formats of the commands. Needs no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import yaml

from longform.miniature.chats import chat_log
from longform.miniature.world import LENGTH_RANGES, prompts
from longform.miniature.writers import LEVELS
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows, write_text
from longform.records.schemas import Prompt

CHATS = "chats.jsonl"
_PRICES = {"prompt": 0.5, "completion": 1.5}  # made-up prices, so that costs are shown


class Counts(Protocol):
    """Number of prompts of each split."""

    @property
    def train_prompts(self) -> int: ...  # noqa: D102
    @property
    def validation_prompts(self) -> int: ...  # noqa: D102
    @property
    def held_out_prompts(self) -> int: ...  # noqa: D102


def write_world(
    folder: Path,
    *,
    base_url: str,
    scale: Counts,
    seed: int,
    ranges: Sequence[tuple[int, int]] = LENGTH_RANGES,
) -> None:
    """Write the prompts of a seed, with lengths from `ranges`, and a models.yaml of the miniature's models.

    Training, validation and held-out prompts come from separate streams.

    Args:
        folder: Folder to write; created if missing.
        base_url: Address of the server.
        scale: Number of prompts of each split.
        seed: Seed of the prompts.
        ranges: Length ranges of the requests.

    Raises:
        BadInputError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_file = {
        "prompts": prompts(seed=seed, split="train", count=scale.train_prompts, ranges=ranges),
        "validation": prompts(seed=seed + 100_000, split="held-out", count=scale.validation_prompts, ranges=ranges),
        "held-out": prompts(seed=seed + 200_000, split="held-out", count=scale.held_out_prompts, ranges=ranges),
    }
    for name, rows in by_file.items():
        write_rows(folder / f"{name}.jsonl", rows)
    write_text(folder / "models.yaml", models_yaml(base_url))


def models_yaml(base_url: str, *, judges: Sequence[str] = ("judge",)) -> str:
    """The content of a models.yaml with the miniature's models at an address, and of its judges those of `judges`."""
    names = (*judges, "examiner", "rewriter", *LEVELS)
    models = {name: {"base_url": base_url, "model": f"miniature-{name}", "prices": dict(_PRICES)} for name in names}
    return yaml.safe_dump(models, sort_keys=False)


def write_chats(folder: Path, *, seed: int) -> int:
    """Hide the requests of prompts.jsonl in a chat log, chats.jsonl; return its number of conversations."""
    return write_rows(folder / CHATS, chat_log(list(read_rows(folder / "prompts.jsonl", Prompt)), seed=seed))


class _ServedWorld(NamedTuple):
    """Number of prompts of each split of a served world."""

    train_prompts: int
    validation_prompts: int = 20
    held_out_prompts: int = 40


def write_served_world(folder: Path, *, base_url: str, prompts: int) -> None:
    """Write a small world of `prompts` training prompts with its chat log to a new or empty folder, for trying the commands
    by hand.

    Raises:
        BadInputError: the folder is not empty or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise BadInputError(f"--world {folder}: cannot be written: {error.strerror}") from error
    if not is_empty:
        raise BadInputError(f"--world {folder}: is not empty")
    write_world(folder, base_url=base_url, scale=_ServedWorld(train_prompts=prompts), seed=1)
    write_chats(folder, seed=1)
