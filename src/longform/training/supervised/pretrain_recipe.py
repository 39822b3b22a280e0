"""The recipe of continued pretraining (LongWriter-Zero, arXiv 2506.18841), and its checks before the run.

Memory use does not depend on the size of the sources; disk use is 4 bytes per token of the budget plus three copies of the
training state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from longform.records.errors import BadInputError
from longform.tracking.available import check_trackers
from longform.training.supervised.mixture import Counted, Encode, build_encode, check_epochs, count_tokens
from longform.training.supervised.pretrain import PretrainSegment, PretrainSettings, export_name, plan_segments
from longform.training.supervised.pretrain_sources import Documents, HubTexts, PlannedResponses, Source, open_source
from longform.training.supervised.resumable import check_out
from longform.training.supervised.settings import SupervisedRecipe
from longform.training.supervised.stage_check import check_stage_model
from longform.writers.loading import load_tokenizer
from longform.writers.paths import check_model_path


class PretrainRecipe(SupervisedRecipe):
    """Recipe of continued pretraining."""

    policy: str
    """Folder or hub id of the base model."""
    sources: list[Source] = Field(min_length=1)
    tokens: int = Field(ge=1)
    """Token budget; a remainder smaller than an update is not used."""
    max_epochs: int = Field(default=4, ge=1)
    """Maximum number of epochs over a source."""
    exports: list[float] = Field(default=[1.0], min_length=1)
    """Fractions of the budget at which a model is written, such as [0, 0.1, 0.3, 1.0]; the last one is `out`, the others are
    OUT-0, OUT-10, OUT-30. The run keeps its learning rate after warm-up, and each export but the last is a branch of it with
    a decay of its own. The updates of branches are not part of the budget."""
    settings: PretrainSettings = PretrainSettings()

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: list[Source]) -> list[Source]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"duplicate name {twice[0]!r}")
        if abs((total := sum(source.share for source in sources)) - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:.6g} instead of 1")
        return sources

    @model_validator(mode="after")
    def _check_budget(self) -> "PretrainRecipe":
        if not self.updates:
            settings = (
                f"settings.batch_size {self.settings.batch_size} x settings.max_tokens {self.settings.max_tokens}"
            )
            raise ValueError(f"tokens: {self.tokens} is less than one update ({settings})")
        return self

    @model_validator(mode="after")
    def _check_exports(self) -> "PretrainRecipe":
        ascending = all(a < b for a, b in pairwise(self.exports))
        if not ascending or self.exports[0] < 0 or self.exports[-1] != 1:
            raise ValueError("exports: needs ascending fractions from 0 to 1, with 1 at the end")
        if len(self.exports) > 1 and self.settings.schedule != "trapezoid":
            raise ValueError(
                "exports: several exports need `schedule: trapezoid`, since each of them has its own decay"
            )
        if any(share > 0 and not round(share * self.updates) for share in self.exports):
            raise ValueError(f"exports: the smallest one is less than one update of {self.updates}")
        if self.validation is not None and self.validation.share is not None:
            raise ValueError("validation: needs a `file` of its own; windows hold parts of several documents")
        return self

    @property
    def updates(self) -> int:
        """Number of updates within the budget."""
        return self.tokens // self.settings.update_tokens

    @property
    def windows(self) -> int:
        """Total number of windows."""
        return self.updates * self.settings.batch_size

    @property
    def used_tokens(self) -> int:
        """Total number of tokens used."""
        return self.updates * self.settings.update_tokens

    @property
    def segments(self) -> list[PretrainSegment]:
        """Segments of the run in the order in which they are trained."""
        return plan_segments(self.exports, self.settings, updates=self.updates)

    @property
    def branches(self) -> list[PretrainSegment]:
        """Segments that end in an export, except for the last one."""
        return [segment for segment in self.segments if segment.share is not None and segment.share < 1]

    def export_path(self, share: float) -> Path:
        """Folder of an export."""
        return self.out if share == 1 else self.out.with_name(f"{self.out.name}-{export_name(share)}")


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """A source before packing."""

    documents: Documents
    counted: Counted | None
    """None for a hub dataset."""
    epochs: float | None
    left_out: Mapping[str, int]
    """Skipped rows by cause."""


def plan_pretraining(recipe: PretrainRecipe) -> dict[str, SourcePlan]:
    """Check a recipe and its files, and count the tokens of its sources, before a model is loaded.

    Raises:
        BadInputError: there is no model at `policy`, its context is shorter than a window, `out` exists, or a source cannot
            be read, has no text, or is too small for its share.
    """
    check_trackers(recipe.track, key="track")
    check_model_path(recipe.policy)
    check_exports(recipe)
    recipe.planned_devices.rows_each(recipe.settings.batch_size)
    check_stage_model(recipe, recipe.policy, longest=recipe.settings.max_tokens)
    encode = build_encode(load_tokenizer(recipe.policy, trust_remote_code=recipe.trust_remote_code))
    return {source.name: _plan_source(source, recipe, encode) for source in recipe.sources}


def check_exports(recipe: PretrainRecipe) -> None:
    """Refuse to overwrite an existing folder; exports of an interrupted pretraining may be there.

    Raises:
        BadInputError: `out` or an export exists.
    """
    check_out(recipe)
    written = [path for path in map(recipe.export_path, recipe.exports) if path.exists()]
    if written and not recipe.checkpoints.exists():
        raise BadInputError(f"exports: {written[0]} exists; choose another `out`")


def _plan_source(source: Source, recipe: PretrainRecipe, encode: Encode) -> SourcePlan:
    documents = open_source(source)
    left_out = documents.count_left_out() if isinstance(documents, PlannedResponses) else {}
    if isinstance(documents, HubTexts):
        documents.check()
        return SourcePlan(documents, None, None, left_out)
    counted = count_tokens(documents, encode)
    if not counted.documents:
        raise BadInputError(f"sources: {source.name!r} contains no text{_hint(left_out)}")
    wanted = source.share * recipe.used_tokens
    if counted.exact:
        check_epochs(source.name, wanted=wanted, held=counted.tokens, max_epochs=recipe.max_epochs)
    return SourcePlan(documents, counted, wanted / counted.tokens, left_out)


def _hint(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    causes = ", ".join(f"{number} {cause}" for cause, number in left_out.items())
    return f": no response has a well-formed plan ({causes}); generate some with longform generate --think on"
