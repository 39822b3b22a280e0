"""Files of results as pages: responses, grades, ladders, games and pairs, with the texts behind each row.

A file's kind follows from the fields of its first row. Texts of other files are joined by prompt and model: the responses
that were graded, the request of a response. Files of the same folder come first; a text of another folder is shown with the
name of its file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from longform.evaluation.tables import ShownTable, format_table, stored_table
from longform.records.errors import BadInputError
from longform.records.recorded_calls import RecordedCall
from longform.records.row_kinds import RowKind, kind_of_row
from longform.records.tables import raw_rows, read_fields
from longform.report.rollouts import ShownCall, calls_by_hash, show_calls

ContentKind = RowKind | Literal["rows", "result"]
_LONG = 80
"""Minimum number of characters of a value to be shown as a text."""
_MALFORMED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a field of an unexpected type raises."""
MAX_JOINED = 64
"""Maximum number of files of a folder to search for texts."""


class RowText(NamedTuple):
    """A text of a row, with what is known about it."""

    title: str
    text: str


class ShownRow(NamedTuple):
    """One row as a page shows it."""

    title: str
    facts: dict[str, str]
    request: str | None
    texts: list[RowText]
    calls: list[ShownCall] = []  # noqa: RUF012 (an empty list that nobody changes)
    """What the judges answered."""


class RowPage(NamedTuple):
    """Some rows of a file."""

    rows: list[ShownRow]
    more: bool
    """Whether the file has further rows."""


def kind_of_file(path: Path) -> ContentKind | None:
    """What a file holds, by its first row; None for other files, and for those that cannot be read."""
    if path.suffix == ".json":
        return "result" if read_result(path) else None
    row = next(_rows(path), None)
    if row is None:
        return None
    return kind_of_row(row) or "rows"


def read_page(
    path: Path,
    kind: ContentKind,
    *,
    find: str = "",
    offset: int = 0,
    limit: int = 20,
    others: Mapping[str, Path] = MappingProxyType({}),
) -> RowPage:
    """Read some rows of a file.

    Args:
        path: The file.
        kind: What it holds.
        find: Only rows that have this text in any field, without regard to case.
        offset, limit: The page, among the rows that are found.
        others: Further files that may have the texts, by their names.
    """
    wanted = find.casefold()
    found = (row for row in _rows(path) if not wanted or wanted in json.dumps(row, ensure_ascii=False).casefold())
    rows = list(islice(found, offset, offset + limit + 1))
    joined = (
        _Joined.of(path, rows[:limit], others) if kind in ("grades", "games", "responses", "rows") else _Joined({}, {})
    )
    answers = _calls_behind(path, rows[:limit])
    shown = [_shown(row, kind, joined)._replace(calls=_show_answers(row, answers)) for row in rows[:limit]]
    return RowPage(shown, len(rows) > limit)


