"""What a study found: its file beside the runs, which pages show."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from longform.evaluation.tables import Table, plain, stored_table, table_as_json
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.report.axes import Axis
from longform.report.svg import PALETTE, Band, Chart, Line, Mark

FINDINGS_SUFFIX = ".findings.json"
"""After the study's name: several studies may share a folder."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Patterns that tell more arms apart than there are colours."""


class MeanAtStep(NamedTuple):
    """A mean with its interval; the bounds are NaN where one value has none."""

    step: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ColumnCurve:
    """A column over the steps of training."""

    column: str
    arms: Mapping[str, Sequence[MeanAtStep]]
    """By arm, ascending in steps."""


@dataclass(frozen=True, slots=True)
class StudyFindings:
    """Tables and curves of a study, with what they come from."""

    name: str
    facts: Mapping[str, str]
    tables: Sequence[Table]
    curves: Sequence[ColumnCurve]
    runs: Mapping[str, str]
    """Titles of its runs, such as `mixed, seed 2`, by their folders inside the study's."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary, with rows by the names of their columns."""
        return {
            "study": self.name,
            "facts": dict(self.facts),
            "tables": list(map(table_as_json, self.tables)),
            "curves": plain(self.curves),
            "runs": dict(self.runs),
        }

    def write(self, folder: Path) -> Path:
        """Write the file, and return its path.

        Raises:
            BadInputError: there is no such folder, because the study was not begun, or it cannot be written.
        """
        if not folder.is_dir():
            raise BadInputError(f"{folder}: no such study; begin it with `longform study run`")
        path = folder / f"{self.name}{FINDINGS_SUFFIX}"
        write_text(path, json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n")
        return path


def read_findings(path: Path) -> StudyFindings:
    """Read the file of a study.

    Raises:
        BadInputError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return StudyFindings(
            name=str(content["study"]),
            facts={str(name): str(value) for name, value in content["facts"].items()},
            tables=list(map(stored_table, content["tables"])),
            curves=list(map(_read_curve, content["curves"])),
            runs={str(folder): str(title) for folder, title in content["runs"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadInputError(f"{path}: not the findings of a study; run `longform study table` again") from None


def study_charts(findings: StudyFindings) -> list[Chart]:
    """The curves of a study, a line with its interval for each arm; an arm that was measured at one step only has none."""
    return [chart for it in findings.curves if (chart := _chart(it)) is not None]


def _chart(curve: ColumnCurve) -> Chart | None:
    marks: list[Mark] = []
    described, steps = [], set[int]()
    for number, (arm, points) in enumerate(curve.arms.items()):
        if len(points) < 2:
            continue
        colour, dashes = PALETTE[number % len(PALETTE)], _DASHES[number // len(PALETTE) % len(_DASHES)]
        bounds = [(float(it.step), it.low, it.high) for it in points if math.isfinite(it.low + it.high)]
        if bounds:
            marks.append(Band(bounds, colour))
        marks.append(Line([(float(it.step), it.estimate) for it in points], colour, arm, dashed=dashes))
        first, last = points[0], points[-1]
        described.append(f"{arm}: {first.estimate:.3g} at step {first.step}, {last.estimate:.3g} at step {last.step}")
        steps |= {it.step for it in points}
    if not marks:
        return None
    x = Axis("step", exact=True, whole=True, ticks=6, domain=(min(steps), max(steps)))
    return Chart(curve.column, marks, x, Axis(), legend=True, width=620, height=300, description="; ".join(described))


def _read_curve(content: Mapping[str, Any]) -> ColumnCurve:
    arms = {
        str(arm): [
            MeanAtStep(int(it["step"]), float(it["estimate"]), _bound(it["low"]), _bound(it["high"])) for it in points
        ]
        for arm, points in content["arms"].items()
    }
    return ColumnCurve(str(content["column"]), arms)


def _bound(value: float | None) -> float:
    return math.nan if value is None else float(value)
