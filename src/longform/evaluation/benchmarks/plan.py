"""Refuse to resume a benchmark with different settings.

Recorded responses are not regenerated, so resuming with another writer or other settings would give a wrong result.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longform.evaluation.benchmarks.card import SamplingSettings
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.resume import check_resume

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """Writer, judge and settings of a benchmark run."""

    benchmark: str
    judge: str | None
    writer: str | None = None
    """None: responses come from files, which may change between calls."""
    settings: SamplingSettings | None = None
    """Generation settings of the writer."""
    set_sha256: str | None = None
    """Hash of the data that the writer responds to."""
    context: int | None = None
    """Context of the writer in tokens, if prompts were truncated to fit."""
    model: str | None = None
    """Model name at the writer's endpoint; None for a local model."""
    address: str | None = None
    """Address of the writer's endpoint."""
    think_prompt: str | None = None
    """Name and hash of the think prompt's template."""
    local: dict[str, Any] | None = None
    """Of a local model: precision, chat template and stop strings, where they are not the defaults."""


def begin(out: Path, plan: Plan) -> None:
    """Create the folder `out`, or resume in it.

    Raises:
        BadInputError: the folder cannot be created, or belongs to a run with another plan.
    """
    file = out / PLAN
    wanted = json.loads(json.dumps(asdict(plan)))
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_bytes()) if file.exists() else None
    except OSError as error:
        raise BadInputError(f"--out {out}: cannot be created: {error.strerror}") from error
    except ValueError as error:
        raise BadInputError(f"{file}: not JSON: {error}") from error
    if known is None:
        write_text(file, json.dumps(wanted, ensure_ascii=False, indent=1) + "\n")
        return
    known = known if isinstance(known, dict) else {}
    stored = {name: known.get(name) for name in wanted}
    check_resume(f"--out {out}", stored, wanted, remedy="choose another folder")
