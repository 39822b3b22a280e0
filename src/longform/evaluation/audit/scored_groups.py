"""Groups of responses to one prompt that people have scored."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.evaluation.audit.pairs import AuditedPair
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.schemas import Criteria, Ladder, Message, PromptRow, Reference, Row
from longform.statistics.group_games import MIN_SCORED

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

    @property
    def texts(self) -> list[str]:
        """The request, and the responses in their order."""
        return [self.request.request, *(it.text for it in self.responses)]

    @property
    def scored(self) -> list[int]:
        """Indices of the responses that people have scored."""
        return [index for index, it in enumerate(self.responses) if it.score is not None]

    def draw_anchors(self, width: int, *, seed: int) -> list[int]:
        """Draw responses for the others to be compared with, in place of the rungs of a ladder.

        Args:
            width: Number of rungs below and above the current one.
            seed: Of the draw, which is the same in every run: the rungs of a ladder are, too.

        Returns:
            Indices by ascending score, that of the current rung in the middle; none if fewer than two scored responses
            would be left.
        """
        if len(self.scored) < scores_needed(width):
            return []
        drawn = random.Random(f"{seed}/{self.id}/anchors").sample(self.scored, 2 * width + 1)
        return sorted(drawn, key=lambda index: self.responses[index].score or 0.0)

    def ladder(self, anchors: Sequence[int]) -> Ladder:
        """The prompt with some of the responses as its references.

        Args:
            anchors: Indices of the references, by ascending score.
        """
        texts = [self.responses[index] for index in anchors]
        references = [Reference(model=it.model or "", text=it.text, score=it.score or 0.0) for it in texts]
        return Ladder(
            id=self.id,
            prompt=self.prompt,
            criteria=self.criteria,
            references=references,
            policy_score=0.0,
            potential=0.0,
        )


def scores_needed(width: int) -> int:
    """The minimum number of scored responses in a group of which some are anchors: these, and two that they tell apart."""
    return 2 * width + 1 + MIN_SCORED


def scores_on_record(out: Path, groups: Sequence[ScoredGroup]) -> list[dict[str, dict[str, Any]]]:
    """The scores that an earlier audit wrote, for each group by judge and method; none if there is no file.

    Raises:
        BadInputError: the file has content that would be lost: other rows, other groups, or other texts.
    """
    if not out.exists():
        return [{} for _ in groups]
    earlier = {it.id: it for it in read_all([out], ScoredGroup)}
    kept: list[dict[str, dict[str, Any]]] = []
    for group in groups:
        before = earlier.pop(group.id, None)
        scores = {} if before is None else (before.model_extra or {}).get("by")
        if not isinstance(scores, dict):
            raise BadInputError(f"--out: {out} has row {group.id!r} of another kind; choose another file")
        if before is not None and before.texts != group.texts:
            raise BadInputError(f"--out: {out} has group {group.id!r} with other texts; choose another file")
        kept.append({judge: dict(methods) for judge, methods in scores.items()})
    if earlier:
        raise BadInputError(
            f"--out: {out} has group {min(earlier)!r}, which is not among the groups; choose another file"
        )
    return kept
