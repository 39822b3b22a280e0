"""A run directory as one HTML file that needs nothing else: no script, no network, no font.

Everything a model wrote is escaped by the template, and the page forbids scripts altogether.
"""

from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from longform.records.calls import SqliteCallLog
from longform.records.files import write_text
from longform.records.run_directory import RunDirectory
from longform.report.charts import CURVES, draw_curves
from longform.report.rendering import render
from longform.text.words import count_words

MOST_TEXTS = 12


class BeforeAfter(NamedTuple):
    """One validation prompt with what the policy wrote before training and at the end."""

    prompt: str
    before: str
    after: str
    before_grade: float | None
    after_grade: float | None
    before_words: int
    after_words: int


def write_report(run: RunDirectory) -> Path:
    """Write `report.html` into a run directory, whole or not at all.

    Raises:
        BadInputError: the folder cannot be written.
    """
    page = render("report.html.j2", _content(run))
    write_text(run.report_path, page)
    return run.report_path


def before_after(run: RunDirectory) -> list[BeforeAfter]:
    """The validation texts of step 0 beside those of the last validation."""
    steps = [step for step, _ in run.database.metric("validation/no_grade")]
    if len(steps) < 2:
        return []
    after = {it.prompt_id: it for it in run.database.validations(steps[-1])}
    return [
        BeforeAfter(
            before.prompt,
            before.text,
            after[before.prompt_id].text,
            before.grade,
            after[before.prompt_id].grade,
            count_words(before.text),
            count_words(after[before.prompt_id].text),
        )
        for before in run.database.validations(steps[0])
        if before.prompt_id in after
    ]


def _content(run: RunDirectory) -> dict[str, Any]:
    database = run.database
    series = {name: database.metric(name) for name in database.metric_names()}
    with SqliteCallLog(run.database_path) as log:
        totals = log.totals()
    pairs = before_after(run)
    pictures = (draw_curves(curves, series) for curves in CURVES)
    facts = {
        "steps": database.last_step(),
        "seconds": f"{database.seconds():.0f}",
        "cost": totals.shown_cost,
        "promotions": len(database.promotions()),
    }
    return {
        "name": run.path.name,
        "facts": facts,
        "recipe": run.recipe_path.read_text(encoding="utf-8") if run.recipe_path.exists() else "",
        "pictures": [Markup(picture) for picture in pictures if picture],
        "pairs": pairs[:MOST_TEXTS],
        "more_pairs": max(0, len(pairs) - MOST_TEXTS),
    }
