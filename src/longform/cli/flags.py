"""Shared CLI flag types, validated before a command starts, and the table of renamed flags."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

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

RENAMED = {
    "pool": {
        "--against": "--decontaminate",
        "--near": "--near-dup-threshold",
        "--least-words": "--min-words",
        "--most-words": "--max-words",
    },
    "lengths": {"--again": "--refresh"},
    "select": {"--per": "--group-by"},
    "compare": {"--per": "--group-by"},
    "preferences": {"--most-per-prompt": "--max-per-prompt"},
    "quickstart": {"--whole": "--full-pipeline"},
}
"""Command -> old flag -> new flag."""


def describe_renamed(arguments: Sequence[str]) -> str | None:
    """Return an error message for the first renamed flag among the arguments; None if there is none."""
    command, *rest = arguments or ("",)
    for word in rest:
        flag = word.partition("=")[0]
        if flag in RENAMED.get(command, {}):
            return f"{flag}: renamed to {RENAMED[command][flag]}"
    return None
