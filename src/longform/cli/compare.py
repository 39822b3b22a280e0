"""`longform compare A B`."""

from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import (
    READ_FLAGS,
    CostLimit,
    Flag,
    NameList,
    PathList,
    PositiveInt,
    ReadFlags,
    Seed,
    TableFormat,
)
from longform.cli.output import command_line, print_result, print_tables, printable, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from longform.evaluation.compare.measures import Measure
    from longform.evaluation.compare.pairing import Pairing
    from longform.evaluation.compare.run import Comparison, Gain
    from longform.evaluation.compare.sides import GradedText
    from longform.evaluation.tables import Table

_OPENING = 300


def compare(
    a: str,
    b: str,
    *,
    prompts: Path | None = None,
    grades: PathList = (),
    judge: NameList = (),
    grade: Flag = False,
    reward_judge: NameList = (),
    models: Path | None = None,
    out: Path | None = None,
    budget: CostLimit | None = None,
    group_by: str | None = None,
    show: PositiveInt | None = None,
    page: Path | None = None,
    resamples: PositiveInt = 2000,
    draws: PositiveInt = 10_000,
    seed: Seed = 0,
    format: TableFormat = "text",
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Compare two runs, or two writers, on the same prompts: paired differences with intervals.

    A and B are each a run directory (RUN: its last validated step; RUN@STEP: that step, RUN@0 the initial policy) or a
    responses file (FILE, or FILE@MODEL if it holds several models). Differences are B minus A. Without --judge, no call is
    made: recorded grades, length and repetition are compared. With several judges, one of which was the reward, the
    command also reports how much of the gain the others confirm.

    Args:
        a: A run or a responses file, usually the baseline.
        b: A run or a responses file.
        prompts: Prompts of the responses files; needed for --judge and --group-by. A run knows its own prompts.
        grades: Grades files of the responses files.
        judge: Names in models.yaml. Each judge compares every pair of texts in both orders.
        grade: Also have the judges grade each text.
        reward_judge: Which of the judges was B's training reward; for a run, taken from its recipe.
        models: Path to models.yaml (default: the one of a run's recipe, else ./models.yaml).
        out: Output file for the games of --judge. Calls are recorded next to it; running the command again resumes.
        budget: Stop before the calls cost more than this.
        group_by: Also compare within each value of this prompt field, such as meta.domain.
        show: Also print the N prompts with the largest gains and the N with the largest losses, with excerpts.
        page: Also write an HTML page with both texts of every prompt side by side.
        resamples: Number of bootstrap samples.
        draws: Number of random sign flips of the permutation tests.
        seed: Random seed.
        format: Output format. With Markdown and LaTeX tables, everything else goes to stderr.
        json: Same as --format json.
    """
    from longform.evaluation.compare import run as comparing
    from longform.evaluation.compare.measures import Sampling
    from longform.evaluation.compare.tables import compare_tables
    from longform.records.errors import BadInputError

    if page is not None and not page.parent.is_dir():
        raise BadInputError(f"--page {page}: cannot be written: {page.parent} is not a folder")
    result = comparing.compare(
        a,
        b,
        prompts=prompts,
        grades=grades,
        judges=judge,
        with_grades=grade,
        reward_judges=reward_judge,
        models=models,
        out=out,
        budget=budget,
        group_by=group_by,
        sampling=Sampling(resamples, draws, seed),
        reserved={} if page is None else {"--page": page},
        reading=reading.parse(),
        progress=progress,
    )
    paid = dict(result.paid)
    if page is not None:
        from longform.report.compare_page import write_compare_page

        write_compare_page(page, result.comparison, result.pairing, result.measures, result.answers, log=out)
        paid["page"] = str(page)
    extremes = [] if show is None else result.extremes(show)
    notes, measure = {**result.notes, **paid}, result.measures[0]
    if json or format == "json":
        _print_json(result.comparison, measure, extremes, notes)
        return
    print_tables(compare_tables(result.comparison), format)
    print()
    if format == "text":
        _print_extremes(result.pairing, measure, extremes)
    elif extremes:
        print_tables([_extremes_table(result.pairing, measure, extremes)], format)
    print_result(notes, as_json=False, next_command=_next_command(a, b, prompts, out, reading), aside=format != "text")


def _opening(written: "Sequence[GradedText]") -> str:
    """Return the beginning of the first text on one line."""
    text = " ".join(written[0].text[: 2 * _OPENING].split())
    return printable(text if len(text) <= _OPENING else f"{text[:_OPENING]} …")


def _print_extremes(pairing: "Pairing", measure: "Measure", extremes: "Sequence[Gain]") -> None:
    for it in extremes:
        change = f"{it.a:.{measure.digits}f} to {it.b:.{measure.digits}f}, {it.gain:+.{measure.digits}f}"
        print(f"{printable(it.prompt.id)}  {printable(measure.name)}: {change}")
        for name, texts in ((pairing.a, it.prompt.a), (pairing.b, it.prompt.b)):
            print(f"  {printable(name)}: {_opening(texts)}")
        print()


def _extremes_table(pairing: "Pairing", measure: "Measure", extremes: "Sequence[Gain]") -> "Table":
    """Return the largest gains and losses as a table that escapes markup in the texts."""
    from longform.evaluation.tables import Column, Table

    names = [Column(it, is_text=True) for it in ("prompt", f"{pairing.a} begins", f"{pairing.b} begins")]
    numbers = [Column(it, digits=measure.digits) for it in (pairing.a, pairing.b, "difference")]
    return Table(
        f"Largest gains and losses: {measure.name}",
        [names[0], *numbers, *names[1:]],
        [[it.prompt.id, it.a, it.b, it.gain, _opening(it.prompt.a), _opening(it.prompt.b)] for it in extremes],
    )


def _print_json(
    compared: "Comparison", measure: "Measure", extremes: "Sequence[Gain]", notes: "Mapping[str, str]"
) -> None:
    from longform.evaluation.tables import plain

    shown = [
        {"prompt_id": it.prompt.id, "measure": measure.name, "a": it.a, "b": it.b}
        | {"opening_a": _opening(it.prompt.a), "opening_b": _opening(it.prompt.b)}
        for it in extremes
    ]
    print_result({"about": notes} | plain(compared) | ({"shown": shown} if extremes else {}), as_json=True)


def _next_command(a: str, b: str, prompts: Path | None, out: Path | None, reading: ReadFlags) -> str:
    """Return the next command: `compare --judge` if nothing was judged yet, else `arena` on the games."""
    if out is not None:
        return command_line("arena", out, "--per-judge")
    asked = [] if prompts is None else ["--prompts", str(prompts)]
    return command_line("compare", a, b, *asked, "--judge", "JUDGE", "--out", "games.jsonl", *reading.again())
