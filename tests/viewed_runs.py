"""Small runs for the viewer's tests."""

from pathlib import Path

from longform.evaluation.tables import Column, Table
from longform.records.calls import CallRecord, SqliteCallLog
from longform.records.database import Promotion, RolloutRecord, ValidationText
from longform.records.run_directory import RunDirectory
from longform.report.study import ColumnCurve, MeanAtStep, StudyFindings
from longform.statistics.bootstrap import Interval

HOSTILE = (
    "<script>alert('x')</script></div></main><img src=x onerror=alert(1)> & &amp; \"quoted\" {{ 7 * 7 }} "
    "\u202egnp.exe\u202c \x1b[31mred\x07 ]]> <!-- -->"
)
WORDS = ("river", "lantern", "harbour", "meadow")


def rollout(step: int, row: int, **changes: object) -> RolloutRecord:
    """A rollout whose fields follow from its place."""
    outcome = ("win", "tie", "loss")[(step + row) % 3]
    values: dict[str, object] = {
        "step": step,
        "row": row,
        "prompt_id": f"p{row // 2}",
        "rung": step // 3,
        "text": f"The {WORDS[row % 4]} of step {step}. The old mill stood alone beside the water for years.",
        "reference": "The old mill stood alone beside the water for years, and nobody came.",
        "tokens": 20,
        "words": 14 + row,
        "think_words": 0,
        "finish_reason": "stop",
        "outcome": outcome,
        "cause": None,
        "reward": {"win": 1.0, "tie": 0.5, "loss": 0.0}[outcome],
        "scores": {"pairwise": 0.5},
        "disagreement": row / 10,
        "calls": (f"call-{step}-{row}",),
    }
    return RolloutRecord(**(values | changes))  # pyright: ignore[reportArgumentType]


def write_run(path: Path, *, steps: int = 4, rows: int = 4, first: int = 1, text: str | None = None) -> Path:
    """A run with rollouts, validations, promotions and judge calls; with `first` above 1 it goes on."""
    with RunDirectory.open(path) as run, SqliteCallLog(run.database_path) as log:
        if first == 1:
            run.database.record_step(0, seconds=0.0, metrics=grades(0), validations=validations(0, text))
        for step in range(first, steps + 1):
            changes = {} if text is None else {"text": text, "reference": text}
            run.database.record_step(
                step,
                seconds=2.0,
                metrics={"reward/mean": step / 10, "reward/count": rows, "text/count": rows, "seconds/writing": 1.5}
                | {"judge/cost": 0.003}
                | grades(step),
                rollouts=[rollout(step, row, **changes) for row in range(rows)],
                promotions=[Promotion(step, "p0", step // 3)],
                validations=validations(step, text),
            )
            for row in range(rows):
                log.record(judge_call(f"call-{step}-{row}", text or "Both are fine. [[A]] at first, but no: [[B]]"))
    return path


def write_study(folder: Path, *, name: str = "curriculum", arm: str = "dynamic", run: str = "runs/a") -> Path:
    """The findings of a study of two arms, one of whose runs is in the folder."""
    columns = [Column("arm", is_text=True), Column("grade", 2)]
    rows = [[arm, Interval(8.06, 7.83, 8.29)], ["mixed", Interval(7.85, 7.78, 7.93)]]
    points = [MeanAtStep(0, 5.7, 5.6, 5.8), MeanAtStep(20, 7.5, 7.2, 7.8), MeanAtStep(40, 8.1, 7.8, 8.3)]
    return StudyFindings(
        name=name,
        facts={"arms": f"{arm}, mixed", "seeds": "1, 2"},
        tables=[Table(f"{arm}: after the last step", columns, rows, ["95% intervals"])],
        curves=[ColumnCurve("grade", {arm: points, "mixed": points[:1]})],
        runs={run: f"{arm}, seed 1", "runs/not-begun": f"{arm}, seed 2"},
    ).write(folder)


def grades(step: int) -> dict[str, float]:
    """Metrics of a validation."""
    return {"validation/grade": 5.0 + step, "validation/no_grade": 0.0}


def validations(step: int, text: str | None = None) -> list[ValidationText]:
    """Graded texts of three held-out prompts."""
    return [
        ValidationText(step, f"v{i}", text or f"Write {i}.", text or f"Text {i} after {step}.", 5.0 + step)
        for i in range(3)
    ]


def judge_call(request_hash: str, answer: str) -> CallRecord:
    """An answered call."""
    return CallRecord(
        request_hash=request_hash,
        attempt=1,
        endpoint="judge",
        model="a-judge",
        outcome="ok",
        prompt_tokens=100,
        completion_tokens=10,
        cost=0.001,
        latency_seconds=0.5,
        text=answer,
        finish_reason="stop",
        thoughts="I compare them.",
    )
