"""A run directory as a self-contained HTML file: no scripts, network or fonts.

Texts of models are escaped by the template, and the page forbids scripts.
"""

from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.database import ValidationText
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.run_directory import RunDirectory
from longform.report.charts import draw_curves, pictures_of
from longform.report.rendering import render
from longform.text.structure import Thinking, parse_response
from longform.text.words import count_words_of_any_script

MAX_TEXTS = 12


class Shown(NamedTuple):
    """A text as shown on the page."""

    plan: str | None
    """None if no plan is requested, or the response is malformed."""
    text: str
    """The answer; for a malformed response, the full text including tags."""
    sound: bool
    grade: float | None
    plan_words: int
    words: int
    """Words of the answer."""


class BeforeAfter(NamedTuple):
    """A validation prompt with the policy's texts before training and at the end."""

    prompt: str
    before: Shown
    after: Shown


def write_report(run: RunDirectory) -> Path:
    """Write `report.html` into a run directory, atomically.

    Raises:
        BadInputError: the folder cannot be written.
    """
    page = render("report.html.j2", _content(run))
    write_text(run.report_path, page)
    return run.report_path


def before_after(run: RunDirectory, *, thinking: Thinking = "off") -> list[BeforeAfter]:
    """Return the validation texts of step 0 with those of the last validation.

    Args:
        run: Run directory, open for reading.
        thinking: Format of its responses.
    """
    steps = [step for step, _ in run.database.metric("validation/no_grade")]
    if len(steps) < 2:
        return []
    after = {it.prompt_id: it for it in run.database.validations(steps[-1])}
    return [
        BeforeAfter(before.prompt, _shown(before, thinking), _shown(after[before.prompt_id], thinking))
        for before in run.database.validations(steps[0])
        if before.prompt_id in after
    ]


def _shown(written: ValidationText, thinking: Thinking) -> Shown:
    plan, answer, sound, *_ = parse_response(written.text, thinking)
    words = count_words_of_any_script(answer)
    if not sound:
        return Shown(None, written.text, sound, written.grade, 0, words)
    return Shown(
        plan if thinking == "on" else None, answer, sound, written.grade, count_words_of_any_script(plan), words
    )


def _content(run: RunDirectory) -> dict[str, Any]:
    database, recipe = run.database, _recipe(run)
    series = {name: database.metric(name) for name in database.metric_names()}
    with SqliteCallLog(run.database_path) as log:
        totals = log.totals()
    pairs = before_after(run, thinking=recipe.generation.think if recipe else "off")
    facts = {
        "steps": database.last_step(),
        "seconds": f"{database.seconds():.0f}",
        "cost": totals.shown_cost,
        "promotions": len(database.promotions()),
    }
    if recipe and recipe.data.ladders is None:  # no rungs
        del facts["promotions"]
        series.pop("curriculum/mean_rung", None)
    pictures = (draw_curves(curves, series) for curves in pictures_of(series))
    return {
        "name": run.path.name,
        "facts": facts,
        "recipe": run.recipe_path.read_text(encoding="utf-8") if run.recipe_path.exists() else "",
        "pictures": [Markup(picture) for picture in pictures if picture],
        "pairs": pairs[:MAX_TEXTS],
        "more_pairs": max(0, len(pairs) - MAX_TEXTS),
    }


def _recipe(run: RunDirectory) -> Recipe | None:
    """Read the recipe of a run; None if it is missing or unreadable, which does not prevent a report."""
    try:
        return load_stored_recipe(run.recipe_path, Recipe)
    except BadInputError:
        return None
