"""What an estimate takes for granted where nothing better is known, and the cards it knows."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

GpuName = Literal["a100", "h100", "h200", "b200", "l40s", "rtx4090"]


class GpuSpec(NamedTuple):
    """A GPU by its public data sheet; matrices without sparsity."""

    low_flops: float
    """Operations a second in bfloat16, sums in float32."""
    full_flops: float
    """The same in float32, without tensor cores."""
    bandwidth: float
    """Bytes a second between memory and chip."""


GPU_SPECS: dict[GpuName, GpuSpec] = {
    "a100": GpuSpec(312e12, 19.5e12, 2.04e12),
    "h100": GpuSpec(989e12, 67e12, 3.35e12),
    "h200": GpuSpec(989e12, 67e12, 4.8e12),
    "b200": GpuSpec(2250e12, 75e12, 8.0e12),
    "l40s": GpuSpec(362e12, 91.6e12, 0.864e12),
    "rtx4090": GpuSpec(165e12, 82.6e12, 1.01e12),
}
"""SXM versions where there are several. An H800 counts as an H100: it differs in what joins the cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Each may be given in place of what the files say, or of the default."""

    tokens_per_prompt: int | None = None
    """By default those of the prompts' file."""
    tokens_per_response: int | None = None
    """With the plan, where there is one. By default from the prompts' length ranges or references, else the longest."""
    longest_response: int | None = None
    """Tokens of the longest response of a step; by default `generation.max_tokens`."""
    validation_prompts: int | None = None
    """By default those of the validation's file."""
    plan_tokens: int = 2500
    """Tokens of a plan before the answer, with `think: on`: LongWriter-Zero's settle at 2,000 to 3,000."""
    answer_tokens: int = 250
    """Tokens of a judge's answer."""
    judge_latency: float = 10.0
    """Seconds from a question to a judge's answer."""
    gpu: GpuName = "h100"
    utilisation: float = 0.35
    """Share of a card's peak that updates reach."""
    bandwidth_share: float = 0.5
    """Share of a card's bandwidth that writing reaches."""
    parameters: float | None = None
    """Of the policy; by default from its config.json, else from its name."""
    price_per_gpu_hour: float | None = None
    """None: what the cards cost is left out."""
