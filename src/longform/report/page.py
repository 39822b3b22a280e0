"""A run directory as a self-contained HTML file: no scripts, network or fonts.

Texts of models are escaped by the template, and the page forbids scripts.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from longform.recipe.begin import MADE_WITH, STARTED
from longform.recipe.inputs import read_recorded_prompts
from longform.recipe.recipe import Recipe
from longform.records.database import ValidationText
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.rollout_search import RolloutFilter, find_rollouts
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.report.charts import charts_of_run
from longform.report.rendering import render
from longform.report.rollouts import ShownRollout, show_rollouts
from longform.report.svg import draw
from longform.report.verdict import judge_run, recipe_text, stored_recipe, total_cost
from longform.text.structure import Thinking, parse_response
from longform.text.words import count_words_of_any_script

MAX_TEXTS = 12
LATEST = 5
"""Steps whose rollouts are looked through for notable ones."""
NOTABLE = 2
"""Rollouts of each kind."""


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
    recipe = stored_recipe(run)
    thinking: Thinking = recipe.generation.think if recipe else "off"
    pairs = before_after(run, thinking=thinking)
    charts, constant = charts_of_run(shown_metrics(run, recipe))
    return {
        "title": run_title(run, recipe),
        "facts": run_facts(run, recipe),
        "verdict": judge_run(run),
        "recipe": recipe_text(run),
        "pictures": [Markup(draw(chart)) for chart in charts],
        "constant": constant,
        "pairs": pairs[:MAX_TEXTS],
        "more_pairs": max(0, len(pairs) - MAX_TEXTS),
        "notable": notable_rollouts(run, recipe),
    }


def shown_metrics(run: RunDirectory, recipe: Recipe | None) -> dict[str, list[tuple[int, float]]]:
    """(step, value) pairs of the metrics that a page shows, by name: without the mean rung of prompts that have no rungs."""
    metrics = run.database.metrics()
    if recipe and not recipe.data.has_ladders:
        metrics.pop("curriculum/mean_rung", None)
    return metrics


def run_title(run: RunDirectory, recipe: Recipe | None) -> str:
    """The run's name, with its method, policy and judges."""
    if recipe is None:
        return run.path.name
    name = recipe.run.name if run.path.name in ("run", "") else run.path.name
    policy = Path(recipe.policy).name or recipe.policy
    judges = f", judged by {' and '.join(sorted(recipe.asked))}" if recipe.asked else ""
    return f"{name}: {recipe.method.upper()} of {policy}{judges}"


def run_facts(run: RunDirectory, recipe: Recipe | None) -> dict[str, str]:
    """Steps, time, money and origin of a run."""
    database = run.database
    steps = f"{database.last_step()}" + (f" of {recipe.run.steps}" if recipe else "")
    facts = {"steps": steps, "time in steps": duration(database.seconds()), "cost": total_cost(run)}
    if recipe is None or recipe.data.has_ladders:
        facts["promotions"] = f"{len(database.promotions())}"
    if recipe and recipe.validation:
        facts["examiner"] = recipe.validation.judge
    for name, fact in (("started", STARTED), ("longform", MADE_WITH)):
        if value := database.fact(fact):
            facts[name] = value
    return facts


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


def notable_rollouts(run: RunDirectory, recipe: Recipe | None) -> dict[str, list[ShownRollout]]:
    """Rollouts of the latest steps with the best and the worst reward, and with the greatest disagreement of the judges."""
    last = run.database.last_step()
    has_reward = -math.inf  # a bound that only rollouts without a reward miss
    latest = RolloutFilter(first_step=max(1, last - LATEST + 1), min_reward=has_reward)
    found: dict[str, list[ShownRollout]] = {}
    prompts = recorded_prompts(run, recipe)
    sortings: dict[str, RolloutFilter] = {
        "Best rewards of the latest steps": replace(latest, sort="-reward"),
        "Worst rewards of the latest steps": replace(latest, sort="reward"),
        "Judges disagree most": replace(latest, sort="-disagreement", min_disagreement=1e-9),
    }
    for title, wanted in sortings.items():
        places = find_rollouts(run.path, wanted, limit=NOTABLE).rollouts
        records = [it for place in places for it in run.database.rollouts(step=place.step, row=place.row)]
        if records:
            found[title] = show_rollouts(run.path, records, prompts=prompts, recipe=recipe)
    return found


def recorded_prompts(run: RunDirectory, recipe: Recipe | None) -> dict[str, PromptRow]:
    """The prompts of a run by id; none if their file is missing or has changed, which does not prevent a page."""
    if recipe is None:
        return {}
    try:
        return {it.id: it for it in read_recorded_prompts(run, recipe.data)}
    except BadInputError:
        return {}
