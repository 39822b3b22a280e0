"""`longform bench list | fetch | run`."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from longform.cli.flags import Budget, Count, Flag, Temperature
from longform.cli.output import print_result, progress

if TYPE_CHECKING:
    from longform.endpoints.models import ModelSpec
    from longform.evaluation.benchmarks.card import Card, WritingSettings
    from longform.evaluation.benchmarks.result import Result
    from longform.judging.judge_template import JudgeTemplate
    from longform.text.structure import Thinking

Several = Parameter(consume_multiple=True, negative=())
Format = Literal["text", "markdown", "latex", "json"]

bench = App(name="bench", help="List, fetch and run benchmarks of long writing.")


@bench.command(name="list")
def list_benchmarks(name: str | None = None, *, json: Flag = False) -> None:
    """List benchmarks: what they measure, whether they need a judge, licence and home.

    Args:
        name: Show all of this one, with what is done otherwise than published.
        json: Print as JSON.
    """
    from longform.evaluation.benchmarks.catalogue import BENCHMARKS, find_benchmark
    from longform.evaluation.tables import Column, Table, render

    cards = [it.card for it in (BENCHMARKS.values() if name is None else [find_benchmark(name)])]
    if json:
        print_result({card.name: _facts(card) for card in cards}, as_json=True)
    elif name is not None:
        print_result(_in_short(cards[0]), as_json=False)
        print("\n".join(["", "Done otherwise than published:", *(f"- {it}" for it in cards[0].deviations)]))
        print(f"\nnext  longform bench fetch {name} --out DIR")
    else:
        columns = [Column(it, is_text=True) for it in ("name", "judge", "licence", "home", "measures")]
        rows = [[it.name, "yes" if it.judging else "no", it.licence, it.home, it.measures] for it in cards]
        print(render(Table("Benchmarks", columns, rows)))
        print("\nnext  longform bench list NAME  (how it is asked, what is done otherwise than published)")


@bench.command
def fetch(name: str, *, out: Path, json: Flag = False) -> None:
    """Download a benchmark's set from its public home.

    Args:
        name: Of the benchmark, as `longform bench list` has it.
        out: Folder for the files of the set, and for its prompts with their ids (prompts.jsonl), which `longform generate`
            reads.
        json: Print the result as JSON.
    """
    from longform.evaluation.benchmarks.catalogue import find_benchmark
    from longform.evaluation.benchmarks.fetch import PROMPTS, fetch_set

    benchmark = find_benchmark(name)
    with progress(f"fetching {name}") as advance:
        fetched = fetch_set(benchmark, out, on_progress=advance)
    asks = " --judge JUDGE" if benchmark.card.judging else ""
    print_result(
        {
            "set": fetched.set.version or "unnamed",
            "sha256": fetched.set.sha256,
            "prompts": fetched.set.prompts,
            "files": ", ".join(fetched.files),
            "not there": ", ".join(fetched.not_there) or 0,
            "to write for": str(out / PROMPTS),
            "path": str(out),
        },
        as_json=json,
        next_command=f"longform bench run {name} --set {out} --writer WRITER{asks} --out DIR",
    )


@bench.command
def run(
    name: str,
    *,
    set_path: Annotated[Path, Parameter(name="--set")],
    out: Path,
    responses: Annotated[tuple[Path, ...], Several] = (),
    writer: str | None = None,
    judge: str | None = None,
    models: Path = Path("models.yaml"),
    max_tokens: Count | None = None,
    temperature: Temperature | None = None,
    think: Literal["off", "on", "direct"] = "off",
    think_prompt: Path | None = None,
    budget: Budget | None = None,
    format: Format = "text",
    json: Flag = False,
) -> None:
    """Judge responses to a benchmark's prompts. Started again, it goes on where it stopped; nothing is asked twice.

    Args:
        name: Of the benchmark, as `longform bench list` has it.
        set_path: Its set: a file, or the folder that fetch made.
        out: Folder for the result, the answers behind it and the calls.
        responses: Responses of one or several models; their prompt_id are the ids of the set. Texts count as they are, so
            thoughts and tags have no place in them: `generate --think` leaves them out.
        writer: Have this one write the responses first: a name of models.yaml, or the folder of a local model.
        judge: A name of models.yaml, with a `template` there where it was tuned on another wording. Not for benchmarks that
            need none.
        models: What the names of models mean.
        max_tokens: Longest response (default: as published).
        temperature: Of the writer (default: as published).
        think: Ask the writer for a plan and an answer in tags (on), or for an answer in tags (direct). The answer becomes
            the text.
        think_prompt: Text file with {request} in it, in place of the built-in prompt that asks for this.
        budget: Stop before writing and judging cost more than this.
        format: How tables are written.
        json: The same as --format json.
    """
    from longform.cli.bench_calls import BenchCalls, Fitted, Writing, fit
    from longform.evaluation.benchmarks.benchmark import Answers, Material
    from longform.evaluation.benchmarks.catalogue import find_benchmark, read_set
    from longform.evaluation.benchmarks.plan import Plan, begin
    from longform.evaluation.benchmarks.result import ResponsesUsed, Result, describe_set, find_gaps, write_result
    from longform.records.files import read_all
    from longform.records.schemas import Response
    from longform.selection.grade import check_prompts
    from longform.writers.paths import is_model_folder

    benchmark = find_benchmark(name)
    card = benchmark.card
    wanted = {"--max-tokens": max_tokens, "--temperature": temperature, "--think-prompt": think_prompt}
    wanted["--think"] = None if think == "off" else think
    _check_flags(card, responses, writer=writer, judge=judge, wanted=wanted)
    template = None if judge is None else _check_judge(judge, card, models, budget)
    items = read_set(benchmark, set_path)
    prompts = benchmark.prompts(items)
    version = describe_set(set_path, card, prompts=len(prompts), version=benchmark.version(items))
    plan, writing, fitted = Plan(name, judge), None, Fitted(prompts)
    asking = BenchCalls(models, out, budget)
    if writer is not None:
        writing = Writing(writer, _settings(card.writing, max_tokens, temperature, think), think_prompt)
        spec = None if is_model_folder(writer) else _check_endpoint(writer, models, budget)
        fitted = fit(benchmark, prompts, writing, models=models)
        plan = writing.plan(plan, fitted, spec, set_sha256=version.sha256)
        begin(out, plan)
        responses = (asking.write(fitted, writing),)
    texts = list(read_all(responses, Response))
    check_prompts(texts, {prompt.id: prompt for prompt in prompts}, source=str(set_path))
    begin(out, plan)
    material = Material({item.id: item for item in items}, texts)
    answers, used = asking.judge(benchmark, material, judge, template) if judge is not None else (Answers(), None)
    games = [game.model_copy(update={"judge": judge}) for game in benchmark.games(material, answers)]
    result = Result(
        benchmark=name,
        home=card.home,
        set=version,
        responses=ResponsesUsed(
            writer,
            writing and writing.settings,
            [it.name for it in responses],
            Counter(it.model for it in texts),
            fitted.cut,
            writing and writing.template,
        ),
        judge=used,
        deviations=card.deviations,
        partial=find_gaps(prompts, material, answers, asking.unwritten),
        tables=benchmark.tables(material, answers),
        cost=asking.cost,
    )
    write_result(out, result, answers, games)
    _print(result, out, "json" if json else format, next_command=_next_command(name, out, with_games=bool(games)))


def _check_flags(
    card: "Card",
    responses: tuple[Path, ...],
    *,
    writer: str | None,
    judge: str | None,
    wanted: dict[str, object],
) -> None:
    """Refuse what does not go together, before anything is paid for."""
    from longform.records.errors import BadInputError
    from longform.writers.paths import check_writer

    if bool(responses) == (writer is not None):
        raise BadInputError("bench run: needs either --responses (texts that are there) or --writer (to write them)")
    for flag, value in wanted.items():
        if value is not None and writer is None:
            raise BadInputError(f"{flag}: is the writer's and has no use without --writer")
    if wanted["--think-prompt"] and not wanted["--think"]:
        raise BadInputError("--think-prompt: has no use without --think on or --think direct")
    if card.judging is None and judge is not None:
        raise BadInputError(f"--judge {judge}: {card.name} needs no judge")
    if card.judging is not None and judge is None:
        raise BadInputError(f"--judge: {card.name} needs one")
    if writer is not None:
        check_writer(writer)


def _check_judge(judge: str, card: "Card", models: Path, budget: float | None) -> "JudgeTemplate | None":
    """Refuse a judge that could not be asked, before a writer is paid; its template, if it has one."""
    from longform.judging.judge_template import JudgeTemplate

    spec = _check_endpoint(judge, models, budget)
    if spec.template is None or card.judging is None:
        return None
    return JudgeTemplate.read(spec.template, needs=card.judging.slots, takes=card.judging.optional_slots)


def _check_endpoint(name: str, models: Path, budget: float | None) -> "ModelSpec":
    """Refuse a model that could not be asked, before anything is written; what its name stands for."""
    from longform.endpoints.models import find_model, read_models
    from longform.records.errors import BadInputError

    spec = find_model(read_models(models), name, path=models)
    spec.read_key(name)
    if budget is not None and spec.prices is None:
        raise BadInputError(f"--budget: {models} has no prices for {name!r}, so nothing could be counted")
    return spec


def _settings(
    published: "WritingSettings", max_tokens: int | None, temperature: float | None, think: "Thinking"
) -> "WritingSettings":
    """The published settings with those of the flags in their places."""
    changed = {"max_tokens": max_tokens, "temperature": temperature, "think": think}
    return replace(published, **{name: value for name, value in changed.items() if value is not None})


def _next_command(name: str, out: Path, *, with_games: bool) -> str:
    if with_games:
        return f"longform arena {out}/games.jsonl --anchor NAME=POINTS  (ratings beside a model whose points are known)"
    return f"longform bench list {name}  (what is done otherwise than published)"


def _print(result: "Result", out: Path, form: Format, *, next_command: str) -> None:
    from longform.evaluation.tables import render

    if form == "json":
        print_result(result.as_json() | {"path": str(out)}, as_json=True)
        return
    print("\n\n".join(render(table, form) for table in result.shown_tables))
    if form == "text":
        print()
    print_result(
        {"partial": "; ".join(result.partial) or "no", "cost": result.cost, "path": str(out)},
        as_json=False,
        next_command=next_command,
        aside=form != "text",
    )


def _in_short(card: "Card") -> dict[str, str]:
    """The facts in words."""
    asked = {"writing": card.writing, "judging": card.judging, "comparing": card.comparing}
    named = {name: asdict(settings) for name, settings in asked.items() if settings is not None}
    settings = {
        name: ", ".join(f"{key} {value}" for key, value in values.items() if isinstance(value, int | float))
        for name, values in named.items()
    }
    facts = {name: value for name, value in _facts(card).items() if isinstance(value, str)}
    facts |= {"files": ", ".join(card.files)} | settings
    if card.judging is not None:
        needs, takes = (
            " ".join(f"{{{slot}}}" for slot in it) for it in (card.judging.slots, card.judging.optional_slots)
        )
        facts["template"] = f"one of a judge's own holds {needs}" + (f", and may hold {takes}" if takes else "")
    return facts


def _facts(card: "Card") -> dict[str, Any]:
    return {
        "name": card.name,
        "measures": card.measures,
        "judge": "yes" if card.judging else "no",
        "licence": card.licence,
        "home": card.home,
        "files": dict(card.files),
        "writing": asdict(card.writing),
        "judging": asdict(card.judging) if card.judging else None,
        "comparing": asdict(card.comparing) if card.comparing else None,
        "deviations": list(card.deviations),
    }
