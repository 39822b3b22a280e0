"""Tables of a check of ladders."""

from longform.endpoints.errors import describe_causes
from longform.evaluation.estimates import ClusteredEstimate
from longform.evaluation.ladders.run import LadderCheck
from longform.evaluation.tables import Cell, Column, Table, warn_of_few


def check_tables(check: LadderCheck) -> list[Table]:
    """Return the table of neighbouring rungs and, with a policy, that of free rungs."""
    rows: list[list[Cell]] = [
        [
            "all" if it.lower is None else f"{it.lower} and {it.lower + 1}",
            _cell(it.in_order),
            _cell(it.inverted),
            _cell(it.tied),
            0 if it.in_order is None else it.in_order.n,
            it.missing,
        ]
        for it in check.positions
    ]
    names = ("in order", "inverted", "tie")
    columns = [Column("rungs", is_text=True), *(Column(name, digits=3) for name in names)]
    shown = [it.in_order for it in check.positions if it.in_order is not None]
    notes = [
        "In order: the upper rung wins in both orders; inverted: the lower one does. Rung 1 is the weakest.",
        _unreachable_note(check),
        *([f"Missing verdicts: {describe_causes(check.no_verdict)}."] if check.no_verdict else []),
        *warn_of_few(it.prompts for it in shown),
    ]
    tables = [Table(f"Neighbouring rungs, {check.judge}", [*columns, Column("n"), Column("missing")], rows, notes)]
    if check.free:
        free: list[list[Cell]] = [
            ["all" if it.rung is None else str(it.rung), it.free.cell, it.free.n] for it in check.free
        ]
        tables.append(
            Table(
                "Rungs that the policy's own response beats",
                [Column("rung", is_text=True), Column("free", digits=3), Column("n")],
                free,
                [
                    "The initial policy is promoted from these; `curriculum.start: own` skips those below its own response."
                ],
            )
        )
    return tables


def _unreachable_note(check: LadderCheck) -> str:
    if check.unreachable is None:
        return "Unreachable tops: unknown, because grades or verdicts are missing."
    value = check.unreachable
    return (
        f"Unreachable tops: {value.value.estimate:.3f} of {value.n} ladders (the top beats the rung below and is graded "
        f"at least {check.gap:g} points higher)."
    )


def _cell(value: ClusteredEstimate | None) -> Cell:
    return None if value is None else value.cell
