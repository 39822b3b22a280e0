"""Pairs files of an audit: two texts, their authors, and all answers of judges about them.

`verdicts` has a judge's plain verdict in each order, as any tool may write it. `asked` adds what a live audit records:
repeats, attacks, causes of missing verdicts, tokens and cost. Verdicts name the text rather than its position: `a` is
`response_a` in both orders.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.schemas import Criteria, Message, Order, PairWithLabels, PromptRow, Winner

HUMANS = "humans"
"""Name of people as a rater in tables."""


class AuditAnswer(BaseModel):
    """One question to a judge and its answer."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    judge: str
    order: Order
    sample: int = Field(default=0, ge=0)
    """0 for the first request; repeats count up."""
    line: str | None = None
    """The attack, or the harmless control line, appended to the worse text."""
    verdict: Winner | None = None
    """None if missing."""
    cause: str | None = None
    """Cause of a missing verdict."""
    cost: float | None = None
    """None if unknown."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    calls: tuple[str, ...] | None = None
    """Hashes of the requests behind it; their answers are in the log beside the file."""

    @property
    def is_plain(self) -> bool:
        """Whether this is the first verdict on the unchanged texts."""
        return not self.sample and self.line is None


class AuditedPair(PairWithLabels):
    """Two responses to one prompt, with labels, verdicts and authors."""

    id: str = Field(min_length=1)
    prompt: str | list[Message] = Field(min_length=1)
    model_a: str | None = None
    """Author of `response_a`."""
    model_b: str | None = None
    judge_model: str | dict[str, str] | None = None
    """The model of each judge; a single name if the row has one judge."""
    criteria: Criteria | None = None
    asked: list[AuditAnswer] | None = None
    label_orders: dict[str, Order] | None = None
    """The order in which a person read the texts."""
    label_notes: dict[str, str] | None = None
    weight: float | None = Field(default=None, gt=0)
    """Number of pairs that this one represents, if they were not drawn uniformly."""

    @field_validator("response_a", "response_b")
    @classmethod
    def _check_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the text is empty")
        return text

    @model_validator(mode="before")
    @classmethod
    def _check_shape(cls, row: Any) -> Any:
        if isinstance(row, Mapping) and "responses" in row and "response_a" not in row:
            raise ValueError("a group of responses, not a pair; `longform audit --by list` (or peer, ...) reads groups")
        return row

    @model_validator(mode="after")
    def _check_judges(self) -> "AuditedPair":
        if HUMANS in self.judges:
            raise ValueError(f"a judge cannot be called {HUMANS!r}: verdicts of people go into `label`")
        return self

    @property
    def relative_weight(self) -> float:
        """How much it counts beside the other pairs of its file."""
        return 1.0 if self.weight is None else self.weight

    @property
    def request(self) -> PromptRow:
        """The prompt of the texts, as shown to a judge."""
        return PromptRow(id=self.id, prompt=self.prompt, criteria=self.criteria)

    @property
    def judges(self) -> set[str]:
        """All judges that were asked about this pair."""
        return {*(self.verdicts or ()), *(it.judge for it in self.asked or ())}

    def answers(self, judge: str) -> Iterator[AuditAnswer]:
        """Return all answers of `judge`, including plain verdicts that are not in `asked`."""
        known = [it for it in self.asked or () if it.judge == judge]
        yield from known
        plain_orders = {it.order for it in known if it.is_plain}
        for order, verdict in ((self.verdicts or {}).get(judge) or {}).items():
            if order not in plain_orders:
                yield AuditAnswer(judge=judge, order=order, verdict=verdict)

    def verdict(self, judge: str, order: Order) -> Winner | None:
        """The first verdict of `judge` on the unchanged texts; None if it is missing or was not requested."""
        return next((it.verdict for it in self.answers(judge) if it.order == order and it.is_plain), None)

    def names_of(self, judge: str) -> set[str]:
        """Return the model names under which `judge` may have written."""
        if isinstance(self.judge_model, dict):
            return {judge, self.judge_model.get(judge, judge)}
        return {judge, self.judge_model} if self.judge_model and self.judges == {judge} else {judge}

    def with_asked(self, new: Sequence[AuditAnswer], *, model: tuple[str, str]) -> "AuditedPair":
        """Add answers, replacing earlier answers to the same question; `model` is (judge, model)."""
        asked = {_question(it): it for it in [*(self.asked or ()), *new]}
        verdicts = {judge: dict(orders) for judge, orders in (self.verdicts or {}).items()}
        for it in new:
            if it.is_plain:
                verdicts.setdefault(it.judge, {})[it.order] = it.verdict
        models = self._models() | dict([model])
        return self.model_copy(update={"verdicts": verdicts, "asked": list(asked.values()), "judge_model": models})

    def with_judges_of(self, other: "AuditedPair", judges: Iterable[str]) -> "AuditedPair":
        """Add the answers of `judges` from `other`, a pair of the same texts, that this pair lacks."""
        pair = self
        for judge in judges:
            known = {_question(it) for it in self.answers(judge)}
            if new := [it for it in other.answers(judge) if _question(it) not in known]:
                pair = pair.with_asked(new, model=(judge, other._models().get(judge, judge)))
        return pair

    def _models(self) -> dict[str, str]:
        """Return the model of each judge, if known."""
        if isinstance(self.judge_model, dict):
            return self.judge_model
        return dict.fromkeys(self.judges, self.judge_model) if self.judge_model and len(self.judges) == 1 else {}


def _question(it: AuditAnswer) -> tuple[str, Order, int, str | None]:
    return it.judge, it.order, it.sample, it.line


def read_pairs(paths: Sequence[str | Path], reading: Reading = AS_IS) -> list[AuditedPair]:
    """Read the pairs of several files.

    Raises:
        BadInputError: a row is invalid (the error names file, line and field), a file is empty, two pairs share an id, or a
            text is empty.
    """
    return list(read_all(paths, AuditedPair, reading))


def keep_others(pairs: Sequence[AuditedPair], out: Path, judges: Container[str]) -> list[AuditedPair]:
    """Keep the answers of other judges in `out`, which is about to be rewritten.

    Raises:
        BadInputError: `out` contains something that would be lost: other rows, a pair that is not among `pairs`, or verdicts
            on other texts.
    """
    earlier = {pair.id: pair for pair in read_pairs([out])}
    if gone := earlier.keys() - {pair.id for pair in pairs}:
        raise BadInputError(f"--out: {out} has pair {min(gone)!r}, which is not among the pairs; choose another file")
    kept = []
    for pair in pairs:
        before = earlier.get(pair.id, pair)
        if _texts(before) != _texts(pair):
            raise BadInputError(f"--out: {out} has pair {pair.id!r} with other texts; choose another file")
        others = [it for it in sorted(before.judges) if it not in judges]
        kept.append(pair.with_judges_of(before, others) if before is not pair else pair)
    return kept


def _texts(pair: AuditedPair) -> tuple[str, str, str]:
    return pair.request.request, pair.response_a, pair.response_b
