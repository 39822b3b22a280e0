"""`longform bench list | fetch | run`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from longform.cli.flags import (
    LOCAL_FLAGS,
    READ_FLAGS,
    CostLimit,
    Flag,
    LocalFlags,
    PathList,
    PositiveInt,
    ReadFlags,
    TableFormat,
    Temperature,
)
from longform.cli.output import command_line, console, print_result, print_tables, progress

if TYPE_CHECKING:
    from longform.evaluation.benchmarks.card import BenchmarkCard
    from longform.evaluation.benchmarks.price import BenchmarkPrice
    from longform.evaluation.benchmarks.result import Result


bench = App(name="bench", help="List, fetch and run long-form writing benchmarks.")


@bench.command(name="list")
def list_benchmarks(name: str | None = None, *, json: Flag = False) -> None:
    """List benchmarks: what they measure, whether they need a judge, their licence and source.

    Args:
        name: Show this benchmark (a name of the list, or module:Name of your own) in full, including deviations from the
            published protocol.
        json: Print as JSON.
    """
    from longform.evaluation.benchmarks.catalogue import find_benchmark
    from longform.evaluation.benchmarks.catalogue import list_benchmarks as all_benchmarks
    from longform.evaluation.tables import Column, Table

    benchmarks, problems = all_benchmarks() if name is None else ([find_benchmark(name)], [])
    cards = [it.card for it in benchmarks]
    if json:
        print_result({card.name: _facts(card) for card in cards}, as_json=True)
    elif name is not None:
        print_result(_in_short(cards[0]), as_json=False)
        print("\n".join(["", "Deviations from the published protocol:", *(f"- {it}" for it in cards[0].deviations)]))
        print(f"\nnext  longform bench fetch {name} --out DIR")
    else:
        columns = [Column(it, is_text=True) for it in ("name", "judge", "licence", "measures")]
        rows = [[it.name, "yes" if it.judging else "no", it.licence, it.measures] for it in cards]
        homes = [f"{it.name}: {it.home}" for it in cards] + [f"not available: {it}" for it in problems]
        print_tables([Table("Benchmarks", columns, rows, homes)])
        print("\nnext  longform bench list NAME  (protocol of one benchmark, and deviations from the published one)")


@bench.command
def fetch(name: str, *, out: Path, json: Flag = False) -> None:
    """Download a benchmark's data from its public source.

    Args:
        name: Name of the benchmark (see `longform bench list`).
        out: Folder for the downloaded files and the prompts file (prompts.jsonl) that `longform generate` reads.
        json: Print the result as JSON.
    """
    from longform.evaluation.benchmarks.catalogue import find_benchmark
    from longform.evaluation.benchmarks.fetch import PROMPTS, fetch_set

    benchmark = find_benchmark(name)
    with progress(f"fetching {name}") as advance:
        fetched = fetch_set(benchmark, out, on_progress=advance)
    asks = ["--judge", "JUDGE"] if benchmark.card.judging else []
    print_result(
        {
            "set": fetched.set.version or "unnamed",
            "sha256": fetched.set.sha256,
            "prompts": fetched.set.prompts,
            "files": ", ".join(fetched.files),
            "not there": ", ".join(fetched.not_there) or 0,
            **({"to write for": str(out / PROMPTS)} if benchmark.turns == 1 else {}),
            "path": str(out),
        },
        as_json=json,
        next_command=command_line("bench", "run", name, "--set", out, "--writer", "WRITER", *asks, "--out", "DIR"),
    )


@bench.command
def run(
    name: str,
    *,
    set_path: Annotated[Path, Parameter(name="--set")],
    out: Path,
    responses: PathList = (),
    writer: str | None = None,
    judge: str | None = None,
    models: Path = Path("models.yaml"),
    max_tokens: PositiveInt | None = None,
    temperature: Temperature | None = None,
    think: Literal["off", "on", "direct"] = "off",
    think_prompt: Path | None = None,
    local: LocalFlags = LOCAL_FLAGS,
    budget: CostLimit | None = None,
    dry_run: Flag = False,
    format: TableFormat = "text",
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Score responses to a benchmark's prompts. The price is printed before the first call. Running it again resumes; no
    call is repeated.

    Args:
        name: Name of the benchmark (see `longform bench list`), or module:Name of your own.
        set_path: The benchmark's data: a file, or the folder that `bench fetch` created.
        out: Folder for the result, the judge's answers and the recorded calls.
        responses: Responses files of one or more models; prompt_id is the id in the benchmark's data. Texts are scored as
            they are, so they must not contain thoughts or tags (`generate --think` removes them).
        writer: Generate the responses first with this writer: a name in models.yaml, or the folder of a local model.
        judge: A name in models.yaml; set `template` there for a judge tuned on another prompt. Omit it for benchmarks
            without a judge.
        models: Path to models.yaml (endpoint definitions).
        max_tokens: Maximum response length in tokens (default: as published).
        temperature: Sampling temperature of the writer (default: as published).
        think: Ask the writer for a plan and an answer in tags (on), or for an answer in tags (direct). Only the answer is
            scored.
        think_prompt: Text file with {request} in it, in place of the built-in think prompt.
        budget: Stop before generation and judging cost more than this.
        dry_run: Check the set, the writer and the judge, print the price, and exit.
        format: Output format of the tables.
        json: Same as --format json.
    """
    from longform.evaluation.benchmarks.result import GAMES
    from longform.evaluation.benchmarks.run import price_benchmark, run_benchmark

    settings: dict[str, Any] = {
        "set_path": set_path,
        "out": out,
        "responses": responses,
        "writer": writer,
        "judge": judge,
        "models": models,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "think": think,
        "think_prompt": think_prompt,
        "local": local.parse(),
        "budget": budget,
        "reading": reading.parse(),
    }
    if dry_run:
        _print_price(price_benchmark(name, **settings), as_json=json or format == "json")
        return
    result = run_benchmark(
        name, **settings, progress=progress, on_plan=lambda line: console.print(line, markup=False, soft_wrap=True)
    )
    next_command = _next_command(name, out, with_games=(out / GAMES).exists())
    _print(result, out, "json" if json else format, next_command=next_command)


def _print_price(price: "BenchmarkPrice", *, as_json: bool) -> None:
    from longform.evaluation.tables import plain

    facts = plain(price) if as_json else {name: str(it) for name, it in price.parts.items()}
    print_result(facts, as_json=as_json)


def _next_command(name: str, out: Path, *, with_games: bool) -> str:
    if with_games:
        return command_line("arena", out / "games.jsonl", note="--anchor NAME=RATING: relative to a known rating")
    return command_line("bench", "list", name, note="deviations from the published protocol")


def _print(result: "Result", out: Path, form: TableFormat, *, next_command: str) -> None:
    if form == "json":
        print_result(result.as_json() | {"path": str(out)}, as_json=True)
        return
    print_tables(result.shown_tables, form)
    if form == "text":
        print()
    print_result(
        {"partial": "; ".join(result.partial) or "no", "cost": result.cost, "path": str(out)},
        as_json=False,
        next_command=next_command,
        aside=form != "text",
    )


def _in_short(card: "BenchmarkCard") -> dict[str, str]:
    """Return the benchmark's facts as printed text."""
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
        facts["template"] = f"a custom judge template must contain {needs}" + (f"; optional: {takes}" if takes else "")
    return facts


def _facts(card: "BenchmarkCard") -> dict[str, Any]:
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
