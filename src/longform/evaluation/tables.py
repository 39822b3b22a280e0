"""Result tables as text, Markdown and LaTeX, and their values as JSON.

Numbers are shown with their interval or with the reason why they have none. Names and texts of models are untrusted: control
characters become spaces, and Markdown and LaTeX markup is escaped.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, NamedTuple

from rich.cells import cell_len

from longform.statistics.bootstrap import Interval

FEW_PROMPTS = 20
"""Below this number of prompts, a percentile bootstrap is clearly too narrow."""
SINGLE_PROMPT = "a single prompt"
"""The most common reason for a missing interval: there is nothing to resample."""


class NoInterval(NamedTuple):
    """An estimate without an interval, and the reason."""

    estimate: float
    why: str


Form = Literal["text", "markdown", "latex"]
WIDTH = 80
"""Default width of text tables in columns."""
_GAP = "  "
_INTERVAL = re.compile(r" (?=\()")
"""Separator between an estimate and its bounds."""
_WORD = re.compile(r"\S+?(?:(?<=\w)[-/_@](?=\w)|(?=\s|$))")
"""A word, or a part of a word up to a mark after which it may be broken."""
Cell = str | float | Interval | NoInterval | None
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&#$])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
} | {character: "\\" + character for character in "&%$#_{}"}


@dataclass(frozen=True, slots=True)
class Column:
    """Header and number format of a column."""

    name: str
    digits: int = 0
    """Digits after the decimal point."""
    is_text: bool = False
    """Left-aligned."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns; None is an empty cell."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    """Lines below the table."""


class ShownTable(NamedTuple):
    """A table whose cells are text, for a page."""

    title: str
    columns: Sequence[tuple[str, bool]]
    """Name, and whether the column contains text."""
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


def format_table(table: Table) -> ShownTable:
    """Format the cells of a table for a page."""
    return ShownTable(table.title, [(it.name, it.is_text) for it in table.columns], _shown(table)[1:], table.notes)


def table_as_json(table: Table) -> dict[str, Any]:
    """A table as it is stored: title, rows by the names of their columns, notes, and digits; `stored_table` reads it."""
    rows = [{column.name: plain(cell) for column, cell in zip(table.columns, row, strict=True)} for row in table.rows]
    digits = {column.name: None if column.is_text else column.digits for column in table.columns}
    return {"title": table.title, "rows": rows, "notes": list(table.notes), "digits": digits}


