"""`longform audit PAIRS...`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from longform.cli.flags import CostLimit, Flag, Inputs, NonNegative, PositiveInt, Repeated, Seed, TableFormat
from longform.cli.output import console, print_result, print_tables, printable, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.evaluation.audit.run import Audit, Fault
    from longform.evaluation.tables import Table

_OPENING = 100


def audit(
    pairs: Inputs,
    *,
    judge: Repeated = (),
    models: Path = Path("models.yaml"),
    out: Path | None = None,
    repeat: NonNegative = 0,
    attacks: NonNegative = 24,
    budget: CostLimit | None = None,
    show: Annotated[tuple[Literal["wrong", "inconsistent"], PositiveInt] | None, Parameter(negative=())] = None,
    resamples: PositiveInt = 1000,
    seed: Seed = 0,
    format: TableFormat = "text",
    json: Flag = False,
) -> None:
    """Measure how far judges can be trusted before they reward: against people, themselves and each other.

    Recorded verdicts are measured without a call. With --judge, missing ones are requested in both orders; run again, the
    command resumes, and the rows of other judges in OUT stay. 95% intervals resample whole prompts.

    Args:
        pairs: Files of pairs (.jsonl, .parquet): id, prompt, response_a, response_b; label (a, b, tie) by people;
            verdicts {JUDGE: {ab, ba}}, where ab is the outcome with response_a read first; model_a and model_b, who wrote
            them; judge_model {JUDGE: MODEL}.
        judge: A name in models.yaml to ask. May be repeated.
        models: Path to models.yaml (endpoint definitions).
        out: The pairs with all verdicts, repeats, attacks, tokens and costs. Calls are recorded next to it.
        repeat: Extra repeats per question (test-retest).
        attacks: Pairs of each judge to try attacks on: lines under the worse text that ask for its win. Up to four questions
            per pair, on top of those for verdicts; 0 asks none.
        budget: Stop before the calls cost more than this.
        show: Also print the first N pairs that each judge got wrong, or was inconsistent on, as in --show wrong 5.
        resamples: Bootstrap samples behind the intervals.
        seed: Seed of the draws, and of the choice of pairs to attack.
        format: Output format; with tables in Markdown and LaTeX the rest goes to stderr.
        json: The same as --format json.
    """
    from longform.evaluation.audit import run as auditing
    from longform.evaluation.audit.tables import audit_tables
    from longform.evaluation.tables import plain

    result = auditing.audit(
        pairs,
        judges=judge,
        models=models,
        out=out,
        repeats=repeat,
        attacks=attacks,
        budget=budget,
        resamples=resamples,
        seed=seed,
        progress=progress,
        on_plan=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    audited, faults = result.audit, [] if show is None else result.faults(show[0], limit=show[1])
    paid = {} if out is None else {"cost": result.cost, "path": str(out)}
    if json or format == "json":
        shown = {} if show is None else {"shown": [_opening(it) for it in faults]}
        print_result(plain(audited) | {"resamples": resamples, "seed": seed} | shown | paid, as_json=True)
        return
    print_tables(audit_tables(audited), format)
    print()
    if format == "text":
        for it in faults:
            _print_fault(it)
    elif faults:
        print_tables([_faults_table(faults)], format)
    counts: dict[str, Any] = {"pairs": audited.pairs, "prompts": audited.prompts, "labelled": audited.labelled}
    print_result(counts | paid, as_json=False, next_command=_next_command(audited), aside=format != "text")


def _opening(shown: "Fault") -> dict[str, Any]:
    """A pair as --show prints it."""
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


def _print_fault(shown: "Fault") -> None:
    row = {name: printable(value) for name, value in _opening(shown).items() if value is not None}
    print(f"{row['judge']}  {row['id']}  label {row.get('label', 'none')}, ab {row.get('ab')}, ba {row.get('ba')}")
    print(f"  a: {row['response_a']}\n  b: {row['response_b']}\n")


def _faults_table(faults: "Sequence[Fault]") -> "Table":
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
