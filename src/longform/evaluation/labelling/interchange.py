"""Pairs and labels to and from the JSON of Argilla and Label Studio.

- Label Studio: a list of tasks whose `data` has `prompt`, `response_a` and `response_b`; a label is the choice (`a`, `b`,
  `tie`, or `left` and `right`) in a result of an annotation, by `completed_by`.
- Argilla: a list of records with `fields` of the same names and `responses` by person to the question `preference`; also the
  older form with `inputs` and `annotation`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from longform.evaluation.audit.pairs import AuditedPair
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.schemas import Winner

LabelFormat = Literal["argilla", "label-studio"]
QUESTION = "preference"
_FIELDS = ("prompt", "response_a", "response_b")
_VALUES: Mapping[str, Winner] = {
    "a": "a",
    "b": "b",
    "tie": "tie",
    "left": "a",
    "right": "b",
    "response_a": "a",
    "response_b": "b",
    "equal": "tie",
    "1": "a",
    "2": "b",
    "0": "tie",
}


def export_pairs(pairs: Sequence[AuditedPair], path: Path, form: LabelFormat) -> None:
    """Write pairs with their labels as one JSON file.

    Raises:
        BadInputError: the file cannot be written.
    """
    rows = [_to_label_studio(it) if form == "label-studio" else _to_argilla(it) for it in pairs]
    write_text(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def import_pairs(path: Path) -> list[AuditedPair]:
    """Read pairs with their labels; the format is recognised.

    Raises:
        BadInputError: the file is no JSON list of tasks or records, or one of them lacks a text or has an unknown choice.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInputError(f"{path}: not JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise BadInputError(f"{path}: must be a list of tasks (Label Studio) or records (Argilla)")
    return [_read(row, f"{path}: item {number}", number) for number, row in enumerate(rows, 1)]


def _read(row: Any, place: str, number: int) -> AuditedPair:
    data = next(
        (row[it] for it in ("data", "fields", "inputs") if isinstance(row, dict) and isinstance(row.get(it), dict)),
        None,
    )
    if data is None:
        raise BadInputError(f"{place}: has neither `data` (Label Studio) nor `fields` (Argilla)")
    if missing := [it for it in _FIELDS if not data.get(it)]:
        raise BadInputError(f"{place}: {missing[0]}: missing")
    labels = _label_studio_labels(row, place) if "data" in row else _argilla_labels(row, place)
    meta = row.get("metadata") or row.get("meta") or {}
    id_ = str(data.get("id") or row.get("id") or row.get("external_id") or number)
    values = {"id": id_, **{it: data[it] for it in _FIELDS}}
    values |= {it: meta[it] for it in ("model_a", "model_b") if isinstance(meta, dict) and meta.get(it)}
    try:
        return AuditedPair.model_validate(values | ({"labels": labels} if labels else {}))
    except ValidationError as error:
        raise BadInputError(f"{place}: {error.errors()[0]['msg']}") from error


def _label_studio_labels(row: Mapping[str, Any], place: str) -> dict[str, Winner]:
    labels: dict[str, Winner] = {}
    for annotation in row.get("annotations") or row.get("completions") or ():
        if annotation.get("was_cancelled"):
            continue
        by = annotation.get("completed_by", annotation.get("id", "annotator"))
        person = str(by.get("email") or by.get("id")) if isinstance(by, dict) else str(by)
        for result in annotation.get("result") or ():
            value = result.get("value") or {}
            chosen = value.get("choices") or ([value["selected"]] if "selected" in value else [])
            if chosen:
                labels[person] = _winner(chosen[0], place)
    return labels


def _argilla_labels(row: Mapping[str, Any], place: str) -> dict[str, Winner]:
    labels: dict[str, Winner] = {}
    responses = row.get("responses")
    if isinstance(responses, dict):  # {question: [{value, user_id}]}
        given = [(it.get("user_id"), it.get("value")) for it in responses.get(QUESTION) or ()]
    else:  # [{user_id, values: {question: {value}}, status}]
        given = [
            (it.get("user_id"), (it.get("values") or {}).get(QUESTION, {}).get("value"))
            for it in responses or ()
            if it.get("status", "submitted") == "submitted"
        ]
    if row.get("annotation") is not None:
        given.append((row.get("annotation_agent"), row["annotation"]))
    for person, value in given:
        if value is not None:
            labels[str(person or "annotator")] = _winner(value, place)
    return labels


def _winner(value: Any, place: str) -> Winner:
    found = _VALUES.get(str(value).strip().lower())
    if found is None:
        raise BadInputError(f"{place}: the choice {value!r} is none of {', '.join(_VALUES)}")
    return found


def _to_label_studio(pair: AuditedPair) -> dict[str, Any]:
    annotations = [
        {
            "completed_by": person,
            "result": [{"from_name": QUESTION, "to_name": "texts", "type": "choices", "value": {"choices": [label]}}],
        }
        for person, label in (pair.labels or {}).items()
    ]
    return {"data": _texts(pair), "meta": _models(pair), "annotations": annotations}


def _to_argilla(pair: AuditedPair) -> dict[str, Any]:
    responses = [
        {"user_id": person, "values": {QUESTION: {"value": label}}, "status": "submitted"}
        for person, label in (pair.labels or {}).items()
    ]
    fields = {name: text for name, text in _texts(pair).items() if name != "id"}
    return {"id": pair.id, "fields": fields, "metadata": _models(pair), "responses": responses}


def _texts(pair: AuditedPair) -> dict[str, str]:
    return {"id": pair.id, "prompt": pair.request.request, "response_a": pair.response_a, "response_b": pair.response_b}


def _models(pair: AuditedPair) -> dict[str, str]:
    return {name: value for name in ("model_a", "model_b") if (value := getattr(pair, name))}
