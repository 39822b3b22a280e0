"""Settings of generation, as they stand in a recipe."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from longform.text.structure import Thinking


def _name_switch(value: Any) -> Any:
    """`on` and `off` as words: YAML reads them as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class GenerationSettings(BaseModel):
    """How a writer is asked, and how its tokens are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(default=10_000, ge=1)
    """Longest response, in tokens."""
    temperature: float = Field(default=1.0, ge=0)
    """0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that make up this share of the probability."""
    max_prompt_tokens: int = Field(default=4096, ge=1)
    """A longer prompt is an error, found before the run starts."""
    batch: int = Field(default=64, ge=1)
    """Most responses that are written side by side: their keys and values must fit into memory."""
    think: Annotated[Thinking, BeforeValidator(_name_switch)] = "off"
    """`on`: a plan first, then the answer, each in its tags (LongWriter-Zero). `direct`: an answer in its tags alone.
    `off`: the request as it is, and the response is the answer."""
    think_prompt: Path | None = None
    """A text file with `{request}` in it, in place of the built-in prompt that asks for this."""

    @model_validator(mode="after")
    def _check_use(self) -> "GenerationSettings":
        if self.think_prompt is not None and self.think == "off":
            raise ValueError("think_prompt: has no use while think is off; set think to on or direct")
        return self
