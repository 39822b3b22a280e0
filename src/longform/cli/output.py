"""Progress and results on the terminal: progress bars or plain log lines, tables, and JSON on request."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from longform.evaluation.tables import Form, Table
    from longform.selection.generate import CollectResult

SECONDS_BETWEEN_LINES = 15.0
NARROW = 120
"""Columns of a terminal below which the bar is short and long titles are cut."""
IS_MAIN = os.environ.get("RANK", "0") == "0"
"""Whether this process prints: of several that `accelerate launch` started, the first."""
console = Console(stderr=True, highlight=False, quiet=not IS_MAIN)
"""Progress goes to stderr, results to stdout."""


class Pace:
    """The progress of a stage and its remaining time, extrapolated from the items that this process has finished.

    Args:
        total: number of items of the stage; None if unknown.
        clock: returns seconds.
    """

    def __init__(self, total: int | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.done, self.total = 0, total
        self._clock = clock
        self._opened = self._latest = clock()
        self._anchor: tuple[int, float] | None = None

    def begin(self, done: int) -> None:
        """The work starts now, with `done` items from an earlier process."""
        self.done, self._latest = done, self._clock()
        self._anchor = done, self._latest

    def update(self, done: int, total: int) -> None:
        """Set the number of finished items. Items reported within the first second are from an earlier process."""
        now = self._clock()
        is_next_part = (self.total or total) != total or done < self.done
        if is_next_part or (self._anchor is None and now - self._opened < 1):
            self._anchor = done, now
        elif self._anchor is None:
            self._anchor = 0, self._opened
        self._latest = now if done != self.done else self._latest
        self.done, self.total = done, total

    @property
    def elapsed(self) -> float:
        """Seconds since the stage was opened."""
        return self._clock() - self._opened

    @property
    def remaining(self) -> float | None:
        """Seconds until the stage ends; None while nothing has been finished."""
        if self.total is None or self._anchor is None:
            return None
        first, began = self._anchor
        if self.done >= self.total:
            return 0.0
        if self.done == first:
            return None
        left = (self._latest - began) / (self.done - first) * (self.total - self.done)
        return max(left - (self._clock() - self._latest), 0.0)


class StageProgress:
    """The progress of a stage, see `longform.records.progress.Advance`.

    Args:
        pace: of the stage.
        show: brings the display up to date.
    """

    def __init__(self, pace: Pace, show: Callable[["StageProgress"], None]) -> None:
        self.pace, self._show = pace, show
        self._note = self._phase = ""

    def __call__(self, done: int, total: int, note: str = "", above: Sequence[str] = ()) -> None:  # noqa: D102
        print_above(above)
        self.pace.update(done, total)
        self._note, self._phase = note, ""
        self._show(self)

    def begin(self, done: int) -> None:
        """The work starts now, with `done` items from an earlier process."""
        self.pace.begin(done)
        self._show(self)

    def phase(self, name: str) -> None:
        """Set the phase of the current item, shown before the note."""
        self._phase = name
        self._show(self)

    @property
    def note(self) -> str:
        """Phase and note, without control characters."""
        return printable("  ".join(part for part in (self._phase, self._note) if part))

    @property
    def count(self) -> str:
        """Done items of all."""
        return f"{self.pace.done}/{'?' if self.pace.total is None else self.pace.total}"


@contextmanager
def progress(title: str, *, total: int | None = None) -> Iterator[StageProgress]:
    """Show a progress bar for one stage; without a terminal, log a line at the start, at intervals and at the end."""
    with _bar(title, total) if console.is_terminal else _lines(title, total) as advance:
        yield advance


def print_result(
    result: Mapping[str, Any], *, as_json: bool, next_command: str | None = None, aside: bool = False
) -> None:
    """Print named values and the next command; with `aside`, to stderr, because stdout holds another document.

    A value may be numbers by what they count; it is printed as `empty: 3, cut off: 1`.
    """
    if not IS_MAIN:
        return
    if as_json:
        print(json.dumps(dict(result), ensure_ascii=False))
        return
    file = sys.stderr if aside else sys.stdout
    width = max(len(name) for name in result)
    for name, value in result.items():
        counts = isinstance(value, Mapping) and ", ".join(f"{what}: {number}" for what, number in value.items())
        print(f"{name:<{width}}  {printable(counts or value)}", file=file)
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
    """A line about rows whose inputs have changed since they were made; empty if there are none."""
    return {"stale (kept)" if kept else "made anew, as it changed": dict(result.stale)} if result.stale else {}


def command_line(*words: object, note: str = "") -> str:
    """A command as it is typed into a shell. Words in capitals are for the user to replace; a note follows as a comment."""
    return shlex.join(["longform", *map(str, words)]) + (f"  # {note}" if note else "")


def printable(value: Any) -> str:
    """Format a value as text without control characters, which texts of models may contain."""
    return "".join(character if character.isprintable() else " " for character in str(value))


def print_above(lines: Sequence[str]) -> None:
    """Print lines above the progress bar, each cut to the width of the terminal."""
    for line in lines:
        console.print(printable(line), markup=False, no_wrap=True, overflow="ellipsis")


def show_clock(seconds: float | None) -> str:
    """Format seconds as h:mm:ss."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class _Clocks(ProgressColumn):
    """Elapsed time and ETA, which rich would only estimate from the last seconds."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(Column(no_wrap=True))
        self._pace = pace

    def render(self, task: Task) -> Text:  # noqa: ARG002
        return Text(f"{show_clock(self._pace.elapsed)} ETA {show_clock(self._pace.remaining)}", style="cyan")


class _Note(ProgressColumn):
    """The note, which is cut first if a line is too long."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[StageProgress]:
    pace, is_narrow = Pace(total), console.width < NARROW
    title_width = 24 if is_narrow else 40
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=title_width, overflow="ellipsis")),
        BarColumn(bar_width=10 if is_narrow else 30, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
        _Clocks(pace),
        _Note(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(escape(title), total=total, note="", count="")

        def show(stage: StageProgress) -> None:
            bars.update(task, completed=pace.done, total=pace.total, note=stage.note, count=stage.count)

        stage = StageProgress(pace, show)
        show(stage)
        yield stage


@contextmanager
def _lines(title: str, total: int | None) -> Iterator[StageProgress]:
    pace = Pace(total)
    last, shown = 0.0, ""
    console.print(f"{title} ...", markup=False, soft_wrap=True)

    def show(stage: StageProgress) -> None:
        nonlocal last, shown
        shown = f" {stage.count}  {stage.note}"
        if pace.elapsed - last > SECONDS_BETWEEN_LINES and pace.total:
            last = pace.elapsed
            figures = f"{pace.done / pace.total:.0%}  ETA {show_clock(pace.remaining)}"
            console.print(f"{title} {stage.count}  {figures}  {stage.note}", markup=False, soft_wrap=True)

    yield StageProgress(pace, show)
    console.print(f"{title}{shown} ({pace.elapsed:.1f} s)", markup=False, soft_wrap=True)