def read_result(path: Path) -> list[ShownTable]:
    """The tables of a benchmark's `result.json`; empty if it is none."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))["tables"]
        return [format_table(stored_table(it)) for it in tables]
    except _MALFORMED:
        return []


def _hashes(row: Mapping[str, Any]) -> dict[str, str]:
    """The requests behind a row, of a grade or a game, or of all answers about a pair; with what was asked."""
    asked = row.get("asked")
    answers = [it for it in asked if isinstance(it, dict)] if isinstance(asked, list) else []
    lists = [(row.get("calls"), ""), *((it.get("calls"), _question(it)) for it in answers)]
    return {it: what for calls, what in lists if isinstance(calls, list) for it in calls if isinstance(it, str)}


def _question(answer: Mapping[str, Any]) -> str:
    """Which question about a pair a judge answered: the order of the texts, a repeat, a line that was added to one."""
    first = {"ab": "response a first", "ba": "response b first"}.get(str(answer.get("order")), "")
    repeat = f"repeat {answer['sample']}" if answer.get("sample") else ""
    line = f"with the line {str(answer['line'])!r} in the worse text" if answer.get("line") else ""
    return ", ".join(filter(None, (first, repeat, line)))


def _show_answers(row: Mapping[str, Any], answers: Mapping[str, list[RecordedCall]]) -> list[ShownCall]:
    return [
        call._replace(question=what) for hash_, what in _hashes(row).items() for call in show_calls([hash_], answers)
    ]


def _calls_behind(path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[RecordedCall]]:
    """The recorded calls of rows; none where no log is beside the file, or in its folder as that of a benchmark is."""
    hashes = [hash_ for row in rows for hash_ in _hashes(row)]
    for place in (path, path.parent):
        try:
            if found := calls_by_hash(place, hashes):
                return found
        except BadInputError:
            continue
    return {}


class _Joined(NamedTuple):
    """Texts of the other files of a folder."""

    requests: Mapping[str, str]
    """By prompt."""
    texts: Mapping[tuple[str, str, str], tuple[str, str]]
    """By prompt, model and sample: the text, and the name of its file if that is in another folder."""

    @classmethod
    def of(cls, path: Path, rows: list[dict[str, Any]], others: Mapping[str, Path]) -> "_Joined":
        """The requests and responses of these rows, from files in the same folder, else from others."""
        ids = {str(id_) for row in rows if (id_ := row.get("prompt_id")) is not None}
        ids |= {about[0] for row in rows if (about := _about(row))}
        if not ids:
            return cls({}, {})
        requests: dict[str, str] = {}
        texts: dict[tuple[str, str, str], tuple[str, str]] = {}
        beside = sorted(path.parent.glob("*.jsonl"))[:MAX_JOINED]
        elsewhere = [(it, name) for name, it in others.items() if it not in beside][:MAX_JOINED]
        for other, place in [*((it, "") for it in beside), *elsewhere]:
            for row in _rows(other):
                if "prompt" in row and str(row.get("id")) in ids:
                    requests.setdefault(str(row["id"]), _request(row["prompt"]))
                elif "text" in row and str(row.get("prompt_id")) in ids:
                    key = str(row["prompt_id"]), str(row.get("model")), str(row.get("sample") or 0)
                    texts.setdefault(key, (str(row["text"]), place))
                elif "prompt" not in row and "text" not in row:
                    break  # no file of texts
        return cls(requests, texts)

    def text(self, row: Mapping[str, Any], model: str) -> RowText:
        """The text that a model wrote for the prompt of a row."""
        name = str(row.get(model))
        text, place = self.texts.get(
            (str(row["prompt_id"]), name, str(row.get("sample") or 0)),
            ("(its text is in no file here; name the folder of the responses, too)", ""),
        )
        return RowText(f"{name}, of {place}" if place else name, text)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that are objects; what cannot be read ends them."""
    try:
        for row in raw_rows(path):
            fields = read_fields(row)
            if fields is None:
                return
            yield fields
    except BadInputError:
        return


def _shown(row: dict[str, Any], kind: ContentKind, joined: _Joined) -> ShownRow:
    """A row by its kind; one whose fields are of other types than its kind's is shown as it is."""
    try:
        return _shown_as(row, kind, joined)
    except _MALFORMED:
        return _shown_as(row, "rows", joined)


