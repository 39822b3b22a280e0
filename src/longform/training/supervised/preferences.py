"""Preference pairs for training and examining a reward model, and the points of its learning curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from longform.records.errors import BadInputError
from longform.records.files import read_located_rows
from longform.records.schemas import Preference, PromptRow
from longform.training.supervised.training_rows import is_held_out

HELD_OUT = "held-out.jsonl"
"""The held-out pairs, in the folder of a reward model."""
EXAMINATION = "examination.json"
"""Results on the held-out pairs; results on other pairs are in examination-NAME.json."""


class ExaminationSettings(BaseModel):
    """Budget of the examination of a reward model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pairs: int | None = Field(default=None, ge=1)
    """Pairs to draw from the held-out ones; None takes all."""
    words: int = Field(default=40, ge=0)
    """Number of words to probe, of those that chosen texts use more often than rejected ones. 0 probes none."""
    texts: int = Field(default=24, ge=1)
    """Number of texts that each word is inserted into."""


class CurvePoint(NamedTuple):
    """A point of the learning curve: means over all held-out pairs."""

    step: int
    loss: float
    accuracy: float


class PreferenceSplit(NamedTuple):
    """Training and held-out pairs."""

    training: list[Preference]
    held_out: list[Preference]
    validation: list[Preference] | None = None


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


def divide(
    pairs: Sequence[Preference], share: float, *, seed: int, salt: str = ""
) -> tuple[list[Preference], list[Preference]]:
    """Split pairs into those to train on and held-out ones: a share of the prompts, chosen by hash, with all their pairs."""
    parts: tuple[list[Preference], list[Preference]] = ([], [])
    for it in pairs:
        parts[is_held_out(salt + request_of(it), share, seed=seed)].append(it)
    return parts


def request_of(it: Preference) -> str:
    """What a pair's prompt asks, as one text."""
    return PromptRow(id="-", prompt=it.prompt).request
