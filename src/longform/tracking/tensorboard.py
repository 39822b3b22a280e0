"""TensorBoard: event files in the run's folder."""

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from longform.monitors.series import Finding
from longform.tracking.tracker import EndState, SampleText, TrackedRun, TrackerStart


class TensorBoardTracker:
    """Event files, `tensorboard/` in the run's folder."""

    def __init__(self) -> None:
        self._library: Any = importlib.import_module("torch.utils.tensorboard")

    def start(self, run: TrackedRun) -> TrackerStart:  # noqa: D102
        # TensorBoard hides the events of steps that were rolled back, and those of the same steps that are logged anew.
        last = min(run.step, run.sent)
        names = ("tensorboard", *(f"tensorboard-{number}" for number in range(2, 100)))
        name = run.id or next(it for it in names if not (run.folder / it).exists())
        place = run.folder / name
        self._writer: Any = self._library.SummaryWriter(str(place), purge_step=None if run.id is None else last + 1)
        if run.id is None:
            self._writer.add_text("recipe", _as_code(json.dumps(dict(run.config), indent=1, default=str)), 0)
        return TrackerStart(name, last, f"tensorboard --logdir {place}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:  # noqa: D102
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def texts(self, step: int, rows: Sequence[SampleText]) -> None:  # noqa: D102
        for number, row in enumerate(rows):
            self._writer.add_text(f"texts/{number}", _shown(row), step)
        self._writer.flush()

    def finding(self, step: int, finding: Finding) -> None:  # noqa: D102
        self._writer.add_text(f"findings/{finding.name}", _as_code(f"{finding.evidence}. {finding.advice}"), step)
        self._writer.flush()

    def finish(self, state: EndState) -> None:  # noqa: ARG002, D102
        self._writer.close()


def _shown(row: SampleText) -> str:
    parts = [f"outcome {row.outcome}, reward {row.reward}"]
    texts = {"prompt": row.prompt, "reference": row.reference, "response": row.response}
    parts += [f"**{name}**\n\n{_as_code(text)}" for name, text in texts.items() if text]
    return "\n\n".join(parts)


def _as_code(text: str) -> str:
    """A text as a block of code: TensorBoard renders Markdown, and models write what they like."""
    return "\n".join(f"    {line}" for line in text.splitlines())
