"""The labels that people gave: an append-only log beside the pairs file, and the pairs file with its labels.

Every choice is one line of the log, on the disk before the next pair is shown; so is taking one back. The pairs file gets
the labels at the end, and whenever labelling begins: the fields `labels` {person: a, b or tie}, `label_orders` {person: ab
or ba, which text was shown first} and `label_notes` {person: reasons}.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.labelling.assignment import Assignment
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_all, write_rows
from longform.records.schemas import Order, Row, Winner

LOG_SUFFIX = ".labels.jsonl"
Choice = Literal["first", "second", "tie"]
"""What a person chose, by the place on the page."""


class LabelLine(Row):
    """One line of the log: a choice, or taking back the last one."""

    pair_id: str
    person: str
    label: Winner | None = None
    """By the text, whatever its place; None takes the label back."""
    order: Order = "ab"
    seconds: float = Field(default=0.0, ge=0)
    """Between showing the pair and the choice."""
    reasons: str = ""
    criteria: list[str] = Field(default_factory=list)
    """Criteria that decided, of those of the pair."""


class Answer(BaseModel):
    """What a person sends for a pair."""

    model_config = ConfigDict(extra="forbid")
    person: str
    pair_id: str
    choice: Choice
    seconds: float = Field(ge=0, le=1e7)
    reasons: str = Field(default="", max_length=20_000)
    criteria: list[str] = Field(default_factory=list, max_length=50)


class LabelStore:
    """The labels of one pairs file.

    Args:
        path: Pairs file.
        pairs: Its rows.
        assignment: Who labels which pairs, in which order.

    Raises:
        BadInputError: the log cannot be read.
    """

    def __init__(self, path: Path, pairs: Sequence[AuditedPair], assignment: Assignment) -> None:
        self.path, self.assignment = path, assignment
        self.log_path = path.with_name(path.name + LOG_SUFFIX)
        self.pairs: Mapping[str, AuditedPair] = {it.id: it for it in pairs}
        self._lock = threading.Lock()
        self._labels: dict[str, dict[str, LabelLine]] = {person: {} for person in assignment.people}
        """By person and pair, in the order in which they were given."""
        self._read_log()

    def next_pair(self, person: str) -> AuditedPair | None:
        """The first pair of a person without a label; None if there is none left.

        Raises:
            KeyError: nobody has this name.
        """
        given = self._labels[person]
        return next((self.pairs[it] for it in self.assignment.pairs_of(person) if it not in given), None)

    def count(self, person: str) -> tuple[int, int]:
        """How many pairs a person has labelled, and how many are assigned."""
        assigned = self.assignment.pairs_of(person)
        return sum(it in self._labels[person] for it in assigned), len(assigned)

    def add(self, answer: Answer) -> None:
        """Store a choice durably; a second one about the same pair replaces the first.

        Raises:
            BadInputError: the person or the pair is unknown.
            StoppedError: the log cannot be written.
        """
        if answer.person not in self._labels or answer.pair_id not in self.assignment.pairs_of(answer.person):
            raise BadInputError(f"{answer.person!r} has no pair {answer.pair_id!r}")
        order = self.assignment.order(answer.person, answer.pair_id)
        label = winner_of_choice(answer.choice, order)
        self._write(
            LabelLine(
                pair_id=answer.pair_id,
                person=answer.person,
                label=label,
                order=order,
                seconds=answer.seconds,
                reasons=answer.reasons.strip(),
                criteria=answer.criteria,
            )
        )

    def undo(self, person: str) -> str | None:
        """Take a person's last label back; the id of its pair, None if there was none.

        Raises:
            BadInputError: nobody has this name.
            StoppedError: the log cannot be written.
        """
        if person not in self._labels:
            raise BadInputError(f"nobody is called {person!r}")
        with self._lock:
            last = next(reversed(self._labels[person].values()), None)
        if last is None:
            return None
        self._write(LabelLine(pair_id=last.pair_id, person=person))
        return last.pair_id

    def labelled_pairs(self) -> list[AuditedPair]:
        """The pairs with all labels, old and new."""
        return [self._with_labels(pair) for pair in self.pairs.values()]

    def save(self) -> None:
        """Write the labels into the pairs file, whole or not at all.

        Raises:
            BadInputError: it cannot be written.
        """
        write_rows(self.path, self.labelled_pairs())

    def _with_labels(self, pair: AuditedPair) -> AuditedPair:
        given = {person: labels[pair.id] for person, labels in self._labels.items() if pair.id in labels}
        if not given:
            return pair
        labels = dict(pair.labels or {}) | {person: it.label for person, it in given.items() if it.label is not None}
        orders = dict(pair.label_orders or {}) | {person: it.order for person, it in given.items()}
        notes = dict(pair.label_notes or {}) | {person: note for person, it in given.items() if (note := _note(it))}
        values = pair.model_dump(exclude_none=True, exclude={"label"} if pair.labels else set())
        return AuditedPair.model_validate(
            values | {"labels": labels, "label_orders": orders} | ({"label_notes": notes} if notes else {})
        )

    def _write(self, line: LabelLine) -> None:
        with self._lock:
            try:
                with self.log_path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line.model_dump(), ensure_ascii=False) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise StoppedError(f"{self.log_path}: cannot be written: {error.strerror}") from error
            self._apply(line)

    def _apply(self, line: LabelLine) -> None:
        labels = self._labels.get(line.person)
        if labels is None or line.pair_id not in self.pairs:
            return  # of a person or a pair that is not asked for this time
        labels.pop(line.pair_id, None)
        if line.label is not None:
            labels[line.pair_id] = line

    def _read_log(self) -> None:
        if not self.log_path.exists() or not self.log_path.stat().st_size:
            return
        whole = self.log_path.read_bytes()
        if not whole.endswith(b"\n"):  # the process ended within a line
            self.log_path.write_bytes(whole[: whole.rfind(b"\n") + 1])
        for line in read_all([self.log_path], LabelLine):
            self._apply(line)


def winner_of_choice(choice: Choice, order: Order) -> Winner:
    """The text that a person chose, by the order in which both were shown."""
    if choice == "tie":
        return "tie"
    return "a" if (choice == "first") == (order == "ab") else "b"


def _note(line: LabelLine) -> str:
    return "; ".join(filter(None, [", ".join(line.criteria), line.reasons]))
