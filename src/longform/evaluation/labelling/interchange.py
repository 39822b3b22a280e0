"""Pairs and labels to and from the JSON of Argilla and Label Studio.

- Label Studio: a list of tasks whose `data` has `prompt`, `response_a` and `response_b`; a label is the choice (`a`, `b`,
  `tie`, or `left` and `right`) of the control `preference` in an annotation, or of the only control with choices. An
  annotation names its author as a number or an e-mail address, which Label Studio must know on import.
- Argilla: a list of records with `fields` of the same names and `responses` to the question `preference`, or to the only
  question; also the forms of earlier versions. A response names its author by a UUID.
- Both also write rows without nesting, which `flat_rows` describes.

Authors with other names cannot be given to these tools. Their names stay in the result (Label Studio) or in `metadata`
(Argilla), where importing finds them. So do a pair's other fields, such as its weight and the verdicts of judges.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.labelling.flat_rows import TEXTS, nest
from longform.records.adapting import replace_surrogates
from longform.records.errors import BadInputError
from longform.records.files import describe_first_error, write_text
from longform.records.schemas import Winner
from longform.records.tables import read_text_file

LabelFormat = Literal["argilla", "label-studio"]
QUESTION = "preference"
_PERSON = "longform_person"
"""Of a result of Label Studio: the author's name, if Label Studio cannot know it."""
_LABELS = "longform_labels"
"""Of the metadata of a record of Argilla: the labels by people without a UUID, as JSON."""
_PAIR = "longform_pair"
"""Of the meta or metadata: the other fields of a pair as JSON, without which a sample would lose its weights."""
_SHOWN_ELSEWHERE = {"id", *TEXTS, "labels", "model_a", "model_b"}
"""Fields of a pair that have places of their own."""
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
        BadInputError: the file exists or cannot be written.
    """
    check_target(path)
    rows = [_to_label_studio(it) if form == "label-studio" else _to_argilla(it) for it in pairs]
    write_text(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def check_target(path: Path) -> None:
    """Refuse to overwrite a file by an export.

    Raises:
        BadInputError: it exists.
    """
    if path.exists():
        raise BadInputError(f"--export {path}: exists; name a new file")


def import_pairs(path: Path) -> list[AuditedPair]:
    """Read pairs with their labels; the format is recognised.

    Raises:
        BadInputError: the file is no JSON list of tasks or records, one of them is malformed, lacks a text or has an unknown
            choice, or two have the same id.
    """
    rows = _read_json(path)
    if path.suffix == ".jsonl" and isinstance(rows, dict):
        rows = [rows]
    if not isinstance(rows, list) or not rows:
        raise BadInputError(f"{path}: must be a list of tasks (Label Studio) or records (Argilla)")
    pairs: dict[str, AuditedPair] = {}
    for number, row in enumerate(nest(rows, choices=_VALUES), 1):
        pair = _read(row, f"{path}: item {number}", number)
        if pair.id in pairs:
            first = list(pairs).index(pair.id) + 1
            raise BadInputError(f"{path}: item {number}: id {pair.id!r}: duplicate, first in item {first}")
        pairs[pair.id] = pair
    return list(pairs.values())


def _read_json(path: Path) -> Any:
    """The content of a JSON file, or the rows of one with an object per line; lone surrogates are replaced.

    Raises:
        BadInputError: it cannot be read, or is not JSON.
    """
    text = read_text_file(path)
    try:
        try:
            content = json.loads(text)
        except ValueError:
            lines = [line for line in text.split("\n") if line.strip()]
            if len(lines) < 2 or not lines[0].lstrip().startswith("{"):
                raise
            content = list(map(json.loads, lines))
        return json.loads(replace_surrogates(json.dumps(content, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: not JSON: {error}") from error


def _read(row: Any, location: str, number: int) -> AuditedPair:
    item = _object(row, location)
    kind = next((it for it in ("data", "fields", "inputs") if item.get(it) is not None), None)
    if kind is None:
        raise BadInputError(f"{location}: has neither `data` (Label Studio) nor `fields` (Argilla)")
    data = _object(item[kind], f"{location}: {kind}")
    if missing := [it for it in TEXTS if not data.get(it)]:
        raise BadInputError(f"{location}: {missing[0]}: missing")
    meta = _object(item.get("metadata") or item.get("meta"), f"{location}: metadata")
    labels = _label_studio_labels(item, location) if kind == "data" else _argilla_labels(item, meta, location)
    id_ = str(data.get("id") or item.get("id") or item.get("external_id") or number)
    values = _other_fields(meta, location) | {"id": id_} | {name: data[name] for name in TEXTS}
    values |= {it: meta[it] for it in ("model_a", "model_b") if meta.get(it)}
    try:
        return AuditedPair.model_validate(values | ({"labels": labels} if labels else {}))
    except ValidationError as error:
        raise BadInputError(f"{location}: {describe_first_error(error)}") from error


def _label_studio_labels(item: Mapping[str, Any], location: str) -> dict[str, Winner]:
    annotations = _objects(item.get("annotations") or item.get("completions"), f"{location}: annotations")
    given: list[tuple[str, str, Any]] = []  # control, person, choice
    for annotation in sorted(annotations, key=_when):  # of several by one person, the last counts
        if annotation.get("was_cancelled"):
            continue
        by = annotation.get("completed_by")
        if by is None:  # somebody who left
            by = annotation.get("id", "annotator")
        person = str(by.get("email") or by.get("id") or "annotator") if isinstance(by, dict) else str(by)
        for result in _objects(annotation.get("result"), f"{location}: annotations: result"):
            value = _object(result.get("value"), f"{location}: annotations: result: value")
            chosen = value.get("choices") or value.get("selected")
            if chosen:
                given.append((str(result.get("from_name") or ""), str(result.get(_PERSON) or person), chosen))
    question = _question_of([control for control, _, _ in given], location, "controls with choices")
    return {person: _winner(choice, location) for control, person, choice in given if control == question}


def _when(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _argilla_labels(item: Mapping[str, Any], meta: Mapping[str, Any], location: str) -> dict[str, Winner]:
    responses, given = item.get("responses"), list[tuple[str, Any, Any]]()  # question, person, value
    where = f"{location}: responses"
    if isinstance(responses, dict):  # {question: [{value, user_id}]}
        for question, answers in responses.items():
            for it in _objects(answers, f"{where}: {question}"):
                if _is_submitted(it):
                    given.append((question, it.get("user_id"), it.get("value")))
    else:  # [{user_id, values: {question: {value}}, status}]
        for it in _objects(responses, where):
            if not _is_submitted(it):
                continue
            for question, answer in _object(it.get("values"), f"{where}: values").items():
                given.append((question, it.get("user_id"), _object(answer, f"{where}: {question}").get("value")))
    given = [it for it in given if it[2] is not None]
    question = _question_of([it[0] for it in given], location, "questions")
    labels: dict[str, Winner] = {}
    labels |= {
        str(person or "annotator"): _winner(value, location) for name, person, value in given if name == question
    }
    if item.get("annotation") is not None:  # of version 1
        labels[str(item.get("annotation_agent") or "annotator")] = _winner(item["annotation"], location)
    return labels | _labels_in_metadata(meta, location)


def _is_submitted(response: Mapping[str, Any]) -> bool:
    """Whether a response is neither a draft nor discarded; one without a status is taken to be submitted."""
    status = response.get("status")
    return status is None or str(status).rpartition(".")[2] == "submitted"  # version 1 has `ResponseStatus.submitted`


def _labels_in_metadata(meta: Mapping[str, Any], location: str) -> dict[str, Winner]:
    return {person: _winner(value, location) for person, value in _stored(meta, _LABELS, location).items()}


def _other_fields(meta: Mapping[str, Any], location: str) -> dict[str, Any]:
    return {name: value for name, value in _stored(meta, _PAIR, location).items() if name not in _SHOWN_ELSEWHERE}


def _stored(meta: Mapping[str, Any], name: str, location: str) -> dict[str, Any]:
    """An object that was stored as JSON; empty if there is none."""
    try:
        stored = json.loads(meta.get(name) or "{}")
    except (TypeError, ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise BadInputError(f"{location}: metadata: {name}: must be an object as JSON")
    return stored


def _question_of(names: Sequence[str], location: str, what: str) -> str:
    """The question that labels answer: `preference`, or the only one; empty if there is none.

    Raises:
        BadInputError: there are several, and none is `preference`.
    """
    found = sorted(set(names))
    if QUESTION in found or not found:
        return QUESTION
    if len(found) > 1:
        raise BadInputError(f"{location}: has several {what}, {', '.join(found)}, and none is called {QUESTION}")
    return found[0]


def _object(value: Any, location: str) -> Mapping[str, Any]:
    """A JSON object; empty for a missing one.

    Raises:
        BadInputError: the value is of another type.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInputError(f"{location}: must be an object, not {json.dumps(value)[:40]}")
    return value


