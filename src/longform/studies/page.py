"""The findings of a study, as its file and as a self-contained HTML page."""

from pathlib import Path

from markupsafe import Markup

from longform.evaluation.tables import format_table
from longform.records.files import write_text
from longform.report.rendering import render
from longform.report.study import ColumnCurve, MeanAtStep, StudyFindings, study_charts
from longform.report.svg import draw
from longform.studies.results import StudyResults
from longform.studies.tables import study_tables


def findings_of(results: StudyResults) -> StudyFindings:
    """Tables and curves from what was measured so far."""
    study, plan = results.plan.study, results.plan
    measured = len(plan.measurements) - len(results.missing)
    return StudyFindings(
        name=study.study,
        facts={
            **({"source": study.source} if study.source else {}),
            "arms": ", ".join(study.arms),
            "seeds": ", ".join(map(str, study.seeds)),
            "measured": f"{measured} of {len(plan.measurements)}",
        },
        tables=study_tables(results),
        curves=[_curve(results, it.y) for it in study.curves],
        runs={
            plan.tasks[run.key].folder.relative_to(plan.folder).as_posix(): f"{run.arm}, seed {run.seed}"
            for run in plan.runs
            if run.key is not None and run.recipe is not None
        },
    )


def write_study_page(path: Path, findings: StudyFindings) -> None:
    """Write charts and tables as one HTML file.

    Raises:
        BadInputError: the file cannot be written.
    """
    content = {
        "name": findings.name,
        "facts": findings.facts,
        "charts": [Markup(draw(chart)) for chart in study_charts(findings)],
        "tables": list(map(format_table, findings.tables)),
    }
    write_text(path, render("study.html.j2", content, package="longform.studies"))


def _curve(results: StudyResults, column: str) -> ColumnCurve:
    arms = {
        arm: [MeanAtStep(step, *mean.interval) for step, mean in results.curve(column, arm).items()]
        for arm in results.plan.study.arms
    }
    return ColumnCurve(column, arms)
