"""The labels that people gave: an append-only log beside the pairs file, and the pairs file with its labels.

Every choice is one line of the log, on the disk before the next pair is shown; so is undoing one. A line has a hash of the
texts that it is about, so it never counts for others. The pairs file gets the labels at the end, and whenever labelling
begins: the fields `labels` {person: a, b or tie}, `label_orders` {person: ab or ba, which text was shown first} and
`label_notes` {person: reasons}.
"""

import hashlib
import json
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.labelling.assignment import Assignment
from longform.records.errors import BadInputError, RowsWarning
from longform.records.files import AppendedRows, write_rows
from longform.records.schemas import Order, Row, Winner

LOG_SUFFIX = ".labels.jsonl"
Choice = Literal["first", "second", "tie"]
"""What a person chose, by the place on the page."""


class LabelLine(Row):
    """One line of the log: a choice, or undoing one."""

    pair_id: str
    person: str
    texts: str = ""
    """Hash of the texts of the pair; empty in logs of earlier versions."""
    label: Winner | None = None
    """By the text, whatever its place; None: the label is undone."""
    order: Order = "ab"
    seconds: float = Field(default=0.0, ge=0)
    """Between showing the pair and the choice."""
    reasons: str = ""
    criteria: list[str] = Field(default_factory=list)
    """Criteria that decided, of those of the pair."""

    @property
    def note(self) -> str:
        """Criteria and reasons as one text."""
        return "; ".join(filter(None, [", ".join(self.criteria), self.reasons]))


class Answer(BaseModel):
    """What a person sends for a pair."""

    model_config = ConfigDict(extra="forbid")
    person: str
    pair_id: str
    choice: Choice
    seconds: float = Field(ge=0, le=1e7)
    reasons: str = Field(default="", max_length=20_000)
    criteria: list[str] = Field(default_factory=list, max_length=50)


class GivenLabels:
    """The labels of a log, and those that the pairs have.

    Args:
        pairs: The pairs.
        lines: The log. Lines about other pairs or texts are ignored.
    """

    def __init__(self, pairs: Sequence[AuditedPair], lines: Iterable[LabelLine] = ()) -> None:
        self.pairs: Mapping[str, AuditedPair] = {it.id: it for it in pairs}
        self._hashes = {it.id: texts_hash(it) for it in pairs}
        self._last: dict[tuple[str, str], LabelLine] = {}
        """The last line about each (person, pair), in the order in which they were written."""
        self.ignored = sum(not self.apply(line) for line in lines)
        """Lines about other pairs or texts."""

    def apply(self, line: LabelLine) -> bool:
        """Take a line into account; whether it is about these pairs."""
        if line.pair_id not in self.pairs or line.texts not in ("", self._hashes[line.pair_id]):
            return False
        self._last.pop((line.person, line.pair_id), None)
        self._last[line.person, line.pair_id] = line
        return True

    def texts_of(self, pair_id: str) -> str:
        """The hash of a pair's texts."""
        return self._hashes[pair_id]

    def has(self, person: str, pair_id: str) -> bool:
        """Whether a person labelled a pair, here or before it came here."""
        line = self._last.get((person, pair_id))
        return line.label is not None if line else person in (self.pairs[pair_id].labels or ())

    def last(self, person: str) -> LabelLine | None:
        """The last label of a person in the log that is not undone."""
        return next((it for it in reversed(self._last.values()) if it.person == person and it.label is not None), None)

    def merged(self) -> list[AuditedPair]:
        """The pairs with all labels. What the log undoes is not among them, though the pairs file may have it."""
        by_pair: dict[str, list[LabelLine]] = {}
        for line in self._last.values():
            by_pair.setdefault(line.pair_id, []).append(line)
        return [_merge(pair, by_pair[pair.id]) if pair.id in by_pair else pair for pair in self.pairs.values()]


