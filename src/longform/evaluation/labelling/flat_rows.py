"""Rows of other tools that have texts and labels side by side, as the nested tasks or records that the same tools write.

- Label Studio's JSON_MIN: one row for each annotation, with the choice under the name of its control.
- Argilla, as a data set or flattened: columns `QUESTION.responses`, `QUESTION.responses.users` and `.status` (version 2), or
  a column of the question with `user_id`, `value` and `status` (version 1).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

TEXTS = ("prompt", "response_a", "response_b")
_ANSWERS = ".responses"
_ABOUT_ANNOTATIONS = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "model_a", "model_b")
)


def is_flat(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of these, rather than a pair of ours."""
    return set(TEXTS) <= row.keys() and (_is_annotation(row) or bool(_responses(row)))


def nest(rows: Sequence[Any], *, choices: Collection[str]) -> list[Any]:
    """The rows with those of these forms as tasks and records; annotations of one task become one row.

    Args:
        rows: All rows of a file.
        choices: Values that a control or question about the better text may have.
    """
    nested: list[Any] = []
    tasks: dict[str, dict[str, Any]] = {}
    for row in rows:
        if not isinstance(row, dict) or not is_flat(row):
            nested.append(row)
        elif _is_annotation(row):
            name = json.dumps([row.get("id"), *_texts(row).values()])
            if name not in tasks:
                tasks[name] = {"id": row.get("id"), "data": _texts(row), "meta": _models(row), "annotations": []}
                nested.append(tasks[name])
            tasks[name]["annotations"].append(_annotation(row, choices))
        else:
            nested.append(_record(row))
    return nested


def _is_annotation(row: Mapping[str, Any]) -> bool:
    return "annotation_id" in row and "annotator" in row


def _annotation(row: Mapping[str, Any], choices: Collection[str]) -> dict[str, Any]:
    """An annotation with the results that may be about the better text."""
    results = [
        {"from_name": name, "value": value}
        for name, given in row.items()
        if name not in _ABOUT_ANNOTATIONS and name not in TEXTS and (value := _value(given, choices))
    ]
    return {
        "id": row["annotation_id"],
        "completed_by": row["annotator"],
        "updated_at": row.get("updated_at"),
        "result": results,
    }


def _value(given: Any, choices: Collection[str]) -> dict[str, Any] | None:
    """The value of a result: JSON_MIN leaves the choice alone if there is one."""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if isinstance(given, dict):
        return given if "choices" in given or "selected" in given else None
    return {"choices": [given]} if str(given).strip().lower() in choices else None


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    metadata = row.get("metadata")
    if isinstance(metadata, str):  # of a data set of version 1
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError):
            metadata = None
    flat = {name: value for name, value in row.items() if name.startswith("longform_")} | _models(row)
    return {
        "id": row.get("id"),
        "external_id": row.get("external_id"),
        "fields": _texts(row),
        "metadata": flat | (metadata if isinstance(metadata, dict) else {}),
        "responses": _responses(row),
    }


def _responses(row: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The answers by question."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, value in row.items():
        users = row.get(f"{name}.users")
        if name.endswith(_ANSWERS) and f"{name}.users" in row:
            states = row.get(f"{name}.status") or []
            values = value if isinstance(value, list) else []
            users = users if isinstance(users, list) else []
            found[name.removesuffix(_ANSWERS)] = [
                {
                    "value": it,
                    "user_id": users[index] if index < len(users) else None,
                    "status": states[index] if index < len(states) else None,
                }
                for index, it in enumerate(values)
            ]
            continue
        answers = _rows_of_columns(value)
        if answers and all(isinstance(answer, dict) and {"user_id", "value"} <= answer.keys() for answer in answers):
            found[name] = answers
    return found


def _rows_of_columns(value: Any) -> list[Any]:
    """A list of objects, which data sets also store as an object of lists."""
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=False)]
    return value if isinstance(value, list) else []


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in TEXTS}


def _models(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model_a", "model_b") if row.get(name)}
