"""`longform compare A B`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import CostLimit, Flag, NameList, PathList, PositiveInt, Seed, TableFormat
from longform.cli.output import print_result, print_tables, printable, progress

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
    json: Flag = False,
) -> None:
    """Compare two runs, or two writers, on the same prompts: paired differences with intervals, and the texts behind them.

    A and B are each a run directory (RUN: its last validated step; RUN@STEP: another one, RUN@0 the start) or a responses
    file (FILE, or FILE@MODEL if it holds several models). Differences are B minus A. Without --judge no call is made:
    recorded grades, length and repetition are compared. With several judges, one of which gave the reward, it also reports
    how much of the gain survives under the others.

    Args:
        a: A run or a responses file, usually the earlier one.
        b: Another one.
        prompts: Prompts of responses files: for judges and --group-by, and to show what was asked. Those of a run are known.
        grades: Grades files, for the texts of responses files.
        judge: Names in models.yaml that compare each pair of texts, in both orders.
        grade: Have them also grade each text.
        reward_judge: The judge among them whose reward B was trained with; for a run, its recipe names it.
        models: Path to models.yaml (default: that of a run's recipe, else models.yaml).
        out: File for the games of --judge. Calls are recorded next to it; run again, the command resumes.
        budget: Stop before the calls cost more than this.
        group_by: Also compare within each value of this field of the prompts, such as meta.domain.
        show: Also print the N prompts with the largest gain and the N with the largest loss, and how their texts begin.
        page: Also write an HTML page with both texts of every prompt side by side.
        resamples: Bootstrap samples behind the intervals.
        draws: Random sign patterns behind the tests.
        seed: Seed of all draws.
        format: Output format; with tables in Markdown and LaTeX the rest goes to stderr.
        json: The same as --format json.
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
        progress=progress,
    )
    paid = dict(result.paid)
    if page is not None:
        from longform.report.compare_page import write_compare_page

        write_compare_page(page, result.comparison, result.pairing, result.measures, result.answers)
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
    print_result(notes, as_json=False, next_command=_next_command(a, b, prompts, out), aside=format != "text")


def _opening(written: "Sequence[GradedText]") -> str:
    """How the first of the texts begins, on one line."""
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
    """The same as a table, in which nothing of a text is read as markup."""
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


def _next_command(a: str, b: str, prompts: Path | None, out: Path | None) -> str:
    """Judging, where nothing was judged; else the games as an arena."""
    if out is not None:
        return shlex.join(["longform", "arena", str(out), "--per-judge"])
    asked = [] if prompts is None else ["--prompts", str(prompts)]
    return shlex.join(["longform", "compare", a, b, *asked, "--judge", "JUDGE", "--out", "games.jsonl"])
