"""Pairs as an audit reads and writes them: two texts, their writers, and all answers of judges about them.

`verdicts` holds a judge's plain verdict in each order, as any tool may write it. `asked` adds what a live audit records:
repeats, attacks, causes of missing verdicts, tokens and cost. A verdict names the text, not its position: `a` is
`response_a` in both orders.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.schemas import Criteria, Message, Order, Pair, PromptRow, Winner

HUMANS = "humans"
"""The rater of labels in tables that also list judges."""


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
    """None: no verdict."""
    cause: str | None = None
    """Why there is none."""
    cost: float | None = None
    """None where it is not known."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether this is the first asking about the texts as they are."""
        return not self.sample and self.line is None


class AuditedPair(Pair):
    """Two responses to one prompt, with labels, verdicts and writers."""

    id: str = Field(min_length=1)
    prompt: str | list[Message] = Field(min_length=1)
    model_a: str | None = None
    """Who wrote `response_a`."""
    model_b: str | None = None
    judge_model: str | dict[str, str] | None = None
    """The model behind each judge; one name where the row has one judge."""
    criteria: Criteria | None = None
    asked: list[AuditAnswer] | None = None

    @field_validator("response_a", "response_b")
    @classmethod
    def _check_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the text is empty")
        return text

    @model_validator(mode="after")
    def _check_judges(self) -> "AuditedPair":
        if HUMANS in self.judges:
            raise ValueError(f"a judge cannot be called {HUMANS!r}: verdicts of people go into `label`")
        return self

    @property
    def request(self) -> PromptRow:
        """What the texts were written for, as a judge is shown it."""
        return PromptRow(id=self.id, prompt=self.prompt, criteria=self.criteria)

    @property
    def judges(self) -> set[str]:
        """Who was asked about this pair."""
        return {*(self.verdicts or ()), *(it.judge for it in self.asked or ())}

    def answers(self, judge: str) -> Iterator[AuditAnswer]:
        """All answers of `judge`, including plain verdicts that `asked` does not hold."""
        known = [it for it in self.asked or () if it.judge == judge]
        yield from known
        there = {it.order for it in known if it.is_plain}
        for order, verdict in ((self.verdicts or {}).get(judge) or {}).items():
            if order not in there:
                yield AuditAnswer(judge=judge, order=order, verdict=verdict)

    def verdict(self, judge: str, order: Order) -> Winner | None:
        """The first verdict of `judge` on the unchanged texts; None if it is missing or was not requested."""
        return next((it.verdict for it in self.answers(judge) if it.order == order and it.is_plain), None)

    def names_of(self, judge: str) -> set[str]:
        """The names under which `judge` may have written."""
        if isinstance(self.judge_model, dict):
            return {judge, self.judge_model.get(judge, judge)}
        return {judge, self.judge_model} if self.judge_model and self.judges == {judge} else {judge}

    def with_asked(self, new: Sequence[AuditAnswer], *, model: tuple[str, str]) -> "AuditedPair":
        """This pair with more answers, each in place of an earlier one to the same question; `model` is (judge, model)."""
        asked = {_question(it): it for it in [*(self.asked or ()), *new]}
        verdicts = {judge: dict(orders) for judge, orders in (self.verdicts or {}).items()}
        for it in new:
            if it.is_plain:
                verdicts.setdefault(it.judge, {})[it.order] = it.verdict
        models = self._models() | dict([model])
        return self.model_copy(update={"verdicts": verdicts, "asked": list(asked.values()), "judge_model": models})

    def with_judges_of(self, other: "AuditedPair", judges: Iterable[str]) -> "AuditedPair":
        """This pair with what `judges` were asked about `other`, of the same texts, and not about this one."""
        pair = self
        for judge in judges:
            there = {_question(it) for it in self.answers(judge)}
            if new := [it for it in other.answers(judge) if _question(it) not in there]:
                pair = pair.with_asked(new, model=(judge, other._models().get(judge, judge)))
        return pair

    def _models(self) -> dict[str, str]:
        """The model behind each judge, where it is known."""
        if isinstance(self.judge_model, dict):
            return self.judge_model
        return dict.fromkeys(self.judges, self.judge_model) if self.judge_model and len(self.judges) == 1 else {}


def _question(it: AuditAnswer) -> tuple[str, Order, int, str | None]:
    return it.judge, it.order, it.sample, it.line


def read_pairs(paths: Sequence[str | Path]) -> list[AuditedPair]:
    """The pairs of several files.

    Raises:
        BadInputError: one line naming file, line and field; a file without rows, two pairs with one id, an empty text.
    """
    return list(read_all(paths, AuditedPair))


def keep_others(pairs: Sequence[AuditedPair], out: Path, judges: Container[str]) -> list[AuditedPair]:
    """The pairs with what `out`, which is to be written anew, holds of judges other than `judges`.

    Raises:
        BadInputError: `out` holds something that would be lost: another file's rows, a pair that is not among `pairs`, or
            verdicts on other texts.
    """
    earlier = {pair.id: pair for pair in read_pairs([out])}
    if gone := earlier.keys() - {pair.id for pair in pairs}:
        raise BadInputError(f"--out: {out} holds pair {min(gone)!r}, which is not among the pairs; name another file")
    kept = []
    for pair in pairs:
        before = earlier.get(pair.id, pair)
        if _texts(before) != _texts(pair):
            raise BadInputError(f"--out: {out} holds pair {pair.id!r} with other texts; name another file")
        others = [it for it in sorted(before.judges) if it not in judges]
        kept.append(pair.with_judges_of(before, others) if before is not pair else pair)
    return kept


def _texts(pair: AuditedPair) -> tuple[str, str, str]:
    return pair.request.request, pair.response_a, pair.response_b
