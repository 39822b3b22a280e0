"""`longform compare A B`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from longform.cli.flags import Budget, Count, Flag, Seed
from longform.cli.output import print_result, printable, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.evaluation.compare.examiners import Examiners
    from longform.evaluation.compare.measures import Measure
    from longform.evaluation.compare.pairing import Pairing
    from longform.evaluation.compare.run import Comparison, Gain
    from longform.evaluation.compare.sides import Side, Written
    from longform.evaluation.tables import Form, Table

Several = Parameter(consume_multiple=True, negative=())
_OPENING = 300


def compare(
    a: str,
    b: str,
    *,
    prompts: Path | None = None,
    grades: Annotated[tuple[Path, ...], Several] = (),
    judge: Annotated[tuple[str, ...], Several] = (),
    grade: Flag = False,
    reward_judge: Annotated[tuple[str, ...], Several] = (),
    models: Path | None = None,
    out: Path | None = None,
    budget: Budget | None = None,
    per: str | None = None,
    show: Count | None = None,
    page: Path | None = None,
    resamples: Count = 2000,
    draws: Count = 10_000,
    seed: Seed = 0,
    format: Literal["text", "markdown", "latex", "json"] = "text",
    json: Flag = False,
) -> None:
    """Compare two runs, or two writers, on the same prompts: paired differences, intervals, and the texts behind them.

    A and B are each a run directory (RUN: its last validated step; RUN@STEP: another one, RUN@0 the start) or a responses
    file (FILE, or FILE@MODEL where it holds several models). Differences are B less A. Without --judge nothing is asked:
    grades on record, words and repetition are compared. With several judges, of which one gave the reward, it also tells
    how much of the gain survives in the eyes of the others.

    Args:
        a: A run or a responses file, usually what came before.
        b: Another one.
        prompts: The prompts of responses files: for judges and --per, and to show what was asked. Those of a run are known.
        grades: Grades files, for the texts of responses files.
        judge: Names of models.yaml that compare each pair of texts, in both orders.
        grade: Have them also grade each text by itself.
        reward_judge: The judge among them whose reward B was trained with; for a run, its recipe tells.
        models: What the names of models mean (default: as in the recipe of a run, else models.yaml).
        out: File for the games of --judge; calls are recorded beside it, and a command that is started again goes on.
        budget: Stop before the calls cost more than this.
        per: Also compare within each value of this field of the prompts, such as meta.domain.
        show: Also print the N prompts with the largest gain and the N with the largest loss, and how their texts open.
        page: Also write a page (.html) with both texts of every prompt side by side.
        resamples: Draws behind the intervals.
        draws: Draws behind the tests.
        seed: Of all draws.
        format: How the result is written; beside tables in Markdown and LaTeX the rest goes to stderr.
        json: The same as --format json.
    """
    from longform.cli.paths import check_out
    from longform.evaluation.compare.examiners import find_reward_judges, tell_apart
    from longform.evaluation.compare.judging import collect_grades
    from longform.evaluation.compare.measures import Sampling
    from longform.evaluation.compare.pairing import pair_sides
    from longform.evaluation.compare.run import compare as compare_sides
    from longform.evaluation.compare.run import measure_all
    from longform.evaluation.compare.sides import find_prompts, read_sides
    from longform.evaluation.tables import render
    from longform.records.errors import BadInputError

    _check_flags(judge, out=out, grade=grade, budget=budget, reward_judge=reward_judge)
    one, other = read_sides(a, b, grades)
    models = models or _models((one, other))
    asked = _examiners(judge, models)
    one, other, lines = tell_apart(one, other, asked)
    sides = one, other
    read = [*(side.source[0] for side in sides), *grades, *([] if prompts is None else [prompts])]
    for flag, path in (("--out", out), ("--page", page)):
        if path is not None:
            check_out(path, *read, flag=flag)
    if page is not None and not page.parent.is_dir():
        raise BadInputError(f"--page {page}: cannot be written: {page.parent} is no folder")
    pairing = pair_sides(*sides, *find_prompts(*sides, prompts), per=per)
    answers, paid = [], {}
    if out is not None:
        from longform.cli.compare_calls import ask_judges, grades_beside

        if grade:
            check_out(grades_beside(out), *read, flag="--grade")
        if any(it.prompt is None for it in pairing.prompts):
            raise BadInputError("--judge: needs the prompts of the responses; name their file with --prompts")
        answers, paid = ask_judges(pairing, judge, models, out, with_grades=grade, budget=budget)
        pairing = pairing.with_grades(collect_grades(answers))
    with progress("measuring texts") as advance:
        measures = measure_all(pairing, answers, on_progress=advance)
    compared = compare_sides(
        pairing,
        measures,
        answers,
        sampling=Sampling(resamples, draws, seed),
        reward_judges=reward_judge or find_reward_judges(other, asked),
    )
    if page is not None:
        from longform.report.compare_page import write_compare_page

        write_compare_page(page, compared, pairing, measures, answers)
        paid["page"] = str(page)
    notes = _notes(sides, pairing, compared) | ({"judges": "; ".join(lines)} if lines else {})
    extremes = [] if show is None else _extremes(pairing, measures[0], show)
    if json or format == "json":
        _print_json(compared, measures[0], extremes, notes | paid)
        return
    _print_tables(compared, format)
    if format == "text":
        _print_extremes(pairing, measures[0], extremes)
    elif extremes:
        print(render(_extremes_table(pairing, measures[0], extremes), format))
    print_result(notes | paid, as_json=False, next_command=_next_command(a, b, prompts, out), aside=format != "text")


def _check_flags(
    judges: tuple[str, ...], *, out: Path | None, grade: bool, budget: float | None, reward_judge: tuple[str, ...]
) -> None:
    from longform.records.errors import BadInputError

    if not judges:
        given = {"--out": out, "--grade": grade, "--budget": budget, "--reward-judge": reward_judge}
        for flag, value in given.items():
            if value:
                raise BadInputError(f"{flag}: is for what --judge asks; no --judge is given")
        return
    if out is None:
        raise BadInputError("--out: names the file for the games that --judge decides; it is missing")
    twice = next((name for name in judges if judges.count(name) > 1), None)
    if twice is not None:
        raise BadInputError(f"--judge {twice}: stands there twice")
    for name in reward_judge:
        if name not in judges:
            raise BadInputError(f"--reward-judge {name}: is none of the judges; name it with --judge too")


def _models(sides: "Sequence[Side]") -> Path:
    """The file of B's recipe, else of A's, else the usual one."""
    recipes = [side.recipe for side in reversed(sides) if side.recipe is not None]
    return recipes[0].models if recipes else Path("models.yaml")


def _examiners(judges: tuple[str, ...], models: Path) -> "Examiners":
    """What the names of --judge mean."""
    from longform.endpoints.models import find_model, read_models
    from longform.evaluation.compare.examiners import Examiner

    specs = read_models(models) if judges else {}
    return {name: Examiner.of(find_model(specs, name, path=models)) for name in judges}


def _notes(sides: "Sequence[Side]", pairing: "Pairing", compared: "Comparison") -> dict[str, Any]:
    """What a reader needs to know beside the tables."""
    a, b = sides
    notes: dict[str, Any] = {
        "a": a.spec if a.spec == a.name else f"{a.name}, of {a.spec}",
        "b": b.spec if b.spec == b.name else f"{b.name}, of {b.spec}",
        "prompts": f"{compared.prompts} that both answered; {compared.only_a} only in a and {compared.only_b} only in b",
        "asked": f"as in {pairing.prompts_from}" if pairing.prompts[0].prompt else pairing.prompts_from,
    }
    if (a.judges or b.judges) and not a.judges & b.judges:
        graded = [f"{it.name} by {', '.join(sorted(it.judges)) or 'nobody'}" for it in sides]
        notes["grades"] = f"on record, {' and '.join(graded)}; only grades of one judge can be compared"
    return notes


def _extremes(pairing: "Pairing", measure: "Measure", count: int) -> "list[Gain]":
    """The largest gains, then the largest losses, the largest of each first."""
    from longform.evaluation.compare.run import rank_gains

    ranked = rank_gains(pairing, measure)
    gains, losses = [it for it in ranked if it.gain > 0], [it for it in reversed(ranked) if it.gain < 0]
    return gains[:count] + losses[:count]


def _print_tables(compared: "Comparison", form: "Form") -> None:
    from longform.evaluation.compare.tables import compare_tables
    from longform.evaluation.tables import render

    print("\n\n".join(render(table, form) for table in compare_tables(compared)), end="\n\n")


def _opening(written: "Sequence[Written]") -> str:
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


def _print_json(compared: "Comparison", measure: "Measure", extremes: "Sequence[Gain]", notes: dict[str, Any]) -> None:
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
