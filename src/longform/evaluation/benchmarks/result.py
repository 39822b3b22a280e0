"""The result of a benchmark: its tables, and everything that determines them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from longform.endpoints.errors import describe_causes
from longform.endpoints.models import ModelSpec
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem
from longform.evaluation.benchmarks.sets import hash_set
from longform.evaluation.tables import Column, Table, plain, table_as_json
from longform.records.files import write_rows, write_text
from longform.records.schemas import Game, Grade, Prompt, Row
from longform.version import __version__

OWN_WORDING = "longform's own"
RESULT = "result.json"
ANSWERS = "answers.jsonl"
GAMES = "games.jsonl"
SCORES = "scores.jsonl"
"""Overall scores by prompt, as grades."""


class AnswerRow(Row):
    """An answer of the judge, or the cause of a missing one."""

    about: tuple[str, ...]
    value: Any = None
    missing: str | None = None
    calls: tuple[str, ...] | None = None
    """Hashes of the requests behind it; what the judge wrote is in the log of calls in the same folder."""


@dataclass(frozen=True, slots=True)
class SetVersion:
    """The data that was used."""

    name: str
    """Name of the file or folder."""
    sha256: str
    prompts: int
    version: str | None
    """Published version, if known."""

    @property
    def shown(self) -> str:
        """Short description."""
        known = f"{self.version}, " if self.version else ""
        return f"{self.name} ({known}sha256 {self.sha256[:12]}, {self.prompts} prompts)"


@dataclass(frozen=True, slots=True)
class ResponsesUsed:
    """Source of the responses."""

    writer: str | None
    """None: responses come from files."""
    settings: SamplingSettings | None
    files: Sequence[str]
    models: Mapping[str, int]
    """Number of responses by model."""
    cut: int = 0
    """Number of prompts truncated to fit the writer's context."""
    think_prompt: str | None = None
    """Name and hash of a custom think prompt."""


@dataclass(frozen=True, slots=True)
class JudgeUsed:
    """The judge and its settings."""

    name: str
    model: str
    address: str
    settings: Mapping[str, float]
    comparing: Mapping[str, float] | None
    """Settings of comparisons, if they differ."""
    wording: str
    """`longform's own`, or name and hash of a template."""


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's tables and everything that determines them."""

    benchmark: str
    home: str
    set: SetVersion
    responses: ResponsesUsed
    judge: JudgeUsed | None
    deviations: Sequence[str]
    partial: Sequence[str]
    """What is missing, and why; empty if the result is complete."""
    tables: Sequence[Table]
    cost: str
    """Cost of generation and judging, formatted."""

    @property
    def shown_tables(self) -> list[Table]:
        """The tables for display, with a single n column if all are equal; the first table notes the data, the judge
        and what is missing.
        """
        judge = f"; judge: {self.judge.name} ({self.judge.model}), wording: {self.judge.wording}" if self.judge else ""
        notes = [f"set: {self.set.shown}{judge}", *(f"partial: {gap}" for gap in self.partial)]
        if self.responses.cut:
            notes.append(f"truncated in the middle to fit the writer's context: {self.responses.cut} prompts")
        first, *others = self.tables
        return [_share_counts(table) for table in (replace(first, notes=[*first.notes, *notes]), *others)]

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; table rows are keyed by column name."""
        shown = plain({it.name: getattr(self, it.name) for it in fields(self) if it.name != "tables"})
        return shown | {"longform": __version__, "tables": list(map(table_as_json, self.tables))}


def describe_set(path: Path, card: BenchmarkCard, *, prompts: int, version: str | None) -> SetVersion:
    """Describe the data at `path`."""
    return SetVersion(path.resolve().name, hash_set(path, card), prompts, version)


def _share_counts(table: Table) -> Table:
    """Replace several n columns by one if they agree in every row."""
    indices = [index for index, column in enumerate(table.columns) if column.name.startswith("n ")]
    if not indices or any(len({row[index] for index in indices}) > 1 for row in table.rows):
        return table
    kept = [index for index in range(len(table.columns)) if index not in indices]
    rows = [[*(row[index] for index in kept), row[indices[0]]] for row in table.rows]
    return replace(table, columns=[*(table.columns[index] for index in kept), Column("n")], rows=rows)


def find_gaps(
    prompts: Sequence[Prompt], material: Material[Any], answers: Answers, unwritten: Mapping[str, int]
) -> list[str]:
    """List what is missing: responses by model, and answers by cause.

    Args:
        prompts: All prompts of the benchmark.
        material: Existing responses.
        answers: The judge's answers.
        unwritten: Causes of a writer's missing responses, with counts.
    """
    gaps = []
    for (model, sample), count in Counter((it.model, it.sample) for it in material.responses).items():
        if count < len(prompts):
            which = f", sample {sample}" if sample else ""
            gaps.append(f"{model}{which}: responses to {count} of {len(prompts)} prompts{_causes(unwritten)}")
    if answers.missing:
        asked = len(answers.values) + len(answers.missing)
        gaps.append(f"judge: {len(answers.values)} of {asked} answers{_causes(Counter(answers.missing.values()))}")
    return gaps


def _causes(counts: Mapping[str, int]) -> str:
    named = describe_causes(counts)
    return f"; missing: {named}" if named else ""


def answer_rows(answers: Answers) -> list[AnswerRow]:
    """Return the answers as rows, sorted by key."""
    calls = answers.calls
    rows = [AnswerRow(about=it, value=value, calls=calls.get(it)) for it, value in answers.values.items()]
    rows += [AnswerRow(about=it, missing=cause, calls=calls.get(it)) for it, cause in answers.missing.items()]
    return sorted(rows, key=lambda row: row.about)


def describe_judge(name: str, spec: ModelSpec, card: BenchmarkCard, wording: JudgePrompt) -> JudgeUsed:
    """Describe the judge and the settings used for a benchmark."""
    asked = card.judging
    assert asked is not None
    template = wording.template
    described = OWN_WORDING if template is None else f"{template.name} (sha256 {template.sha256[:12]})"
    comparing = None if card.comparing is None else _describe_settings(card.comparing)
    return JudgeUsed(name, spec.model, spec.address, _describe_settings(asked), comparing, described)


def _describe_settings(settings: JudgeSettings) -> dict[str, float]:
    return {name: getattr(settings, name) for name in ("max_tokens", "temperature", "top_p", "retries")}


def score_rows(scored: Sequence[ScoredItem]) -> list[Grade]:
    """Return the mean value of each model's items on each prompt."""
    values: dict[tuple[str, str], list[float]] = {}
    for it in scored:
        values.setdefault((it.prompt_id, it.model), []).extend(it.values.values())
    return [Grade(prompt_id=prompt, model=model, score=fmean(it)) for (prompt, model), it in values.items()]


def write_result(out: Path, result: Result, answers: Answers, games: Sequence[Game], scores: Sequence[Grade]) -> None:
    """Write the result into the folder `out`, with answers, games and scores by prompt if there are any.

    Raises:
        BadInputError: the folder cannot be written.
    """
    for name, rows in ((ANSWERS, answer_rows(answers)), (GAMES, games), (SCORES, scores)):
        if rows:
            write_rows(out / name, rows)
        else:
            (out / name).unlink(missing_ok=True)  # left over from a call with other responses
    write_text(out / RESULT, json.dumps(result.as_json(), ensure_ascii=False, indent=1) + "\n")
