"""`longform audit PAIRS...`."""

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from longform.cli.flags import Budget, Count, Flag, Seed
from longform.cli.output import console, print_result, printable, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.evaluation.audit.pairs import AuditedPair
    from longform.evaluation.audit.run import Audit, Shown
    from longform.evaluation.tables import Form, Table

NoneOrMore = Annotated[int, Parameter(validator=Number(gte=0))]
_OPENING = 100


def audit(
    pairs: Annotated[tuple[Path, ...], Parameter(negative=())],
    *,
    judge: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    models: Path = Path("models.yaml"),
    out: Path | None = None,
    repeat: NoneOrMore = 0,
    attacks: NoneOrMore = 24,
    budget: Budget | None = None,
    show: Annotated[tuple[Literal["wrong", "inconsistent"], Count] | None, Parameter(negative=())] = None,
    resamples: Count = 1000,
    seed: Seed = 0,
    format: Literal["text", "markdown", "latex", "json"] = "text",
    json: Flag = False,
) -> None:
    """Measure how far judges can be trusted, before they reward: against people, themselves and each other.

    Verdicts on record are measured without a call. With --judge what is missing is asked for, in both orders; started again,
    it goes on where it stopped, and what OUT holds of other judges stays. Intervals of 95% come from drawing whole prompts.

    Args:
        pairs: Files of pairs (.jsonl, .parquet): id, prompt, response_a, response_b; label (a, b, tie) of people;
            verdicts {JUDGE: {ab, ba}}, where ab is the outcome with response_a read first; model_a and model_b, who wrote
            them; judge_model {JUDGE: MODEL}.
        judge: A name of models.yaml to ask. May be repeated.
        models: What the names of models mean.
        out: The pairs with all verdicts, repeats, attacks, tokens and costs. Calls are recorded beside it.
        repeat: Ask each question so many times more, to see the judge's noise.
        attacks: Pairs of each judge to try attacks on: lines under the worse text that ask for its win. Up to four questions
            a pair beside those for verdicts; 0 asks none.
        budget: Stop before the calls cost more than this.
        show: Also print the first N pairs that each judge got wrong, or was inconsistent on, as in --show wrong 5.
        resamples: Draws behind the intervals.
        seed: Of the draws, and of the choice of pairs to attack.
        format: How the result is written; beside tables in Markdown and LaTeX the rest goes to stderr.
        json: The same as --format json.
    """
    from longform.cli.paths import check_out
    from longform.evaluation.audit.pairs import keep_others, read_pairs
    from longform.evaluation.audit.run import audit_pairs, find_faults
    from longform.evaluation.estimates import Bootstrap
    from longform.evaluation.tables import plain, render
    from longform.records.errors import BadInputError

    if out is not None:
        check_out(out, *pairs)
    rows = read_pairs(pairs)
    cost = None
    if judge:
        if out is None:
            raise BadInputError("--out: names the file for the verdicts that --judge asks for; it is missing")
        if twice := next((name for name in judge if judge.count(name) > 1), None):
            raise BadInputError(f"--judge {twice}: is named twice")
        if out.exists():
            rows = keep_others(rows, out, judge)
        rows, cost = _ask(rows, judge, models, out, repeats=repeat, attacks=attacks, budget=budget, seed=seed)
    elif flag := _without_judge(out=out, repeat=repeat, budget=budget):
        raise BadInputError(f"{flag}: is for the verdicts that --judge asks for; no --judge is given")
    if not any(row.judges for row in rows):
        raise BadInputError(f"{pairs[0]}: holds no verdicts; name a --judge to ask for them")
    audited = audit_pairs(rows, Bootstrap(resamples, seed))
    faults = (
        []
        if show is None
        else [it for one in audited.judges for it in find_faults(rows, one.judge, show[0], most=show[1])]
    )
    result: dict[str, Any] = {"pairs": audited.pairs, "prompts": audited.prompts, "labelled": audited.labelled}
    paid = {} if out is None else {"cost": cost, "path": str(out)}
    if json or format == "json":
        shown = {} if show is None else {"shown": [_opening(it) for it in faults]}
        print_result(plain(audited) | {"resamples": resamples, "seed": seed} | shown | paid, as_json=True)
        return
    _print_tables(audited, format)
    if format == "text":
        for it in faults:
            _print_fault(it)
    elif faults:
        print(render(_faults_table(faults), format))
    print_result(result | paid, as_json=False, next_command=_next_command(audited), aside=format != "text")


def _without_judge(*, out: Path | None, repeat: int, budget: float | None) -> str | None:
    """A flag that means nothing without --judge."""
    given = {"--out": out is not None, "--repeat": bool(repeat), "--budget": budget is not None}
    return next((flag for flag, is_given in given.items() if is_given), None)


