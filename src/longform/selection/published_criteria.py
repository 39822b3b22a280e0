"""Prompts with criteria from published files: WritingBench (arXiv 2503.05244) and RubricHub (arXiv 2601.08430).

WritingBench has five criteria with score bands for each query. RubricHub has weighted statements (`points`) without names;
they are numbered here. Statements with negative points are left out: the mean of scores has no place for them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from longform.judging.criteria_writing import BANDS
from longform.records.adapting import content_id
from longform.records.errors import BadInputError
from longform.records.files import describe_first_error, read_located_rows
from longform.records.schemas import Prompt, Row


class PublishedCriteria(NamedTuple):
    """The prompts of a published file."""

    prompts: list[Prompt]
    """With criteria; of several rows for one request the first."""
    left_out: int
    """Criteria that have no place in a mean."""


def read_published(source: Path) -> PublishedCriteria:
    """Read the prompts and criteria of a published file, told by its fields.

    Raises:
        BadInputError: the file cannot be read, is of neither, or has a bad row.
    """
    prompts: dict[str, Prompt] = {}
    left_out = 0
    for location, row in read_located_rows([source], Row):
        fields = dict(row.model_extra or {})
        try:
            if "checklist" in fields:
                laid_out = _of_writingbench(fields)
            elif (rubrics := _rubrics(fields)) is not None:
                laid_out = _of_rubrichub(fields, rubrics)
                left_out += len(rubrics) - len(laid_out["criteria"])
            else:
                raise BadInputError(
                    f"{location}: has neither `checklist` (WritingBench) nor `Rubrics` (RubricHub); fields: "
                    f"{', '.join(fields)}"
                )
            if laid_out["criteria"]:
                prompt = Prompt.model_validate(laid_out)
                prompts.setdefault(prompt.id, prompt)
        except ValidationError as error:
            raise BadInputError(f"{location}: {describe_first_error(error)}") from None
        except (KeyError, TypeError) as error:
            said = f"missing {error.args[0]}" if isinstance(error, KeyError) else str(error)
            raise BadInputError(f"{location}: {said}") from None
    if not prompts:
        raise BadInputError(f"{source}: no row has a criterion with a text and positive points")
    return PublishedCriteria(list(prompts.values()), left_out)


def _of_writingbench(fields: Mapping[str, Any]) -> dict[str, Any]:
    criteria = [
        {
            "name": it["name"],
            "description": it["criteria_description"],
            "bands": {band: it[band] for band in BANDS},
        }
        for it in _objects(fields["checklist"], "checklist")
    ]
    meta = {name: fields[name] for name in ("domain1", "domain2", "lang") if fields.get(name)}
    return {"id": str(fields["index"]), "prompt": fields["query"], "criteria": criteria, "meta": meta}


def _of_rubrichub(fields: Mapping[str, Any], rubrics: list[dict[str, Any]]) -> dict[str, Any]:
    criteria = []
    for it in rubrics:
        text, points = it.get("criterion") or it.get("description"), it.get("points", it.get("weight", 1))
        if not isinstance(points, int | float):
            raise TypeError(f"points: needs a number, got {points!r}")
        if isinstance(text, str) and text.strip() and points > 0:
            criteria.append({"name": f"criterion {len(criteria) + 1}", "description": text.strip(), "weight": points})
    prompt = fields["prompt"]
    meta = {"data_source": fields["data_source"]} if fields.get("data_source") else {}
    return {"id": str(fields.get("id") or content_id([prompt])), "prompt": prompt, "criteria": criteria, "meta": meta}


def _rubrics(fields: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rubrics of a row of RubricHub, which stand in it more than once; None for another file."""
    model = fields.get("reward_model")
    for found in (
        fields.get("Rubrics"),
        fields.get("rubrics"),
        model.get("rubrics") if isinstance(model, dict) else None,
    ):
        if found is not None:
            return _objects(found, "Rubrics")
    return None


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(it, dict) for it in value):
        raise TypeError(f"{name}: not a list of objects")
    return value
