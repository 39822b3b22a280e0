"""Tables of means by model and group, each with its interval and n.

Values of one prompt belong together when an interval is drawn, whatever sample or criterion they come from.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from longform.evaluation.tables import Cell, Column, Table, explain, warn_of_few
from longform.statistics.bootstrap import Interval, clustered_interval

Statistic = Callable[[Sequence[float], Sequence[Hashable]], Interval]


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """What is known about one thing that was scored: a response, or one criterion of it."""

    model: str
    prompt_id: str
    values: Mapping[str, float]
    """By measure; one that is not known is left out."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """What it belongs to, such as {"language": "en"}."""


@dataclass(frozen=True, slots=True)
class TableMeasure:
    """A column of numbers."""

    name: str
    digits: int = 2
    statistic: Statistic = clustered_interval
    """Of all values of a row, with the prompt of each."""
    holds_for_few: bool = False
    """Its interval is right from few prompts too."""


def tabulate(
    title: str,
    scored: Sequence[ScoredItem],
    measures: Sequence[TableMeasure],
    *,
    by: str | None = None,
    order: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """A row for each model, or for each group and model where `by` names a kind of group.

    Args:
        title: of the table.
        scored: all values; what is in no group of this kind is left out.
        measures: the columns, each followed by its n; a last column counts prompts, where a row has several values of one.
        by: the kind of group.
        order: names of groups to list first, in this order; the others follow in order of occurrence.
        notes: below the table.
    """
    kept = [it for it in scored if by is None or by in it.groups]
    models = list(dict.fromkeys(it.model for it in kept))
    groups = [None] if by is None else list(dict.fromkeys([*order, *(it.groups[by] for it in kept)]))
    columns = [Column(by, is_text=True)] if by is not None else []
    columns.append(Column("model", is_text=True))
    for measure in measures:
        columns += [Column(measure.name, measure.digits), Column("n" if len(measures) == 1 else f"n {measure.name}")]
    named = [(group, model) for group in groups for model in models]
    filled = {
        (group, model): here
        for group, model in named
        if (here := [it for it in kept if it.model == model and (by is None or it.groups[by] == group)])
    }
    rows: list[list[Cell]] = [
        [*([] if group is None else [group]), model, *(cell for measure in measures for cell in _cells(measure, here))]
        for (group, model), here in filled.items()
    ]
    prompts = [len({it.prompt_id for it in here}) for here in filled.values()]
    if any(count < len(here) for count, here in zip(prompts, filled.values(), strict=True)):
        columns.append(Column("prompts"))
        rows = [[*row, count] for row, count in zip(rows, prompts, strict=True)]
    few = [] if all(measure.holds_for_few for measure in measures) else warn_of_few(prompts)
    return Table(title, columns, rows, [*notes, *few])


def _cells(measure: TableMeasure, scored: Sequence[ScoredItem]) -> tuple[Cell, Cell]:
    """The statistic and n."""
    known = [(it.values[measure.name], it.prompt_id) for it in scored if measure.name in it.values]
    if not known:
        return None, 0
    values, prompts = zip(*known, strict=True)
    return explain(measure.statistic(values, prompts), prompts=len(set(prompts))), len(known)
