"""Settings of generation in a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from longform.records.errors import BadInputError
from longform.text.structure import Thinking

Device = Literal["auto", "cuda", "mps", "cpu"]
Precision = Literal["auto", "float32", "bfloat16"]
Engine = Literal["own", "paged", "vllm", "sglang"]
SERVED: tuple[Engine, ...] = ("vllm", "sglang")
"""Engines that are servers of their own."""
MAX_PACKED_BYTES = 4 * 2**30
"""Size of the packed copies of a model's weights up to which `writers/packed_weights.py` makes them."""


def _name_switch(value: Any) -> Any:
    """Undo YAML's reading of `on` and `off` as booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class ServerSettings(BaseModel):
    """The server of `generation.engine: vllm` or `sglang`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = None
    """Address of a server on this machine that is already running, such as http://127.0.0.1:8000. None: one is started, and
    ends with the command. It reads weights from folders that longform writes."""
    memory: float = Field(default=0.5, gt=0, lt=1)
    """Fraction of the GPU for a server that is started, weights and cache together."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs of a server that is started."""
    sleep: bool = True
    """Free the server's memory while the policy is updated, as is needed where both share a GPU."""
    start_seconds: float = Field(default=900.0, gt=0)
    """Time within which it must be ready."""
    arguments: list[str] = Field(default_factory=list)
    """Further arguments of the command that starts it, such as ["--enforce-eager"]."""


class GenerationSettings(BaseModel):
    """How prompts are presented, and how tokens are sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(default=10_000, ge=1)
    """Maximum length of a response in tokens."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 is greedy decoding."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling: sample from the likeliest tokens with this total probability. Below 1 the recorded
    log-probabilities are still those of the full distribution."""
    max_prompt_tokens: int = Field(default=4096, ge=1)
    """Maximum length of a prompt in tokens; a longer one is an error before the run starts."""
    engine: Engine = "own"
    """Local engine: `own`: reproducible to the token. `paged`: transformers' continuous batching, for GPUs: rows that end
    are replaced at once, and prompts share their cache. `vllm`, `sglang`: a server on this machine that receives the
    policy's weights or adapters. All but `own` need top_p: 1 in training. See docs/one-gpu.md."""
    server: ServerSettings = Field(default_factory=ServerSettings)
    batch: int = Field(default=64, ge=1)
    """Responses that are generated concurrently; their KV cache must fit into memory."""
    think: Annotated[Thinking, BeforeValidator(_name_switch)] = "off"
    """`on`: a plan, then an answer, each in its tags (LongWriter-Zero). `direct`: an answer in its tags. `off`: the request
    is sent unchanged, and the response is the answer."""
    think_prompt: Path | None = None
    """A text file with `{request}` in it, instead of the built-in prompt for `on` or `direct`. With `chat_template: off` it
    is the whole prompt, with `think: off` too."""
    chat_template: Annotated[Literal["on", "off"], BeforeValidator(_name_switch)] = "on"
    """`on`: prompts are conversations in the tokenizer's chat template, if it has one. `off`: plain text, as for a base
    model whose tokenizer has a template all the same."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template, such as {enable_thinking: false} for Qwen3."""
    stop: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Strings that end a response; they are left out of it. End tokens and, with `think`, `</answer>` end it anyway."""

    @property
    def uses_chat_template(self) -> bool:
        """Whether prompts go through the chat template of a tokenizer that has one."""
        return self.chat_template == "on"

    @model_validator(mode="after")
    def _check_use(self) -> "GenerationSettings":
        if self.think_prompt is not None and self.think == "off" and self.uses_chat_template:
            raise ValueError("think_prompt: only valid with think: on or direct, or with chat_template: off")
        if self.engine == "paged" and self.top_p < 1:
            raise ValueError("top_p: must be 1 with engine: paged, or use engine: own")
        if self.engine not in SERVED and self.server != ServerSettings():
            raise ValueError("server: only valid with engine: vllm or sglang")
        if self.server.address is not None and (self.server.tensor_parallel > 1 or self.server.arguments):
            raise ValueError("server: tensor_parallel and arguments are only valid for a server that is started")
        if self.chat_template_kwargs and not self.uses_chat_template:
            raise ValueError("chat_template_kwargs: only valid with chat_template: on")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """How a local model that only writes is loaded, and reads its prompts."""

    batch: int = 64
    """Responses that are written concurrently."""
    device: Device = "auto"
    precision: Precision = "auto"
    """Of the weights: auto is bfloat16 on a GPU, else float32."""
    chat_template: Literal["on", "off"] = "on"
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    trust_remote_code: bool = False
    """Whether code in the model's folder may run."""
    engine: Engine = "own"
    server: ServerSettings = field(default_factory=ServerSettings)
    """Of the engines vllm and sglang."""
    self_check: bool = True
    """Whether the model proves first that it can write (writers/self_check.py)."""

    def generation(self, **sampling: Any) -> GenerationSettings:
        """The settings of generation with these options.

        Args:
            sampling: other keys of `GenerationSettings`; `batch` is that of the options, unless given.

        Raises:
            BadInputError: they cannot be combined, such as `top_p` below 1 with `engine: paged`.
        """
        presentation = {
            "batch": self.batch,
            "chat_template": self.chat_template,
            "chat_template_kwargs": dict(self.chat_template_kwargs),
            "stop": list(self.stop),
            "engine": self.engine,
            "server": self.server,
        }
        try:
            return GenerationSettings(**(presentation | sampling))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            problem = first["msg"].removeprefix("Value error, ")
            raise BadInputError(": ".join([*map(str, first["loc"]), problem])) from None

    @property
    def changed_texts(self) -> dict[str, Any]:
        """The options that decide texts and are not at their defaults."""
        defaults = LocalOptions()
        names = ("precision", "chat_template", "chat_template_kwargs", "stop", "engine")
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(defaults, name)}