def stored_table(result: Mapping[str, Any]) -> Table:
    """A table of a stored result; a column that some rows lack is empty there.

    Args:
        result: `title`, `rows` (values by column), `notes`, and `digits` by column (null for text; results of earlier
            versions have none).

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not a stored table.
    """
    rows = result["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_stored_cell(row.get(name)) for name in names] for row in rows]
    digits = result.get("digits") or {name: _digits([row[index] for row in cells]) for index, name in enumerate(names)}
    columns = [Column(str(it), int(digits.get(it) or 0), is_text=digits.get(it, 0) is None) for it in names]
    return Table(str(result["title"]), columns, cells, list(map(str, result.get("notes", ()))))


def _stored_cell(value: Any) -> Cell:
    """A stored value: text, a number, or an estimate with its interval or the reason why it has none."""
    if isinstance(value, Mapping):
        estimate, low, high = (
            math.nan if value[it] is None else float(value[it]) for it in ("estimate", "low", "high")
        )
        if "no_interval" in value:
            return NoInterval(estimate, str(value["no_interval"]))
        return Interval(estimate, low, high)
    return value if value is None or isinstance(value, int | float) else str(value)


def _digits(cells: Sequence[Cell]) -> int | None:
    """Digits that fit the cells of a column; None for text."""
    if any(isinstance(it, str) for it in cells):
        return None
    return 0 if all(it is None or isinstance(it, int) for it in cells) else 3


def render(table: Table, form: Form = "text", *, width: int = WIDTH) -> str:
    """Render a table without a final line break; text tables are at most `width` columns wide."""
    if form == "text":
        return _as_text(table, width)
    return _as_markdown(table) if form == "markdown" else _as_latex(table)


def show(cell: Cell, *, digits: int = 0) -> str:
    """Format a cell as one line of text: an interval as `estimate (low to high)`."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return "".join(character if character.isprintable() else " " for character in cell)
    if isinstance(cell, NoInterval):
        return "-" if math.isnan(cell.estimate) else f"{cell.estimate:.{digits}f} ({cell.why})"
    if not isinstance(cell, Interval):
        return "-" if math.isnan(cell) else f"{cell:.{digits}f}"
    if math.isnan(cell.estimate):
        return "-"
    bounds = "no interval" if math.isnan(cell.low + cell.high) else f"{cell.low:.{digits}f} to {cell.high:.{digits}f}"
    return f"{cell.estimate:.{digits}f} ({bounds})"


def explain(value: Interval, *, prompts: int) -> Interval | NoInterval:
    """Return an interval over `prompts` prompts or, if it has no bounds, the estimate with the reason."""
    if math.isfinite(value.low) and math.isfinite(value.high):
        return value
    return NoInterval(value.estimate, SINGLE_PROMPT if prompts == 1 else "not defined in enough draws of prompts")


def warn_of_few(prompts: Iterable[int]) -> list[str]:
    """Return a note if some rows are based on too few prompts."""
    few = any(1 < count < FEW_PROMPTS for count in prompts)
    return [f"Intervals from fewer than {FEW_PROMPTS} prompts are too narrow."] if few else []


def plain(value: Any) -> Any:
    """Convert `value` to JSON types: dataclasses and named tuples become objects, non-finite numbers null.

    Objects with `as_json` define their own representation.
    """
    if hasattr(value, "as_json"):
        return plain(value.as_json())
    if isinstance(value, NoInterval):
        return {"estimate": plain(value.estimate), "low": None, "high": None, "no_interval": value.why}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(table: Table) -> list[list[str]]:
    """Format the header and the rows."""
    names = [show(column.name) for column in table.columns]
    return [names] + [
        [show(cell, digits=column.digits) for column, cell in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]


def _as_text(table: Table, width: int) -> str:
    lines = _shown(table)
    texts = [column.is_text for column in table.columns]
    widths = _fit(list(zip(*lines, strict=True)), texts=texts, room=width - len(_GAP) * (len(texts) - 1))
    rule = _GAP.join("-" * it for it in widths)

    def align(cells: Sequence[str]) -> list[str]:
        wrapped = [_wrap(cell, it, is_text=kind) for cell, it, kind in zip(cells, widths, texts, strict=True)]
        height = max(map(len, wrapped))
        shown = []
        for column, parts, it in zip(table.columns, wrapped, widths, strict=True):
            pad = [" " * (it - cell_len(part)) for part in parts]
            aligned = [part + space if column.is_text else space + part for part, space in zip(parts, pad, strict=True)]
            shown.append(aligned + [" " * it] * (height - len(parts)))
        return [_GAP.join(parts).rstrip() for parts in zip(*shown, strict=True)]

    rows = [line for cells in lines[1:] for line in align(cells)]
    around = [[part for text in texts for part in _wrap(show(text), width)] for texts in ([table.title], table.notes)]
    return "\n".join([*around[0], *align(lines[0]), rule, *rows, *around[1]])


def _fit(columns: Sequence[Sequence[str]], *, texts: Sequence[bool], room: int) -> list[int]:
    """Compute column widths that fit into `room`; the widest columns shrink first.

    Texts and headers are broken between words, numbers between estimate and bounds; if that is not enough, numbers too are
    broken between words, and finally words are broken.
    """

    def longest(parts: Iterable[str]) -> int:
        return max(map(cell_len, parts), default=0)

    def words(cells: Iterable[str]) -> int:
        return longest(word for cell in cells for word in _WORD.findall(cell))

    widths = [longest(cells) for cells in columns]
    whole = [
        words(cells)
        if is_text
        else max(words(cells[:1]), longest(it for cell in cells[1:] for it in _INTERVAL.split(cell)))
        for cells, is_text in zip(columns, texts, strict=True)
    ]
    for least in (whole, [words(cells) for cells in columns], [2] * len(columns)):
        while sum(widths) > room and (free := [i for i, it in enumerate(widths) if it > least[i]]):
            widths[max(free, key=lambda i: widths[i])] -= 1
    return widths


def _wrap(text: str, width: int, *, is_text: bool = True) -> list[str]:
    """Wrap `text` at `width` columns, keeping its indent; a number is broken before its bounds if that fits."""
    if cell_len(text) <= width:
        return [text]
    bare = text.lstrip(" ")
    indent = text[: max(0, min(len(text) - len(bare), width - 2))]
    parts = [(" ", part) for part in _INTERVAL.split(bare)]
    if is_text or any(cell_len(indent + part) > width for _, part in parts):
        parts = [(" " if bare[it.start() - 1] == " " else "", it[0]) for it in _WORD.finditer(bare)]
    lines, line = [], indent
    for gap, part in parts:
        if line == indent or cell_len(line + gap + part) <= width:
            line += part if line == indent else gap + part
        else:
            lines.append(line)
            line = indent + part
        while cell_len(line) > width and len(line) > len(indent) + 1:
            cut = next(i for i in range(len(line), 0, -1) if cell_len(line[:i]) <= width or i == len(indent) + 1)
            lines.append(line[:cut])
            line = indent + line[cut:]
    return [*lines, line]


def _as_markdown(table: Table) -> str:
    escaped = [[_MARKDOWN.sub(r"\\\1", cell) for cell in cells] for cells in _shown(table)]
    rule = ["---" if column.is_text else "---:" for column in table.columns]
    rows = ["| " + " | ".join(cells) + " |" for cells in (escaped[0], rule, *escaped[1:])]
    title, *notes = (_MARKDOWN.sub(r"\\\1", show(text)) for text in (table.title, *table.notes))
    return "\n".join([f"**{title}**", "", *rows, *(line for note in notes for line in ("", note))])


def _as_latex(table: Table) -> str:
    """Render a table for the LaTeX package booktabs."""

    def escape(text: str) -> str:
        return "".join(_LATEX.get(character, character) for character in text)

    # After the `\\` of the previous row, an initial `*` or `[` would be parsed as its argument.
    names, *rows = ("{}" + " & ".join(map(escape, cells)) + r" \\" for cells in _shown(table))
    title, *notes = (escape(show(text)) for text in (table.title, *table.notes))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{title}}}",
            r"\begin{tabular}{" + "".join("l" if column.is_text else "r" for column in table.columns) + "}",
            r"\toprule",
            names,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par {note}" for note in notes),
            r"\end{table}",
        ]
    )
