"""The recipe of supervised fine-tuning. Reading one loads no torch."""

from typing import Literal

from longform.training.supervised.settings import EpochSettings, SupervisedRecipe
from longform.training.supervised.training_rows import SftData

SFT_RECIPE = "sft.yaml"
"""The resolved recipe beside the weights."""
Packing = Literal["wrapped", "bfd"]
"""How rows share windows of `max_tokens`."""


class SftSettings(EpochSettings):
    """Settings of supervised fine-tuning."""

    packing: Packing | None = None
    """Fill windows of `max_tokens` with several rows. wrapped: one after the other, and a row that does not fit continues in
    the next window; attention crosses rows. bfd: whole rows, without attention between them. None: one row at a time."""


class SftRecipe(SupervisedRecipe):
    """Recipe of supervised fine-tuning."""

    policy: str
    """Folder or hub id of the writer to start from; conversations need a chat template of its tokenizer."""
    data: SftData
    settings: SftSettings = SftSettings()
