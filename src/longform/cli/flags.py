"""Kinds of flags that several commands share; a value that cannot be used is refused before a command begins."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Flag = Annotated[bool, Parameter(negative=())]
"""On where it is given; there is no --no-FLAG."""
Overrides = Annotated[tuple[str, ...], Parameter(name="--set", negative=())]
"""KEY=VALUE, any number of times."""
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Seed = Annotated[int, Parameter(validator=Number(gte=0))]
Budget = Annotated[float, Parameter(validator=Number(gt=0))]
Temperature = Annotated[float, Parameter(validator=Number(gte=0))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]
Grades = Annotated[float, Parameter(validator=Number(gte=0, lte=9))]
"""A difference of grades."""
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
