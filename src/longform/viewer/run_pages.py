"""Contents of the pages about runs: all runs, one run, and the curves of several."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from longform.monitors.watch import diagnose
from longform.recipe.public import public_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.recorded_calls import has_calls, sum_calls, total_calls
from longform.records.run_directory import RunDirectory
from longform.records.run_list import RunSummary, summarize_run
from longform.report.charts import charts_of_run
from longform.report.page import before_after, duration, run_facts, run_title, shown_metrics
from longform.report.svg import PALETTE, Axis, Chart, Line
from longform.report.verdict import (
    DIVERGED,
    UNREADABLE,
    RunVerdict,
    recipe_text,
    remaining_seconds,
    stored_recipe,
    total_cost,
)
from longform.viewer.charts import draw_interactive
from longform.viewer.collection import SEPARATOR
from longform.viewer.links import Links

OVERLAID = {
    "reward/mean": "Mean reward",
    "validation/grade": "Examiner's grade",
    "outcome/win": "Share of wins",
    "text/words": "Words of the answer",
    "curriculum/mean_rung": "Mean rung",
    "policy/kl_to_start": "KL to the initial policy",
    "policy/entropy": "Entropy",
    "text/in_range": "Answers inside their length range",
}
"""Metrics that runs are compared by, with the titles of their charts."""
_SECONDS = "seconds/"
_REST = "everything else"
_NAMES = {"waiting_for_judge": "waiting for the judge"}
_COSTS = {"waiting_for_judge": "judge/cost", "validating": "validation/cost"}
"""Metrics with the cost of the calls that belong to a phase, whenever they were made."""


class RunLine(NamedTuple):
    """A run in the list of all runs."""

    condition: str
    progress: str
    remaining: str
    method: str
    models: str
    gain: str
    cost: str
    findings: str
    problem: str


class Phase(NamedTuple):
    """Time and cost of one part of the steps."""

    name: str
    seconds: str
    share: str
    each: str
    """Seconds of a step that has this phase, on average."""
    cost: str
    """Of judge calls, where it is known."""


def run_line(path: Path) -> RunLine:
    """One line of the list; a damaged run is listed with its problem."""
    summary = summarize_run(path)
    progress = f"{summary.step} of {'?' if summary.steps is None else summary.steps}"
    if summary.state == "damaged":
        return RunLine("damaged", progress, "", "", "", "", "", "", summary.problem)
    try:
        with RunDirectory.read(path) as run:
            return _line(run, summary, progress)
    except BadInputError as error:
        return RunLine("damaged", progress, "", "", "", "", "", "", str(error))


def _line(run: RunDirectory, summary: RunSummary, progress: str) -> RunLine:
    recipe = stored_recipe(run)
    findings = diagnose(run.database.metrics())
    remaining = remaining_seconds(run, summary)
    gain = "" if summary.first_grade is None else f"{summary.first_grade:.2f} to {summary.last_grade or 0:.2f}"
    has_diverged = any(it.name == DIVERGED and it.last >= summary.step for it in findings)
    return RunLine(
        condition="diverged" if has_diverged else summary.state,
        progress=progress,
        remaining="" if remaining is None else duration(remaining),
        method=recipe.method if recipe else "",
        models=_models_of(recipe) if recipe else "",
        gain=gain,
        cost=total_cost(run),
        findings=", ".join(dict.fromkeys(it.name for it in findings)),
        problem="",
    )


def _models_of(recipe: Recipe) -> str:
    """The policy, its judges and its examiner."""
    names = ", ".join([Path(recipe.policy).name, *sorted(recipe.asked)])
    return f"{names}; examiner {recipe.validation.judge}" if recipe.validation else names


def run_content(run: RunDirectory, key: str, links: Links, *, verdict: RunVerdict) -> dict[str, Any]:
    """The page of one run."""
    recipe = stored_recipe(run)
    series = shown_metrics(run, recipe)
    charts, constant = charts_of_run(series)
    facts = {"state": verdict.condition} | run_facts(run, recipe)
    if verdict.remaining is not None:
        facts["remaining"] = duration(verdict.remaining)
    return {
        "key": key,
        "title": run_title(run, recipe),
        "facts": facts,
        "verdict": verdict,
        "pictures": [draw_interactive(chart, step_link=links.step_prefix(key)) for chart in charts],
        "constant": constant,
        "phases": phases(series, run.database.seconds(), total_calls(run.database_path).cost),
        "costs": costs(run),
        "steps": steps(series),
        "pairs": before_after(run, thinking=recipe.generation.think if recipe else "off") if links.with_texts else [],
        "recipe": recipe_text(run) if links.dynamic else _public_text(run),
        "steps_at": (lambda first, last: links.rollouts(key, {"step": first, "to": last}))
        if links.with_texts
        else None,
    }


def _public_text(run: RunDirectory) -> str:
    """A run's recipe without the folders of this machine, as text; without one that can be read, what the report shows."""
    try:
        return public_recipe(run.recipe_path)
    except BadInputError:
        return recipe_text(run) and UNREADABLE


