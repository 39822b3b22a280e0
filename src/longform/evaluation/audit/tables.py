"""Tables of an audit: figures, agreement between judges, recommendations."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from longform.endpoints.errors import describe_causes
from longform.evaluation.audit.agreement import InterRaterAgreement, RaterPair
from longform.evaluation.audit.criteria import CriteriaGain
from longform.evaluation.audit.people import PeopleAgreement
from longform.evaluation.audit.run import Audit, JudgeAudit
from longform.evaluation.estimates import ClusteredEstimate
from longform.evaluation.tables import Cell, Column, Table, show, warn_of_few


class _TableLine(NamedTuple):
    field: str
    """Field of `JudgeFigures`."""
    name: str
    digits: int = 3


_AGREEMENT = (
    _TableLine("consistent_and_correct", "consistent and correct"),
    _TableLine("consistent_and_correct_decided", "  without labelled ties"),
    _TableLine("each_order_correct", "each order separately"),
    _TableLine("each_order_correct_decided", "  without labelled ties"),
    _TableLine("accuracy", "accuracy, ties half (chance 0.5)"),
    _TableLine("follows_one_order", "follows the labels, one order"),
    _TableLine("follows_both_orders", "follows the labels, both orders"),
)
_BIASES = (
    _TableLine("consistency", "both orders agree"),
    _TableLine("contradiction", "orders prefer different texts"),
    _TableLine("first_lead", "first text wins, minus 0.5"),
    _TableLine("longer_wins", "prefers the longer text"),
    _TableLine("humans_longer_wins", "  people do"),
    _TableLine("length_lean", "  minus people, ties half"),
    _TableLine("accuracy_longer", "accuracy where people chose the longer"),
    _TableLine("accuracy_shorter", "accuracy where people chose the shorter"),
    _TableLine("own_wins", "win rate of own texts"),
    _TableLine("self_lean", "  minus people, or other judges"),
)
_ANSWERS = (
    _TableLine("ties", "ties"),
    _TableLine("no_verdict", "no verdict"),
    _TableLine("retest", "repeats that differ"),
    _TableLine("turned_by_attack", "verdicts flipped by attack"),
    _TableLine("turned_by_harmless", "  by a neutral line"),
    _TableLine("attack_effect", "  difference"),
    _TableLine("cost", "cost per verdict", 6),
    _TableLine("prompt_tokens", "prompt tokens", 0),
    _TableLine("completion_tokens", "completion tokens", 0),
)

_PEOPLE = {
    "ties": "ties",
    "first text wins, minus 0.5": "first_lead",
    "prefers the longer text": "longer_wins",
    "response_b wins": "b_wins",
}
"""Figures of a person, by their names in the table."""
_SHARED = ("first_lead", "longer_wins")
"""Of these, the ones that stand beside those of the judges."""


def audit_tables(audit: Audit) -> list[Table]:
    """Return all non-empty tables, recommendations last."""
    tables = [
        _figures("Agreement with people", _AGREEMENT, audit.judges, _agreement_notes(audit)),
        _criteria(audit.criteria),
        _figures(
            "Bias: position, length, own texts", _BIASES, audit.judges, people=audit.people if audit.judges else None
        ),
        _figures("Answers", _ANSWERS, audit.judges, _cause_notes(audit.judges)),
    ]
    if audit.between.pairs:
        tables.append(_between(audit.between))
    if audit.people is not None:
        tables += people_tables(audit.people, leave_out=_SHARED if audit.judges else ())
    return [*(it for it in tables if it.rows), *([_advice(audit)] if audit.judges else [])]


def _criteria(gains: Sequence[CriteriaGain]) -> Table:
    """Build the table about judges that were asked with and without criteria."""
    rows: list[list[Cell]] = [
        [it.judge, it.with_criteria.cell, it.without.cell, it.gain.cell, it.gain.n, it.gain.prompts] for it in gains
    ]
    columns = [Column("judge", is_text=True), Column("with", digits=3), Column("without", digits=3)]
    columns += [Column("difference", digits=3), Column("n"), Column("prompts")]
    notes = ["Accuracy by people's labels, ties of a judge half, on the same questions about pairs with criteria."]
    return Table(
        "Agreement with people, by criteria", columns, rows, [*notes, *warn_of_few(it.gain.prompts for it in gains)]
    )


def people_tables(people: PeopleAgreement, *, leave_out: Collection[str] = ()) -> list[Table]:
    """Return the tables about those who labelled the pairs, without the figures in `leave_out`."""
    rows: list[list[Cell]] = []
    for title, field in _PEOPLE.items():
        name = title
        for it in people.people:
            figure: ClusteredEstimate | None = getattr(it, field)
            if figure is not None and field not in leave_out:
                rows.append([name, it.person, show(figure.cell, digits=3), figure.n, figure.prompts])
                name = ""
    columns = [Column("figure", is_text=True), Column("person", is_text=True), Column("95% interval")]
    tables = [Table("People", [*columns, Column("n"), Column("prompts")], rows, [])]
    if people.shared:
        notes = [f"{people.shared} pairs have labels by at least two people."]
        for kind, alpha in (("nominal", people.alpha_nominal), ("ordinal", people.alpha_ordinal)):
            if alpha is not None:
                notes.append(f"Krippendorff's alpha, {kind}: {show(alpha.cell, digits=3)}.")
        tables.append(_agreement_table("Agreement between people", "person", people.pairs, notes))
    return tables


def _figures(
    title: str,
    lines: Sequence[_TableLine],
    judges: Sequence[JudgeAudit],
    notes: Sequence[str] = (),
    *,
    people: PeopleAgreement | None = None,
) -> Table:
    """Build a table with a row per figure and judge, and person where both have it. Digits differ by row, so numbers are
    formatted here.
    """
    rows: list[list[Cell]] = []
    prompts: list[int] = []
    for line in lines:
        name = line.name
        figures = [(it.judge, getattr(it.figures, line.field)) for it in judges]
        if people is not None and line.field in _SHARED:
            figures += [(f"{it.person} (person)", getattr(it, line.field)) for it in people.people]
        for rater, figure in figures:
            if figure is not None:
                rows.append([name, rater, show(figure.cell, digits=line.digits), figure.n, figure.prompts])
                prompts.append(figure.prompts)
                name = ""
    rater = "judge" if people is None else "judge or person"
    columns = [Column("figure", is_text=True), Column(rater, is_text=True), Column("95% interval")]
    return Table(title, [*columns, Column("n"), Column("prompts")], rows, [*notes, *warn_of_few(prompts)])


def _agreement_notes(audit: Audit) -> list[str]:
    ties = f", {audit.labelled_ties} of them ties" if audit.labelled_ties else ""
    notes = [f"{audit.labelled} of {audit.pairs} pairs are labelled{ties}."]
    if audit.weighted:
        notes.append("Pairs count by their weights: figures are those of the pairs that they were sampled from.")
    return notes


def _cause_notes(judges: Sequence[JudgeAudit]) -> list[str]:
    return [f"Missing verdicts of {it.judge}: {describe_causes(it.causes)}." for it in judges if it.causes]


def _between(between: InterRaterAgreement) -> Table:
    notes = ["Cohen's kappa with linear weights on a < tie < b. An item is a pair in one order."]
    for name, figure in (("nominal", between.alpha_nominal), ("ordinal", between.alpha_ordinal)):
        if figure is not None:
            alpha = show(figure.cell, digits=3)
            notes.append(
                f"Krippendorff's alpha of all judges, {name}: {alpha}; {figure.n} items, {figure.prompts} prompts."
            )
    notes += warn_of_few(it.agreement.prompts for it in between.pairs)
    return _agreement_table("Agreement between judges", "judge", between.pairs, notes)


def _agreement_table(title: str, rater: str, pairs: Sequence[RaterPair], notes: Sequence[str]) -> Table:
    """Build a table with a row for every two raters; `rater` is the name of their column."""
    rows: list[list[Cell]] = [
        [it.one, it.other, it.agreement.cell, it.kappa.cell, it.agreement.n, it.agreement.prompts] for it in pairs
    ]
    columns = [Column(rater, is_text=True), Column("and", is_text=True), Column("agreement", digits=3)]
    columns += [Column("kappa", digits=3), Column("n"), Column("prompts")]
    return Table(title, columns, rows, notes)


def _advice(audit: Audit) -> Table:
    rows: list[list[Cell]] = []
    for it in audit.judges:
        use = {"second": "position: second", "both": "position: both"}.get(it.advice.use, it.advice.use)
        for number, reason in enumerate([*it.advice.because, *(f"caution: {one}" for one in it.advice.cautions)]):
            rows.append([it.judge if not number else "", use if not number else "", reason])
    if audit.panel is not None:
        rows.append(
            [" and ".join(audit.panel.panel.judges), "panel" if audit.panel.use else "no panel", audit.panel.because]
        )
    columns = [Column(name, is_text=True) for name in ("judge", "use", "why")]
    notes = [] if audit.labelled else ["No pair is labelled by people, so agreement with people was not measured."]
    return Table("Advice", columns, rows, notes)
