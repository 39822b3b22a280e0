"""Progress and results on the terminal: progress bars or plain log lines, tables, and JSON on request."""

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from longform.evaluation.tables import Form, Table
    from longform.selection.generate import CollectResult

SECONDS_BETWEEN_LINES = 15.0
IS_MAIN = os.environ.get("RANK", "0") == "0"
"""Whether this process prints: of several that `accelerate launch` started, the first."""
console = Console(stderr=True, highlight=False, quiet=not IS_MAIN)
"""Progress goes to stderr, results to stdout."""


class NotedProgress(Protocol):
    """Callback that reports the progress of a stage, with an optional note such as the current loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...  # noqa: D102


@contextmanager
def progress(title: str) -> Iterator[NotedProgress]:
    """Show a progress bar for one stage; without a terminal, log a line at the start, at intervals and at the end."""
    with _bar(title) if console.is_terminal else _lines(title) as advance:
        yield advance


def print_result(
    result: Mapping[str, Any], *, as_json: bool, next_command: str | None = None, aside: bool = False
) -> None:
    """Print named values and the next command; with `aside`, to stderr, because stdout holds another document."""
    if not IS_MAIN:
        return
    if as_json:
        print(json.dumps(dict(result), ensure_ascii=False))
        return
    file = sys.stderr if aside else sys.stdout
    width = max(len(name) for name in result)
    for name, value in result.items():
        print(f"{name:<{width}}  {printable(value)}", file=file)
    if next_command:
        print(f"{'next':<{width}}  {next_command}", file=file)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of strings to stdout, followed by an empty line. The first column holds the row names."""
    from longform.evaluation.tables import Column, Table

    names = [Column(name, is_text=not i) for i, name in enumerate(columns)]
    print_tables([Table(title, names, rows)])
    if IS_MAIN:
        print()


def print_tables(tables: Sequence["Table"], form: "Form" = "text") -> None:
    """Print tables to stdout, separated by empty lines; text tables fit the terminal's width (80 columns if unknown)."""
    if not IS_MAIN:
        return
    from longform.evaluation.tables import WIDTH, render

    width = max(WIDTH, get_terminal_size().columns) if sys.stdout.isatty() else WIDTH
    print("\n\n".join(render(table, form, width=width) for table in tables))


def describe_stale(result: "CollectResult", *, kept: bool) -> dict[str, Any]:
    """A line about rows that were made from something else than is given now; empty if there are none."""
    return {"stale (kept)" if kept else "made anew, as it changed": dict(result.stale)} if result.stale else {}


def command_line(*words: object, note: str = "") -> str:
    """A command as it is typed into a shell. Words in capitals are for the user to replace; a note follows as a comment."""
    return shlex.join(["longform", *map(str, words)]) + (f"  # {note}" if note else "")


def printable(value: Any) -> str:
    """Format a value as text without control characters, which texts of models may contain."""
    return "".join(character if character.isprintable() else " " for character in str(value))


@contextmanager
def _bar(title: str) -> Iterator[NotedProgress]:
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(escape(title), total=None, note="")

        def advance(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=escape(printable(note)))

        yield advance


@contextmanager
def _lines(title: str) -> Iterator[NotedProgress]:
    began = last = time.monotonic()
    state = ""
    console.print(f"{title} ...", markup=False)

    def advance(done: int, total: int, note: str = "") -> None:
        nonlocal last, state
        state = f" {done}/{total}  {printable(note)}"
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            console.print(f"{title}{state}", markup=False)

    yield advance
    console.print(f"{title}{state} ({time.monotonic() - began:.1f} s)", markup=False)