def state_text(run: RunDirectory) -> str:
    """A text that changes whenever the page of a run has something new."""
    summary = summarize_run(run.path)
    return f"{summary.state}:{summary.step}"


def phases(series: Mapping[str, Sequence[tuple[int, float]]], total: float, total_cost: float = 0.0) -> list[Phase]:
    """The time and the cost of a run by phase, longest first, and what belongs to none of them.

    Args:
        series: (step, value) pairs by metric.
        total: Seconds of all steps.
        total_cost: Known cost of all judge calls, those of steps that were lost or are not finished included.
    """
    times = {name.removeprefix(_SECONDS): points for name, points in series.items() if name.startswith(_SECONDS)}
    seconds = {name: _sum(points) for name, points in times.items()}
    steps = {name: len(points) for name, points in times.items()}
    cost = dict.fromkeys(times, 0.0) | {name: _sum(series[it]) for name, it in _COSTS.items() if it in series}
    rest, rest_of_cost = total - sum(seconds.values()), total_cost - sum(cost.values())
    if cost and (rest >= 0.01 * total or rest_of_cost >= 0.01 * total_cost > 0):
        seconds[_REST] = max(rest, 0.0)
        steps[_REST] = max(steps.values(), default=0)
        cost[_REST] = max(rest_of_cost, 0.0)
    total = max(total, sum(seconds.values()))
    return [
        Phase(
            _NAMES.get(name, name.replace("_", " ")),
            duration(seconds[name]) if name in seconds else "",
            f"{100 * seconds[name] / total:.0f}%" if name in seconds and total else "",
            f"{seconds[name] / steps[name]:.2g} s" if steps.get(name) else "",
            f"{cost[name]:.4f}" if cost[name] >= 0.00005 else "",
        )
        for name in sorted(cost, key=lambda name: -seconds.get(name, 0.0))
    ]


def _sum(points: Sequence[tuple[int, float]]) -> float:
    return sum(value for _, value in points)


def costs(run: RunDirectory) -> list[tuple[str, ...]]:
    """Calls, tokens and money by endpoint and outcome."""
    if not has_calls(run.database_path):
        return []
    return [
        (
            it.endpoint,
            it.outcome,
            f"{it.calls:,}",
            f"{it.prompt_tokens:,}",
            f"{it.completion_tokens:,}",
            "unknown" if it.unknown_costs == it.calls else f"{it.cost:.4f}",
            f"{it.seconds:.2g} s",
        )
        for it in sum_calls(run.database_path)
    ]


def steps(series: Mapping[str, Sequence[tuple[int, float]]]) -> list[int]:
    """The steps with rollouts."""
    return [step for step, _ in series.get("text/count", series.get("reward/count", ()))]


def overlay_content(runs: Mapping[str, Path], links: Links) -> dict[str, Any]:
    """The page with the curves of several runs in the same charts."""
    recorded: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for key, path in runs.items():
        with RunDirectory.read(path) as run:
            recorded[key] = {name: run.database.metric(name) for name in OVERLAID}
    pictures: list[Markup] = []
    for name, title in OVERLAID.items():
        lines = [
            Line(
                [(float(step), value) for step, value in recorded[key][name]],
                colour,
                key.replace(SEPARATOR, "/"),
                dashed=dashes,
            )
            for key, (colour, dashes) in zip(recorded, cycle(_STYLES), strict=False)
            if recorded[key][name]
        ]
        if lines:
            description = "; ".join(
                f"{it.label}: {it.points[-1][1]:.3g} at step {it.points[-1][0]:.0f}" for it in lines
            )
            axis = Axis("step", exact=True, whole=True, ticks=6)
            pictures.append(draw_interactive(Chart(title, lines, axis, width=600, height=300, description=description)))
    return {"runs": list(runs), "pictures": pictures, "links": links}


_STYLES = [(colour, dashes) for dashes in ("", "6 3", "2 3") for colour in PALETTE]
