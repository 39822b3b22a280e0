"""The record of the study's versions that a folder was run with."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.resume import hash_json
from longform.studies.tasks import StudyPlan
from longform.version import __version__


def record_study(plan: StudyPlan) -> None:
    """Record the study as it is now, if it has changed since the folder's last run; tables report such changes."""
    path = record_path(plan)
    content = _content(plan)
    fingerprint = hash_json(content)
    history = read_history(plan)
    if history and history[-1]["sha256"] == fingerprint:
        return
    entry = {"sha256": fingerprint, "at": datetime.now(UTC).isoformat(timespec="seconds"), "longform": __version__}
    write_text(path, json.dumps({"versions": [*history, entry], "study": content}, indent=1, ensure_ascii=False) + "\n")


def count_changes(plan: StudyPlan) -> int:
    """How often the study has changed since its first run, a change that was not run included.

    Raises:
        BadInputError: the record is damaged.
    """
    history = read_history(plan)
    if not history:
        return 0
    return len(history) - (history[-1]["sha256"] == hash_json(_content(plan)))


def _content(plan: StudyPlan) -> dict[str, Any]:
    return plan.study.model_dump(mode="json", exclude={"budget"})


def record_path(plan: StudyPlan) -> Path:
    """The record of a study; other studies may be in the same folder."""
    return plan.folder / f"{plan.study.study}.study.json"


def read_history(plan: StudyPlan) -> list[dict[str, Any]]:
    """The versions of the study that its folder was run with, the first one first; empty before its first run.

    Raises:
        BadInputError: the record is damaged.
    """
    path = record_path(plan)
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["versions"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInputError(f"{path}: not the record of a study; restore it, or name another folder") from None
