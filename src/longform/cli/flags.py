"""Shared CLI flag types, validated before a command starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from longform.records.adapting import Reading

Flag = Annotated[bool, Parameter(negative=())]
"""A boolean flag without a --no-FLAG form."""
SetValues = Annotated[tuple[str, ...], Parameter(name="--set", negative=())]
"""KEY=VALUE; may be repeated."""
Repeated = Annotated[tuple[str, ...], Parameter(negative=())]
"""One value per occurrence of the flag."""
NameList = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]
"""Several values after one flag."""
PathList = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())]
"""Several paths after one flag."""
Inputs = Annotated[tuple[Path, ...], Parameter(negative=())]
"""One or more positional paths."""
PositiveInt = Annotated[int, Parameter(validator=Number(gte=1))]
NonNegative = Annotated[int, Parameter(validator=Number(gte=0))]
Seed = Annotated[int, Parameter(validator=Number(gte=0))]
CostLimit = Annotated[float, Parameter(validator=Number(gt=0))]
Temperature = Annotated[float, Parameter(validator=Number(gte=0))]
Probability = Annotated[float, Parameter(validator=Number(gt=0, lte=1))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]
Margin = Annotated[float, Parameter(validator=Number(gte=0))]
Similarity = Annotated[float, Parameter(validator=Number(gte=0.5, lte=1))]
Grades = Annotated[float, Parameter(validator=Number(gte=0, lte=9))]
"""A grade difference, in points."""
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
TableFormat = Literal["text", "markdown", "latex", "json"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ReadFlags:
    """Flags of every command that reads files of rows."""

    column: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """FIELD=NAME: read FIELD (prompt, id, text, ...) from the column NAME of the files that have it. May be repeated."""
    skip_bad_rows: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Skip up to this many bad rows of each file, and say so."""

    def parse(self) -> "Reading":
        """Return the settings for the readers.

        Raises:
            BadInputError: --column is not FIELD=NAME, or names no field of a row.
        """
        from longform.records.adapting import Reading

        return Reading.parse(self.column, self.skip_bad_rows)

    def again(self) -> list[str]:
        """Return the flags as they are to be given to the next command."""
        words = [word for value in self.column for word in ("--column", value)]
        return words + (["--skip-bad-rows", str(self.skip_bad_rows)] if self.skip_bad_rows else [])


READ_FLAGS = ReadFlags()
