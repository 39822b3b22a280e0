"""`longform audit PAIRS...`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from longform.cli.flags import (
    READ_FLAGS,
    CostLimit,
    Flag,
    Inputs,
    NonNegative,
    PositiveInt,
    ReadFlags,
    Repeated,
    Seed,
    TableFormat,
)
from longform.cli.output import command_line, console, print_result, print_tables, printable, progress
from longform.records.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.evaluation.audit.run import Audit, Fault
    from longform.evaluation.tables import Table
    from longform.statistics.group_games import ComparisonMethod

_OPENING = 100
"""Characters of a text that --show prints."""
ATTACKED = 24
"""Default number of pairs per judge to attack."""


def audit(
    pairs: Inputs,
    *,
    judge: Repeated = (),
    preset: Literal["litbench", "writingpreferencebench", "hellobench"] | None = None,
    models: Path = Path("models.yaml"),
    out: Path | None = None,
    repeat: NonNegative = 0,
    attacks: NonNegative = ATTACKED,
    budget: CostLimit | None = None,
    show: Annotated[tuple[Literal["wrong", "inconsistent"], PositiveInt] | None, Parameter(negative=())] = None,
    resamples: PositiveInt = 1000,
    seed: Seed = 0,
    wording: PositiveInt | None = None,
    criteria: Flag = False,
    format: TableFormat = "text",
    by: Annotated[
        tuple[Literal["peer", "list", "round-robin", "elimination", "anchors"], ...], Parameter(negative=())
    ] = (),
    samples: PositiveInt = 1,
    anchors: NonNegative = 1,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Measure how reliable judges are: agreement with people, with themselves and with each other.

    Recorded verdicts are evaluated without any call. With --judge, missing verdicts are requested in both orders. Running
    the command again resumes it and keeps the rows of other judges in OUT. The 95% intervals resample whole prompts.

    With --by, groups of texts that people scored are compared as the group reward compares them. Reported are agreement,
    position bias, noise and cost of each method, and the cheapest method that is not significantly worse than the best.

    Args:
        pairs: Pairs files (.jsonl, .parquet): id, prompt, response_a, response_b; optional: label (a, b, tie) by people;
            verdicts {JUDGE: {ab, ba}}, where ab is the outcome with response_a shown first; model_a and model_b, the
            authors; judge_model {JUDGE: MODEL}.
        judge: Judge to query: a name in models.yaml. May be repeated.
        preset: Read PAIRS as the published files, or dataset ids, of this set of preferences. litbench: pairs of stories;
            writingpreferencebench: pairs, or requests and texts with scores by people; hellobench: requests and texts with
            scores by GPT-4o.
        models: Path to models.yaml (endpoint definitions).
        out: Output file: the pairs with all verdicts, repeats, attacks, tokens and costs. Calls are recorded next to it.
        repeat: Extra repeats per question (test-retest).
        attacks: Number of pairs per judge to attack: lines that ask for a win are added to the worse text. Each pair costs
            up to four more calls; 0 disables attacks.
        budget: Stop before the calls cost more than this.
        show: Also print the first N pairs that each judge got wrong or was inconsistent on, as in --show wrong 5.
        resamples: Number of bootstrap samples.
        seed: Random seed of the resampling and of the choice of pairs to attack.
        wording: Version of the judge's wording (default: the current one). The answers are recorded under JUDGE@VERSION, so
            that wordings are compared like judges, such as Chinese questions (3) with English ones (2).
        by: Method of comparing the responses of a group: peer, anchors, list, round-robin or elimination. May be repeated.
            PAIRS are then groups files (id, prompt, responses: [{text, score}]), or pairs files, whose rows are groups of
            two. --repeat 1 measures the noise.
        samples: With --by: votes on each pair, or shuffles of each list.
        anchors: With --by anchors: number of rungs below and above the current one. Texts drawn from the group stand for the
            rungs, and the others are compared with them.
        criteria: Also ask about the pairs that have criteria without them, and report agreement with and without.
        format: Output format. With Markdown and LaTeX tables, everything else goes to stderr.
        json: Same as --format json.
    """
    from longform.evaluation.audit import run as auditing
    from longform.evaluation.audit.tables import audit_tables
    from longform.evaluation.tables import plain

    if by:
        given = {
            "--show": show is not None,
            "--wording": wording is not None,
            "--attacks": attacks != ATTACKED,
            "--criteria": criteria,
        }
        _audit_by(
            pairs,
            by,
            given=[flag for flag, is_given in given.items() if is_given],
            judges=judge,
            preset=preset,
            models=models,
            out=out,
            samples=samples,
            anchors=anchors,
            repeats=repeat,
            budget=budget,
            resamples=resamples,
            seed=seed,
            reading=reading,
            format="json" if json else format,
        )
        return
    if anchors != 1:
        raise BadInputError("--anchors: only valid with --by anchors")
    if samples != 1:
        raise BadInputError("--samples: only valid with --by; --repeat asks each question again")
    result = auditing.audit(
        pairs,
        judges=judge,
        preset=preset,
        models=models,
        out=out,
        repeats=repeat,
        attacks=attacks,
        budget=budget,
        resamples=resamples,
        seed=seed,
        reading=reading.parse(),
        wording=wording,
        criteria=criteria,
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


def _audit_by(
    files: Inputs,
    by: "Sequence[ComparisonMethod]",
    *,
    given: "Sequence[str]",
    out: Path | None,
    reading: ReadFlags,
    format: TableFormat,
    **settings: Any,
) -> None:
    """Audit methods of comparing groups, and print the result."""
    from longform.evaluation.audit.groups import audit_groups, group_tables
    from longform.evaluation.tables import plain

    if given:
        raise BadInputError(f"{given[0]}: not valid with --by")
    if out is None or not settings["judges"]:
        raise BadInputError("--by: needs --judge and --out, the file for the scores")
    if settings["anchors"] != 1 and "anchors" not in by:
        raise BadInputError("--anchors: only valid with --by anchors")
    audited = audit_groups(
        files,
        methods=by,
        out=out,
        reading=reading.parse(),
        progress=progress,
        on_plan=lambda line: console.print(line, markup=False, soft_wrap=True),
        **settings,
    )
    paid = {"cost": audited.cost, "path": str(out)}
    if format == "json":
        print_result(plain(audited._asdict()) | paid, as_json=True)
        return
    print_tables(group_tables(audited), format)
    print()
    chosen = audited.advice.by
    options = "" if settings["samples"] == 1 else f", samples: {settings['samples']}"
    if chosen is not None and chosen.by == "anchors" and settings["anchors"] != 1:
        options += f", anchors: {settings['anchors']}"
    reward = None if chosen is None else f"rewards=[{{kind: group, judge: {chosen.judge}, by: {chosen.by}{options}}}]"
    print_result(
        {"groups": audited.groups, "prompts": audited.prompts} | paid,
        as_json=False,
        next_command=None if reward is None else printable(command_line("train", "RECIPE", "--set", reward)),
        aside=format != "text",
    )


def _opening(shown: "Fault") -> dict[str, Any]:
    """Return the fields of a pair that --show prints."""
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
    """Return the pairs of --show as a table that escapes markup in the texts."""
    from longform.evaluation.tables import Column, Table

    rows = [_opening(it) for it in faults]
    names = ("judge", "id", "label", "ab", "ba", "response_a", "response_b")
    columns = [Column(name.replace("_", " "), is_text=True) for name in names]
    return Table("Pairs behind the numbers", columns, [[row[name] for name in names] for row in rows])


def _next_command(audited: "Audit") -> str | None:
    """Return a `train` command with the recommended judge or panel; None without labels by people."""
    from longform.evaluation.audit.advice import rank

    advice = {it.judge: it.advice for it in audited.judges}
    asked = [it for it in audited.judges if "@" not in it.judge]  # a run begins with the current wording
    fit = rank({it.judge: it.figures for it in asked if it.figures.accuracy is not None}, advice)
    if not fit:
        return None
    reward = [f"judge={fit[0]}", f"position={advice[fit[0]].use}"]
    if audited.panel is not None and audited.panel.use:
        members = audited.panel.panel.judges
        position = "both" if any(advice[it].use == "both" for it in members) else "second"
        reward = [f"judge=[{', '.join(members)}]", "combine=mean", f"position={position}"]
    settings = [word for it in reward for word in ("--set", f"rewards.pairwise.{it}")]
    return printable(command_line("train", "RECIPE", *settings, note="the examiner must be another judge"))