class LabelStore:
    """The labels of one pairs file, which one process at a time can add to.

    Args:
        path: Pairs file.
        pairs: Its rows.
        assignment: Who labels which pairs, in which order.
        log: The log of the file, open for writing; the store closes it.
    """

    def __init__(
        self, path: Path, pairs: Sequence[AuditedPair], assignment: Assignment, log: AppendedRows[LabelLine]
    ) -> None:
        self.path, self.assignment, self._log = path, assignment, log
        self._lock = threading.Lock()
        self._given = GivenLabels(pairs, log.rows)
        self.pairs = self._given.pairs
        if self._given.ignored:
            warnings.warn(
                f"{log.path}: {self._given.ignored} of {len(log.rows)} labels are about other pairs or texts than those of "
                f"{path}, and are ignored",
                RowsWarning,
                stacklevel=2,
            )

    def __enter__(self) -> "LabelStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log; another process may then label the file."""
        self._log.close()

    def next_pair(self, person: str) -> AuditedPair | None:
        """The first pair of a person without a label; None if there is none left.

        Raises:
            KeyError: nobody has this name.
        """
        return next(
            (self.pairs[it] for it in self.assignment.pairs_of(person) if not self._given.has(person, it)), None
        )

    def count(self, person: str) -> tuple[int, int]:
        """How many pairs a person has labelled, and how many are assigned."""
        assigned = self.assignment.pairs_of(person)
        return sum(self._given.has(person, it) for it in assigned), len(assigned)

    def can_undo(self, person: str) -> bool:
        """Whether a person gave a label that can be undone; those that came with the file cannot."""
        with self._lock:
            return self._given.last(person) is not None

    def add(self, answer: Answer) -> None:
        """Store a choice durably; a second one about the same pair replaces the first.

        Raises:
            BadInputError: the person or the pair is unknown.
            StoppedError: the log cannot be written.
        """
        is_known = answer.person in self.assignment.people
        if not is_known or answer.pair_id not in self.assignment.pairs_of(answer.person):
            # Without the id, which may tell who wrote the texts.
            raise BadInputError(f"this pair is not among those of {answer.person!r}; reload the page")
        order = self.assignment.order(answer.person, answer.pair_id)
        self._write(
            LabelLine(
                pair_id=answer.pair_id,
                person=answer.person,
                texts=self._given.texts_of(answer.pair_id),
                label=winner_of_choice(answer.choice, order),
                order=order,
                seconds=answer.seconds,
                reasons=answer.reasons.strip(),
                criteria=answer.criteria,
            )
        )

    def undo(self, person: str) -> str | None:
        """Undo a person's last label; the id of its pair, None if there was none.

        Raises:
            BadInputError: nobody has this name.
            StoppedError: the log cannot be written.
        """
        if person not in self.assignment.people:
            raise BadInputError(f"unknown person: {person!r}")
        with self._lock:
            last = self._given.last(person)
        if last is None:
            return None
        self._write(LabelLine(pair_id=last.pair_id, person=person, texts=self._given.texts_of(last.pair_id)))
        return last.pair_id

    def labelled_pairs(self) -> list[AuditedPair]:
        """The pairs with all labels: those of the log, whoever gave them, and those that came with the file."""
        with self._lock:
            return self._given.merged()

    def save(self) -> None:
        """Write the labels into the pairs file, whole or not at all.

        Raises:
            BadInputError: it cannot be written.
        """
        write_rows(self.path, self.labelled_pairs())

    def _write(self, line: LabelLine) -> None:
        with self._lock:
            self._log.append(line)
            self._log.sync()
            self._given.apply(line)


def texts_hash(pair: AuditedPair) -> str:
    """A short hash of a pair's prompt and texts."""
    texts = json.dumps([pair.request.request, pair.response_a, pair.response_b])
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def winner_of_choice(choice: Choice, order: Order) -> Winner:
    """The text that a person chose, by the order in which both were shown."""
    if choice == "tie":
        return "tie"
    return "a" if (choice == "first") == (order == "ab") else "b"


def _merge(pair: AuditedPair, lines: Sequence[LabelLine]) -> AuditedPair:
    """A pair whose labels, orders and notes by the people of `lines` are those of `lines`."""
    people = {it.person for it in lines}
    given = [it for it in lines if it.label is not None]
    fields = {
        "labels": {it.person: it.label for it in given},
        "label_orders": {it.person: it.order for it in given},
        "label_notes": {it.person: it.note for it in given if it.note},
    }
    values = pair.model_dump(exclude_none=True, exclude={"label"} if pair.labels else set())
    for name, of_log in fields.items():
        of_others = {person: it for person, it in values.pop(name, {}).items() if person not in people}
        if of_others or of_log:
            values[name] = of_others | of_log
    return AuditedPair.model_validate(values)
