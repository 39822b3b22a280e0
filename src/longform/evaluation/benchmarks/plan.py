"""Refuse to resume a benchmark in a folder that was begun with other settings.

Recorded responses are not written again, so resuming with another writer or other settings would give a wrong result.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from longform.evaluation.benchmarks.card import SamplingSettings
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.resume import check_resume

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """Who writes and judges what, with which settings."""

    benchmark: str
    judge: str | None
    writer: str | None = None
    """None: responses come from files, which may differ from one command to the next."""
    settings: SamplingSettings | None = None
    """The writer's."""
    set_sha256: str | None = None
    """Of the set that the writer writes for."""
    context: int | None = None
    """Tokens that the writer takes in, where prompts were cut to fit."""
    model: str | None = None
    """What the writer's endpoint calls it; None for a local model."""
    address: str | None = None
    """Of the writer's endpoint."""
    think_prompt: str | None = None
    """Name and hash of the template that requests are put into."""


def begin(out: Path, plan: Plan) -> None:
    """Create the folder `out`, or resume in it.

    Raises:
        BadInputError: it cannot be made, or was begun with another plan.
    """
    file = out / PLAN
    wanted = asdict(plan)
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_bytes()) if file.exists() else None
    except OSError as error:
        raise BadInputError(f"--out {out}: cannot be made a folder: {error.strerror}") from error
    except ValueError as error:
        raise BadInputError(f"{file}: is no JSON: {error}") from error
    if known is None:
        write_text(file, json.dumps(wanted, ensure_ascii=False, indent=1) + "\n")
        return
    known = known if isinstance(known, dict) else {}
    stored = {name: known.get(name) for name in wanted}
    check_resume(f"--out {out}", stored, wanted, remedy="choose another folder")
