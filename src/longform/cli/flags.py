"""Shared CLI flag types, validated before a command starts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from longform.records.adapting import Reading
    from longform.writers.settings import LocalOptions, ServerSettings

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
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
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


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class LocalFlags:
    """Flags of every command that writes with a local model."""

    batch: PositiveInt = 64
    """Batch size of a local model."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Device of a local model; auto takes a GPU if there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of a local model's weights; auto is bfloat16 on a GPU, else float32."""
    chat_template: Literal["on", "off"] = "on"
    """off sends plain text to a local model, as base models expect it."""
    template_kwargs: str = "{}"
    """Variables of a local model's chat template, as JSON: {"enable_thinking": false}."""
    engine: Literal["own", "paged", "vllm", "sglang"] = "own"
    """Engine of a local model: own is reproducible to the token; paged is transformers' continuous batching, for GPUs; vllm
    and sglang are servers."""
    engine_address: str | None = None
    """A running vllm or sglang server with the model, such as http://127.0.0.1:8000; without it, one is started."""
    tensor_parallel: PositiveInt = 1
    """GPUs of a vllm or sglang server that is started."""
    stop: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """A string that ends a response of a local model. May be repeated."""
    trust_remote_code: Flag = False
    """Run code from a local model's folder. Read that code first."""
    skip_self_check: Flag = False
    """Do not check that a local model's generation is correct before writing."""

    def parse(self) -> "LocalOptions":
        """Return the options.

        Raises:
            BadInputError: --template-kwargs is not a JSON object.
        """
        from longform.records.errors import BadInputError
        from longform.writers.settings import LocalOptions

        try:
            kwargs = json.loads(self.template_kwargs)
        except ValueError:
            kwargs = None
        if not isinstance(kwargs, dict):
            raise BadInputError(
                f'--template-kwargs {self.template_kwargs}: must be a JSON object such as {{"enable_thinking": false}}'
            )
        return LocalOptions(
            batch=self.batch,
            device=self.device,
            precision=self.precision,
            chat_template=self.chat_template,
            chat_template_kwargs=kwargs,
            stop=self.stop,
            engine=self.engine,
            server=self._server(),
            trust_remote_code=self.trust_remote_code,
            self_check=not self.skip_self_check,
        )

    def _server(self) -> "ServerSettings":
        from pydantic import ValidationError

        from longform.records.errors import BadInputError
        from longform.writers.settings import SERVED, ServerSettings

        if self.engine not in SERVED and (self.engine_address is not None or self.tensor_parallel > 1):
            raise BadInputError("--engine-address and --tensor-parallel: only valid with --engine vllm or sglang")
        if self.engine_address is not None and self.tensor_parallel > 1:
            raise BadInputError("--tensor-parallel: only valid for a server that is started, without --engine-address")
        try:  # a command that only writes has the GPU to itself
            return ServerSettings(
                address=self.engine_address,
                tensor_parallel=self.tensor_parallel,
                memory=_SHARE_OF_A_WRITER if self.engine in SERVED else ServerSettings().memory,
                sleep=self.engine not in SERVED,
            )
        except ValidationError:
            raise BadInputError(
                f"--engine-address {self.engine_address}: must be an address such as http://127.0.0.1:8000"
            ) from None


_SHARE_OF_A_WRITER = 0.9
"""Share of the GPU's memory for a server while nothing is trained."""
LOCAL_FLAGS = LocalFlags()
