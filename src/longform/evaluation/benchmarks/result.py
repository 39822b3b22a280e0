"""The result of a benchmark: its tables, and everything they depend on."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from longform.endpoints.models import ModelSpec
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.sets import hash_set
from longform.evaluation.tables import Column, Table, plain
from longform.records.files import write_rows, write_text
from longform.records.schemas import Game, Prompt, Row
from longform.version import __version__

OWN_WORDING = "longform's own"
RESULT = "result.json"
ANSWERS = "answers.jsonl"
GAMES = "games.jsonl"


class AnswerRow(Row):
    """One answer of the judge, or why it is missing."""

    about: tuple[str, ...]
    found: Any = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class SetVersion:
    """Which set it was."""

    name: str
    """Of the file or folder."""
    sha256: str
    prompts: int
    version: str | None
    """The name under which it is known."""

    @property
    def shown(self) -> str:
        """It in a few words."""
        known = f"{self.version}, " if self.version else ""
        return f"{self.name} ({known}sha256 {self.sha256[:12]}, {self.prompts} prompts)"


@dataclass(frozen=True, slots=True)
class ResponsesUsed:
    """Where the responses come from."""

    writer: str | None
    """None: from files."""
    settings: SamplingSettings | None
    files: Sequence[str]
    models: Mapping[str, int]
    """How many of each model."""
    cut: int = 0
    """How many prompts lost their middle to fit the writer's context."""
    think_prompt: str | None = None
    """Name and hash of a template of the user's own that asked for thoughts or tags."""


@dataclass(frozen=True, slots=True)
class JudgeUsed:
    """Who judged, and how it was asked."""

    name: str
    model: str
    address: str
    settings: Mapping[str, float]
    comparing: Mapping[str, float] | None
    """The settings of comparisons, where these are others."""
    wording: str
    """`longform's own`, or name and hash of a template."""


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's tables and what they depend on."""

    benchmark: str
    home: str
    set: SetVersion
    responses: ResponsesUsed
    judge: JudgeUsed | None
    deviations: Sequence[str]
    partial: Sequence[str]
    """What is missing, and why; empty where nothing is."""
    tables: Sequence[Table]
    cost: str
    """Of writing and judging, in words."""

    @property
    def shown_tables(self) -> list[Table]:
        """The tables as they are shown, with one n where all are the same; the first one says what they depend on and what
        is missing.
        """
        judge = f"; judge: {self.judge.name} ({self.judge.model}), wording: {self.judge.wording}" if self.judge else ""
        notes = [f"set: {self.set.shown}{judge}", *(f"partial: {gap}" for gap in self.partial)]
        if self.responses.cut:
            notes.append(f"cut in the middle to fit the writer's context: {self.responses.cut} prompts")
        first, *others = self.tables
        return [_share_counts(table) for table in (replace(first, notes=[*first.notes, *notes]), *others)]

    def as_json(self) -> dict[str, Any]:
        """The result as JSON has it; the rows of tables by the names of their columns."""
        shown = plain({it.name: getattr(self, it.name) for it in fields(self) if it.name != "tables"})
        tables = [
            {
                "title": table.title,
                "rows": [
                    {column.name: plain(cell) for column, cell in zip(table.columns, row, strict=True)}
                    for row in table.rows
                ],
                "notes": list(table.notes),
            }
            for table in self.tables
        ]
        return shown | {"longform": __version__, "tables": tables}


def describe_set(path: Path, card: BenchmarkCard, *, prompts: int, version: str | None) -> SetVersion:
    """The set at `path`."""
    return SetVersion(path.resolve().name, hash_set(path, card), prompts, version)


def _share_counts(table: Table) -> Table:
    """The table with one column n in place of several, where these agree in every row."""
    places = [place for place, column in enumerate(table.columns) if column.name.startswith("n ")]
    if not places or any(len({row[place] for place in places}) > 1 for row in table.rows):
        return table
    kept = [place for place in range(len(table.columns)) if place not in places]
    rows = [[*(row[place] for place in kept), row[places[0]]] for row in table.rows]
    return replace(table, columns=[*(table.columns[place] for place in kept), Column("n")], rows=rows)


def find_gaps(
    prompts: Sequence[Prompt], material: Material[Any], answers: Answers, unwritten: Mapping[str, int]
) -> list[str]:
    """What is missing, a line each: responses by model, and answers by cause.

    Args:
        prompts: all that a model is to respond to.
        material: the responses that there are.
        answers: the judge's.
        unwritten: why a writer's responses are missing: cause -> how many.
    """
    gaps = []
    for (model, sample), count in Counter((it.model, it.sample) for it in material.responses).items():
        if count < len(prompts):
            which = f", sample {sample}" if sample else ""
            gaps.append(f"{model}{which}: responses to {count} of {len(prompts)} prompts{_causes(unwritten)}")
    if answers.missing:
        asked = len(answers.found) + len(answers.missing)
        gaps.append(f"judge: {len(answers.found)} of {asked} answers{_causes(Counter(answers.missing.values()))}")
    return gaps


def _causes(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{cause} {count}" for cause, count in Counter(counts).most_common())
    return f"; missing: {named}" if named else ""


def _answer_rows(answers: Answers) -> list[AnswerRow]:
    """The answers as rows of a file, in the order of what they are about."""
    rows = [AnswerRow(about=about, found=found) for about, found in answers.found.items()]
    rows += [AnswerRow(about=about, missing=cause) for about, cause in answers.missing.items()]
    return sorted(rows, key=lambda row: row.about)


def describe_judge(name: str, spec: ModelSpec, card: BenchmarkCard, wording: JudgePrompt) -> JudgeUsed:
    """Who judged with a benchmark's settings."""
    asked = card.judging
    assert asked is not None
    template = wording.template
    said = OWN_WORDING if template is None else f"{template.name} (sha256 {template.sha256[:12]})"
    comparing = None if card.comparing is None else _describe_settings(card.comparing)
    return JudgeUsed(name, spec.model, spec.address, _describe_settings(asked), comparing, said)


def _describe_settings(settings: JudgeSettings) -> dict[str, float]:
    return {name: getattr(settings, name) for name in ("max_tokens", "temperature", "top_p", "retries")}


def write_result(out: Path, result: Result, answers: Answers, games: Sequence[Game]) -> None:
    """Write the result into the folder `out`, with the answers and the games behind it, if it has any.

    Raises:
        BadInputError: the folder cannot be written.
    """
    for name, rows in ((ANSWERS, _answer_rows(answers)), (GAMES, games)):
        if rows:
            write_rows(out / name, rows)
        else:
            (out / name).unlink(missing_ok=True)  # of an earlier command, with other responses
    write_text(out / RESULT, json.dumps(result.as_json(), ensure_ascii=False, indent=1) + "\n")