def _ask(
    pairs: "list[AuditedPair]",
    judges: tuple[str, ...],
    models: Path,
    out: Path,
    *,
    repeats: int,
    attacks: int,
    budget: float | None,
    seed: int,
) -> "tuple[list[AuditedPair], str]":
    """The pairs with what the judges were asked, written to `out`, and the cost so far."""
    from longform.cli.calls import RecordedCalls
    from longform.evaluation.audit.asking import Auditor
    from longform.judging.pairwise import PairwiseJudge
    from longform.records.files import write_rows

    cost = ""
    for name in judges:
        # Every name is checked before the first call is paid.
        RecordedCalls(out, models, name, budget=budget).log.close()
    console.print(_announce(len(pairs), len(judges), repeats=repeats, attacks=attacks), markup=False, soft_wrap=True)
    for name in judges:
        with RecordedCalls(out, models, name, budget=budget) as calls:

            async def ask(calls: RecordedCalls, name: str, rows: "list[AuditedPair]") -> "list[AuditedPair]":
                async with calls.endpoint() as endpoint:
                    secret = calls.log.secret()
                    auditor = Auditor(
                        lambda position: PairwiseJudge(endpoint, position=position, secret=secret), log=calls.log
                    )
                    with progress(f"judging with {name}") as advance:
                        rows = await auditor.judge_pairs(rows, repeats=repeats, on_progress=advance)
                    if not attacks:
                        return rows
                    with progress(f"attacking {name}") as advance:
                        return await auditor.attack_pairs(rows, count=attacks, seed=seed, on_progress=advance)

            pairs = asyncio.run(ask(calls, name, pairs))
            cost = calls.cost()
    write_rows(out, pairs)
    return pairs, cost


def _announce(pairs: int, judges: int, *, repeats: int, attacks: int) -> str:
    """The most that will be asked, said before it is paid for."""
    from longform.evaluation.audit.asking import QUESTIONS_OF_ATTACK
    from longform.records.schemas import ORDERS

    verdicts, attacked = len(ORDERS) * pairs * (1 + repeats), min(attacks, pairs)
    who = f"each of {judges} judges" if judges > 1 else "the judge"
    more = (
        f" and {QUESTIONS_OF_ATTACK * attacked} for attacks on {attacked} pairs (--attacks 0 asks none)"
        if attacked
        else ""
    )
    return f"{who} gets at most {verdicts} questions for verdicts{more}; what is on record is not asked again"


def _print_tables(audited: "Audit", form: "Form") -> None:
    from longform.evaluation.audit.tables import audit_tables
    from longform.evaluation.tables import render

    print("\n\n".join(render(table, form) for table in audit_tables(audited)), end="\n\n")


def _opening(shown: "Shown") -> dict[str, Any]:
    """A pair as --show tells it."""
    pair = shown.pair
    return {
        "judge": shown.judge,
        "id": pair.id,
        "label": pair.label,
        "ab": shown.ab,
        "ba": shown.ba,
        "response_a": pair.response_a[:_OPENING],
        "response_b": pair.response_b[:_OPENING],
    }


def _print_fault(shown: "Shown") -> None:
    told = {name: printable(value) for name, value in _opening(shown).items() if value is not None}
    print(f"{told['judge']}  {told['id']}  label {told.get('label', 'none')}, ab {told.get('ab')}, ba {told.get('ba')}")
    print(f"  a: {told['response_a']}\n  b: {told['response_b']}\n")


def _faults_table(faults: "Sequence[Shown]") -> "Table":
    """The pairs of --show as a table, in which nothing of a text is read as markup."""
    from longform.evaluation.tables import Column, Table

    rows = [_opening(it) for it in faults]
    names = ("judge", "id", "label", "ab", "ba", "response_a", "response_b")
    columns = [Column(name.replace("_", " "), is_text=True) for name in names]
    return Table("Pairs behind the numbers", columns, [[row[name] for name in names] for row in rows])


def _next_command(audited: "Audit") -> str | None:
    """Training with what is advised, where people's labels speak for it."""
    from longform.evaluation.audit.advice import rank

    advice = {it.judge: it.advice for it in audited.judges}
    fit = rank({it.judge: it.figures for it in audited.judges if it.figures.accuracy is not None}, advice)
    if not fit:
        return None
    reward = [f"judge={fit[0]}", f"position={advice[fit[0]].use}"]
    if audited.panel is not None and audited.panel.use:
        members = audited.panel.panel.judges
        position = "both" if any(advice[it].use == "both" for it in members) else "second"
        reward = [f"judge=[{', '.join(members)}]", "combine=mean", f"position={position}"]
    settings = [word for it in reward for word in ("--set", f"rewards.pairwise.{it}")]
    return printable(shlex.join(["longform", "train", "RECIPE", *settings]))