def _shown_as(row: dict[str, Any], kind: ContentKind, joined: _Joined) -> ShownRow:
    match kind:
        case "ladders":
            references = [it for it in row["references"] if isinstance(it, dict)]
            texts = [
                RowText(f"{it.get('model')}, score {_number(it.get('score'))}", str(it.get("text")))
                for it in references
            ]
            facts = {"potential": _number(row.get("potential")), "policy's score": _number(row.get("policy_score"))}
            return ShownRow(str(row["id"]), facts, _request(row["prompt"]), texts)
        case "pairs":
            texts = [
                RowText(
                    f"response {it}" + (f", {row[f'model_{it}']}" if row.get(f"model_{it}") else ""),
                    str(row[f"response_{it}"]),
                )
                for it in ("a", "b")
            ]
            return ShownRow(str(row["id"]), _judged(row), _request(row["prompt"]), texts)
        case "games":
            names = {"a": str(row["model_a"]), "b": str(row["model_b"])}
            facts = {
                "winner": names.get(row["winner"], str(row["winner"])),
                "judge": str(row.get("judge") or ""),
                "read first": names.get(str(row.get("order") or "")[:1], ""),
            }
            texts = [joined.text(row, it) for it in ("model_a", "model_b")]
            title = f"{row['prompt_id']}: {row['model_a']} against {row['model_b']}"
            return ShownRow(title, _known(facts), joined.requests.get(str(row["prompt_id"])), texts)
        case "grades":
            facts = {"score": _number(row["score"]), "judge": str(row.get("judge") or "")}
            dimensions = row.get("dimensions")
            facts |= {str(name): _number(it) for name, it in dimensions.items()} if isinstance(dimensions, dict) else {}
            title = f"{row['prompt_id']}: {row['model']}"
            return ShownRow(
                title, _known(facts), joined.requests.get(str(row["prompt_id"])), [joined.text(row, "model")]
            )
        case "responses":
            facts = {"sample": str(row.get("sample") or 0), "ended": str(row.get("finish_reason") or "")}
            title = f"{row['prompt_id']}: {row['model']}"
            texts = [RowText(str(row["model"]), str(row["text"]))]
            return ShownRow(title, _known(facts), joined.requests.get(str(row["prompt_id"])), texts)
        case "prompts":
            facts = {name: _plain(it) for name, it in row.items() if name not in ("id", "prompt")}
            return ShownRow(str(row["id"]), _known(facts), _request(row["prompt"]), [])
        case "rows" if (about := _about(row)) is not None:
            facts = {name: _plain(row[name]) for name in ("value", "missing") if row.get(name) is not None}
            texts = [
                RowText(f"{key[1]}, of {place}" if place else key[1], text)
                for key, (text, place) in joined.texts.items()
                if key[0] == about[0] and key[1] in about[1:] and key[2] in (*about[2:], "0")
            ]
            return ShownRow(": ".join(about), facts, joined.requests.get(about[0]), texts)
        case "preferences" | "rows" | "result":
            plain = {str(name): _plain(it) for name, it in row.items()}
            long = {name: text for name, text in plain.items() if len(text) > _LONG or "\n" in text}
            facts = {name: text for name, text in plain.items() if name not in long}
            title = plain.get("id") or plain.get("prompt_id") or ""
            return ShownRow(title, _known(facts), None, [RowText(name, text) for name, text in long.items()])


def _about(row: Mapping[str, Any]) -> list[str] | None:
    """What an answer of a benchmark's judge is about, prompt and model first; None for other rows."""
    about = row.get("about")
    return about if isinstance(about, list) and about and all(isinstance(it, str) for it in about) else None


def _judged(row: Mapping[str, Any]) -> dict[str, str]:
    """The labels and verdicts of a pair, by person or judge."""
    facts = {"label": str(row.get("label") or "")}
    labels, notes, verdicts = row.get("labels"), row.get("label_notes"), row.get("verdicts")
    if isinstance(labels, dict):
        facts |= {f"label of {person}": str(label) for person, label in labels.items()}
    if isinstance(notes, dict):
        facts |= {f"reasons of {person}": str(note) for person, note in notes.items()}
    if isinstance(verdicts, dict):
        for judge, orders in verdicts.items():
            if isinstance(orders, dict):
                facts[f"{judge}"] = ", ".join(f"{order}: {winner or 'none'}" for order, winner in orders.items())
    return _known(facts)


def _known(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if value}


def _request(prompt: Any) -> str:
    """A prompt as text: a conversation's turns, one after the other."""
    if isinstance(prompt, list):
        return "\n\n".join(f"{it.get('role')}: {it.get('content')}" for it in prompt if isinstance(it, dict))
    return str(prompt)


def _plain(value: Any) -> str:
    """A value of any kind as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
