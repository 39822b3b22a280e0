"""Tables of means by model and group, each with its interval and n.

Values of the same prompt are resampled together, whichever sample or criterion they come from.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from longform.evaluation.tables import Cell, Column, Table, explain, warn_of_few
from longform.statistics.bootstrap import Interval, clustered_interval

Statistic = Callable[[Sequence[float], Sequence[Hashable]], Interval]


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """Values of one scored item: a response, or one criterion of it."""

    model: str
    prompt_id: str
    values: Mapping[str, float]
    """Value by measure; unknown ones are absent."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Groups of the item, such as {"language": "en"}."""


@dataclass(frozen=True, slots=True)
class TableMeasure:
    """A column of numbers in a result table."""

    name: str
    digits: int = 2
    statistic: Statistic = clustered_interval
    """Computes the cell from a row's values and their prompts."""
    holds_for_few: bool = False
    """Whether the interval is valid for few prompts too."""


def tabulate(
    title: str,
    scored: Sequence[ScoredItem],
    measures: Sequence[TableMeasure],
    *,
    by: str | None = None,
    order: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """Build a table with a row per model, or per group and model with `by`.

    Args:
        title: Title of the table.
        scored: Scored items; items without a group of kind `by` are left out.
        measures: Columns, each followed by its n; a last column counts prompts if rows have several values per prompt.
        by: Kind of group.
        order: Groups to list first, in this order; others follow in order of occurrence.
        notes: Lines below the table.
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
        (group, model): items
        for group, model in named
        if (items := [it for it in kept if it.model == model and (by is None or it.groups[by] == group)])
    }
    rows: list[list[Cell]] = [
        [*([] if group is None else [group]), model, *(cell for measure in measures for cell in _cells(measure, items))]
        for (group, model), items in filled.items()
    ]
    prompts = [len({it.prompt_id for it in items}) for items in filled.values()]
    if any(count < len(items) for count, items in zip(prompts, filled.values(), strict=True)):
        columns.append(Column("prompts"))
        rows = [[*row, count] for row, count in zip(rows, prompts, strict=True)]
    few = [] if all(measure.holds_for_few for measure in measures) else warn_of_few(prompts)
    return Table(title, columns, rows, [*notes, *few])


def _cells(measure: TableMeasure, scored: Sequence[ScoredItem]) -> tuple[Cell, Cell]:
    """Return the cells of the statistic and of n."""
    known = [(it.values[measure.name], it.prompt_id) for it in scored if measure.name in it.values]
    if not known:
        return None, 0
    values, prompts = zip(*known, strict=True)
    return explain(measure.statistic(values, prompts), prompts=len(set(prompts))), len(known)
