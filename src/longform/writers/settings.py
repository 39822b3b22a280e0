"""Settings of generation in a recipe."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from longform.text.structure import Thinking


def _name_switch(value: Any) -> Any:
    """Undo YAML's reading of `on` and `off` as booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


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
    batch: int = Field(default=64, ge=1)
    """Responses that are generated concurrently; their KV cache must fit into memory."""
    think: Annotated[Thinking, BeforeValidator(_name_switch)] = "off"
    """`on`: a plan, then an answer, each in its tags (LongWriter-Zero). `direct`: an answer in its tags. `off`: the request
    is sent unchanged, and the response is the answer."""
    think_prompt: Path | None = None
    """A text file with `{request}` in it, instead of the built-in prompt for `on` or `direct`."""

    @model_validator(mode="after")
    def _check_use(self) -> "GenerationSettings":
        if self.think_prompt is not None and self.think == "off":
            raise ValueError("think_prompt: only valid with think: on or direct")
        return self
