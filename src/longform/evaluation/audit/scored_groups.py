"""Groups of responses to one prompt that people have scored."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.evaluation.audit.pairs import AuditedPair
from longform.records.schemas import Criteria, Message, PromptRow, Row

_PAIR_SCORES = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}


class ScoredText(BaseModel):
    """A response, and what people think of it."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    text: str = Field(min_length=1)
    score: float | None = None
    """By people, on any scale; None if nobody scored it."""
    model: str | None = None


class ScoredGroup(Row):
    """Several responses to one prompt, scored by people. A row of a pairs file is a group of two."""

    key_fields: ClassVar[tuple[str, ...]] = ("id",)
    id: str = Field(min_length=1)
    prompt: str | list[Message] = Field(min_length=1)
    criteria: Criteria | None = None
    responses: list[ScoredText] = Field(min_length=2)

    @model_validator(mode="before")
    @classmethod
    def _read_pair(cls, row: Any) -> Any:
        if not isinstance(row, Mapping) or "response_a" not in row or "responses" in row:
            return row
        pair = AuditedPair.model_validate(row)
        scores = (None, None) if pair.label is None else _PAIR_SCORES[pair.label]
        texts = ((pair.response_a, pair.model_a), (pair.response_b, pair.model_b))
        responses = [
            {"text": text, "model": model, "score": score} for (text, model), score in zip(texts, scores, strict=True)
        ]
        return {"id": pair.id, "prompt": pair.prompt, "criteria": pair.criteria, "responses": responses}

    @property
    def request(self) -> PromptRow:
        """The prompt, as shown to a judge."""
        return PromptRow(id=self.id, prompt=self.prompt, criteria=self.criteria)