def _objects(value: Any, location: str) -> list[Mapping[str, Any]]:
    """A list of JSON objects; empty for a missing one.

    Raises:
        BadInputError: the value is of another type.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInputError(f"{location}: must be a list, not {json.dumps(value)[:40]}")
    if wrong := [it for it in value if not isinstance(it, dict)]:
        raise BadInputError(f"{location}: must be objects, not {json.dumps(wrong[0])[:40]}")
    return value


def _winner(value: Any, location: str) -> Winner:
    """The label of a choice, of a list with one, or of a ranking of both responses."""
    if isinstance(value, list) and value and all(isinstance(it, dict) and "rank" in it for it in value):
        ranks = {_VALUES.get(str(it.get("value")).strip().lower()): it["rank"] for it in value}
        if not isinstance(ranks.get("a"), int) or not isinstance(ranks.get("b"), int):
            raise BadInputError(f"{location}: the ranking does not rank response_a and response_b")
        return "tie" if ranks["a"] == ranks["b"] else "a" if ranks["a"] < ranks["b"] else "b"
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    found = _VALUES.get(str(value).strip().lower())
    if found is None:
        raise BadInputError(f"{location}: the choice {str(value)[:40]!r} is none of {', '.join(_VALUES)}")
    return found


def _to_label_studio(pair: AuditedPair) -> dict[str, Any]:
    annotations = [_annotation(person, label) for person, label in (pair.labels or {}).items()]
    return {"data": _texts(pair), "meta": _models(pair) | _stored_fields(pair), "annotations": annotations}


def _annotation(person: str, label: Winner) -> dict[str, Any]:
    """An annotation. Without `completed_by`, Label Studio takes the importing user for its author."""
    result: dict[str, Any] = {"from_name": QUESTION, "to_name": "texts", "type": "choices"}
    result["value"] = {"choices": [label]}
    annotation = {"ground_truth": False, "result": [result]}
    if person.isascii() and person.isdecimal() and str(int(person)) == person:
        return annotation | {"completed_by": int(person)}
    if "@" in person:
        return annotation | {"completed_by": {"email": person}}
    result[_PERSON] = person
    return annotation


def _to_argilla(pair: AuditedPair) -> dict[str, Any]:
    labels = pair.labels or {}
    known = [
        {"value": label, "user_id": person, "status": "submitted"}
        for person, label in labels.items()
        if _is_uuid(person)
    ]
    others = {person: label for person, label in labels.items() if not _is_uuid(person)}
    metadata = (
        _models(pair) | _stored_fields(pair) | ({_LABELS: json.dumps(others, ensure_ascii=False)} if others else {})
    )
    fields = {name: text for name, text in _texts(pair).items() if name != "id"}
    responses = {QUESTION: known} if known else {}
    return {"id": pair.id, "fields": fields, "metadata": metadata, "suggestions": {}, "responses": responses}


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name.lower()
    except ValueError:
        return False


def _texts(pair: AuditedPair) -> dict[str, str]:
    return {"id": pair.id, "prompt": pair.request.request, "response_a": pair.response_a, "response_b": pair.response_b}


def _stored_fields(pair: AuditedPair) -> dict[str, str]:
    """The fields that the other tool has no place for; `label` among them if it is not the majority of `labels`."""
    excluded = _SHOWN_ELSEWHERE | ({"label"} if pair.labels else set())
    fields = pair.model_dump(mode="json", exclude_none=True, exclude=excluded)
    return {_PAIR: json.dumps(fields, ensure_ascii=False)} if fields else {}


def _models(pair: AuditedPair) -> dict[str, str]:
    return {name: value for name in ("model_a", "model_b") if (value := getattr(pair, name))}
