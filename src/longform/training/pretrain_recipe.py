"""A continual pretraining's recipe (LongWriter-Zero, arXiv 2506.18841), and what can be said about it before it runs.

It is made for one device and budgets of some billion tokens. Memory does not grow with the sources; the disk holds 4 bytes a
token of the budget and three copies of the training's state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from transformers import AutoConfig

from longform.records.errors import BadInputError
from longform.training.mixture import Counted, Encode, build_encode, check_epochs, count_tokens
from longform.training.pretrain import PretrainSettings
from longform.training.pretrain_sources import Documents, HubTexts, PlannedResponses, Source, open_source
from longform.writers.local import load_tokenizer
from longform.writers.paths import check_model_path, model_below


class PretrainRecipe(BaseModel):
    """Everything that decides a pretraining."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str
    """Folder or hub id of the base model to go on from."""
    sources: list[Source] = Field(min_length=1)
    tokens: int = Field(ge=1)
    """The budget; what is left over after whole updates is not used."""
    max_epochs: int = Field(default=4, ge=1)
    """How often a source may be passed over."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Updates between two checkpoints."""
    out: Path
    """Folder of the pretrained model, in Hugging Face format; must not exist."""
    settings: PretrainSettings = PretrainSettings()

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: list[Source]) -> list[Source]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {twice[0]!r} stands twice")
        if abs((total := sum(source.share for source in sources)) - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:.6g}, not to 1")
        return sources

    @model_validator(mode="after")
    def _check_budget(self) -> "PretrainRecipe":
        if not self.updates:
            settings = (
                f"settings.batch_size {self.settings.batch_size} x settings.max_tokens {self.settings.max_tokens}"
            )
            raise ValueError(f"tokens: {self.tokens} is less than one update ({settings})")
        return self

    @property
    def updates(self) -> int:
        """How many the budget pays for."""
        return self.tokens // self.settings.update_tokens

    @property
    def windows(self) -> int:
        """Windows of all updates."""
        return self.updates * self.settings.batch_size

    @property
    def used_tokens(self) -> int:
        """Tokens of all updates."""
        return self.updates * self.settings.update_tokens

    @property
    def checkpoints(self) -> Path:
        """Folder with what is needed to go on; there until `out` is whole."""
        return self.out.with_name(f"{self.out.name}.checkpoints")


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What is known of a source before it is packed."""

    documents: Documents
    counted: Counted | None
    """None for a data set of the hub."""
    epochs: float | None
    left_out: Mapping[str, int]
    """Rows that no document is made of, by cause."""


def plan_pretraining(recipe: PretrainRecipe) -> dict[str, SourcePlan]:
    """Check everything that a recipe names, and count what its sources hold, before a model is loaded.

    Raises:
        BadInputError: no model at `policy` or too long windows for it, `out` exists, a source that cannot be read, holds
            no text, or is too small for its share.
    """
    check_model_path(recipe.policy)
    check_out(recipe)
    _check_context(recipe)
    encode = build_encode(load_tokenizer(recipe.policy))
    return {source.name: _plan_source(source, recipe, encode) for source in recipe.sources}


def check_out(recipe: PretrainRecipe) -> None:
    """Refuse to write over something.

    Raises:
        BadInputError: `out` exists.
    """
    if recipe.out.exists():
        left = f"; {recipe.checkpoints} is no longer needed" if recipe.checkpoints.exists() else ""
        raise BadInputError(f"out: {recipe.out} exists; choose another folder{left}")


def _plan_source(source: Source, recipe: PretrainRecipe, encode: Encode) -> SourcePlan:
    documents = open_source(source)
    left_out = documents.count_left_out() if isinstance(documents, PlannedResponses) else {}
    if isinstance(documents, HubTexts):
        documents.check()
        return SourcePlan(documents, None, None, left_out)
    counted = count_tokens(documents, encode)
    if not counted.documents:
        raise BadInputError(f"sources: {source.name!r} holds no text{_hint(left_out)}")
    wanted = source.share * recipe.used_tokens
    if counted.exact:
        check_epochs(source.name, wanted=wanted, held=counted.tokens, max_epochs=recipe.max_epochs)
    return SourcePlan(documents, counted, wanted / counted.tokens, left_out)


def _check_context(recipe: PretrainRecipe) -> None:
    try:
        config: Any = AutoConfig.from_pretrained(model_below(recipe.policy))
    except Exception as error:  # what a broken folder makes transformers raise has no bounds
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{recipe.policy}: its config.json cannot be read: {reason}") from error
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is not None and recipe.settings.max_tokens > context:
        raise BadInputError(
            f"settings.max_tokens: {recipe.settings.max_tokens} is more than the context of {context} tokens that "
            f"{recipe.policy} has"
        )


def _hint(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    causes = ", ".join(f"{number} {cause}" for cause, number in left_out.items())
    return f": no response has a well-formed plan ({causes}); write some with longform generate --think on"
