"""Settings of generation, as they stand in a recipe."""

from pydantic import BaseModel, ConfigDict, Field


class GenerationSettings(BaseModel):
    """How a writer's tokens are drawn."""

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
