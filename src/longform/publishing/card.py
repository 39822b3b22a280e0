"""The model card of a policy, and the card of a file of rows: metadata that the hub reads, and text for people."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import yaml

from longform.evaluation.tables import Cell, Column, Table
from longform.evaluation.tables import render as render_table
from longform.recipe.public import public_text
from longform.recipe.recipe import Recipe
from longform.records.schemas import GAME_SCORES, Game
from longform.report.page import BeforeAfter, duration
from longform.report.rendering import visible
from longform.report.verdict import RunVerdict
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.version import __version__


class WinRate(NamedTuple):
    """How often one model's texts were preferred to another's, ties half."""

    model: str
    against: str
    judge: str
    rate: Interval
    """95%, resampled over prompts."""
    games: int
    prompts: int


def win_rates(games: Sequence[Game]) -> list[WinRate]:
    """The win rate of `model_b`, which `longform compare` makes the later one, for each pair of models and judge."""
    groups: dict[tuple[str, str, str], list[Game]] = {}
    for game in games:
        groups.setdefault((game.model_b, game.model_a, game.judge or "judge"), []).append(game)
    return [
        WinRate(
            *names,
            clustered_interval([1 - GAME_SCORES[it.winner] for it in group], [it.prompt_id for it in group]),
            len(group),
            len({it.prompt_id for it in group}),
        )
        for names, group in groups.items()
    ]


class Benchmarked(NamedTuple):
    """A table of a benchmark's result."""

    about: str
    """The benchmark and its judge."""
    table: Table


class CardFacts(NamedTuple):
    """The content of a model card."""

    base: str | None = None
    """Hub id of the model that it was trained from."""
    run: str = ""
    version: str = ""
    """Of longform that the run was begun with."""
    recipe: Recipe | None = None
    judge_models: Mapping[str, Sequence[str]] = {}
    """Models that were asked, by the judge's name in the recipe."""
    data_hash: str = ""
    """SHA-256 of the prompts or ladders."""
    verdict: RunVerdict | None = None
    benchmarks: Sequence[Benchmarked] = ()
    win_rates: Sequence[WinRate] = ()
    pairs: Sequence[BeforeAfter] = ()
    with_prompts: bool = False
    is_adapter: bool = False
    """Whether the policy is an adapter (peft) of its base."""


def model_card(facts: CardFacts) -> str:
    """The README of a policy's repository."""
    metadata: dict[str, Any] = {
        "library_name": "peft" if facts.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["longform", "reinforcement-learning", *([facts.recipe.method] if facts.recipe else [])],
    }
    if facts.base:
        metadata["base_model"] = facts.base
    parts = [_front(metadata), f"# {' '.join(facts.run.split()) or 'A policy trained with longform'}", _origin(facts)]
    if facts.verdict is not None:
        parts += ["## Result", _result(facts.verdict)]
    if facts.win_rates:
        parts += ["## Win rates", _win_rates(facts.win_rates)]
    if facts.benchmarks:
        parts.append("## Benchmarks")
        parts += [_benchmark(it) for it in facts.benchmarks]
    if facts.pairs:
        parts.append("## Texts before and after")
        parts += [_texts(it, with_prompt=facts.with_prompts) for it in facts.pairs]
    if facts.recipe is not None:
        parts += ["## Recipe", "`recipe.yaml` is the resolved recipe, without addresses and folders."]
    return "\n\n".join(it for it in parts if it) + "\n"


def rows_card(kind: str, count: int, *, suffix: str) -> str:
    """The README of a dataset's repository."""
    metadata = {
        "tags": ["longform", kind],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": f"data/train{suffix}"}]}],
    }
    text = f"{kind.capitalize()} in the format of longform {__version__}, rows: {count:,}. Commands read it by its id."
    return f"{_front(metadata)}\n\n# {kind.capitalize()}\n\n{text}\n"


def _front(metadata: Mapping[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)}---"


def _origin(facts: CardFacts) -> str:
    recipe = facts.recipe
    lines = [f"- trained with: longform {facts.version}"] if facts.version else []
    if facts.base:
        lines.append(f"- base: [{facts.base}](https://huggingface.co/{facts.base})")
    if recipe is not None:
        rewards = ", ".join(dict.fromkeys(str(it.kind) for it in recipe.rewards))
        names = ", ".join(it.path.name for it in recipe.data.parts)
        data = names + (f" (sha256 {facts.data_hash[:12]})" if facts.data_hash else "")
        lines += [
            f"- method: {recipe.method.upper()}, {recipe.run.steps} steps of {recipe.data.per_step} prompts",
            f"- rewards: {rewards}",
            f"- {'ladders' if recipe.data.has_ladders else 'prompts'}: {data}",
        ]
        examiner = recipe.validation.judge if recipe.validation else None
        judges = sorted(set(recipe.asked) - {examiner})
        if judges:
            lines.append(f"- judges: {', '.join(_judge(name, facts) for name in judges)}")
        if examiner:
            lines.append(f"- examiner: {_judge(examiner, facts)}")
    return "\n".join(lines)


def _judge(name: str, facts: CardFacts) -> str:
    """A judge's name in the recipe, and the models that answered."""
    models = ", ".join(public_text(model) for model in facts.judge_models.get(name, ()) if model != name)
    return f"{name} ({models})" if models else name


def _result(verdict: RunVerdict) -> str:
    lines = [verdict.headline]
    if verdict.cost:
        lines.append(f"Steps: {verdict.step}, {duration(verdict.seconds)}. Judge calls cost {verdict.cost}.")
    if verdict.findings:
        lines.append("Known failures that were found while it trained:")
        lines.append(
            "\n".join(f"- {it.name} (steps {it.first} to {it.last}): {it.evidence}" for it in verdict.findings)
        )
    elif not verdict.too_early:
        lines.append("No known failure signature was found while it trained.")
    lines += [f"{it}: grades before and after are not comparable." for it in verdict.model_changes]
    return "\n\n".join(lines)


def _win_rates(rates: Sequence[WinRate]) -> str:
    columns = [Column(name, is_text=True) for name in ("model", "against", "judge")]
    columns += [Column(name) for name in ("win rate", "games", "prompts")]
    rows: list[list[Cell]] = [
        [
            public_text(it.model),
            public_text(it.against),
            public_text(it.judge),
            f"{it.rate.estimate:.3f} [{it.rate.low:.3f}, {it.rate.high:.3f}]",
            it.games,
            it.prompts,
        ]
        for it in rates
    ]
    return render_table(Table("Ties count half; 95% intervals resample prompts", columns, rows, []), "markdown")


def _benchmark(result: Benchmarked) -> str:
    table = replace(result.table, notes=())
    return f"{result.about}:\n\n{render_table(table, 'markdown')}" if table.columns else ""


def _texts(pair: BeforeAfter, *, with_prompt: bool) -> str:
    lines = [f"Prompt:\n\n{_quoted(pair.prompt)}"] if with_prompt else ["(The prompt is not published.)"]
    for when, it in (("Before", pair.before), ("After", pair.after)):
        grade = "" if it.grade is None else f", grade {it.grade:.2f}"
        lines.append(f"{when} ({it.words} words{grade}):\n\n{_quoted(it.text)}")
    return "\n\n".join(lines)


def _quoted(text: str) -> str:
    """A text of a model as a block of code, which no Markdown or HTML within it can leave."""
    text = visible(text)
    longest = max((len(run) for run in "".join(it if it == "`" else " " for it in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
