"""Shared CLI flag types, validated before a command starts."""

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
