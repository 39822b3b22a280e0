"""Assumptions of an estimate, and the known GPUs."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

GpuName = Literal["a100", "h100", "h200", "b200", "l40s", "rtx4090"]


class GpuSpec(NamedTuple):
    """A GPU according to its public data sheet, without sparsity."""

    low_flops: float
    """Operations per second in bfloat16, accumulated in float32."""
    full_flops: float
    """The same in float32, without tensor cores."""
    bandwidth: float
    """Memory bandwidth in bytes per second."""


GPU_SPECS: dict[GpuName, GpuSpec] = {
    "a100": GpuSpec(312e12, 19.5e12, 2.04e12),
    "h100": GpuSpec(989e12, 67e12, 3.35e12),
    "h200": GpuSpec(989e12, 67e12, 4.8e12),
    "b200": GpuSpec(2250e12, 75e12, 8.0e12),
    "l40s": GpuSpec(362e12, 91.6e12, 0.864e12),
    "rtx4090": GpuSpec(165e12, 82.6e12, 1.01e12),
}
"""SXM versions where there are several. An H800 counts as an H100: only its interconnect differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Values that override the files or the defaults."""

    tokens_per_prompt: int | None = None
    """By default measured on the prompts file."""
    tokens_per_response: int | None = None
    """Plan included. By default from the prompts' length ranges or references, else the maximum."""
    longest_response: int | None = None
    """Longest response of a step, in tokens; by default `generation.max_tokens`."""
    validation_prompts: int | None = None
    """By default counted in the validation file."""
    plan_tokens: int = 2500
    """Length of the plan before an answer, with `think: on`. LongWriter-Zero's plans settle at 2,000 to 3,000 tokens."""
    answer_tokens: int = 250
    """Length of a judge's answer."""
    judge_latency: float = 10.0
    """Seconds per judge call."""
    gpu: GpuName = "h100"
    utilisation: float = 0.35
    """Fraction of the peak operations per second that updates reach (MFU)."""
    bandwidth_share: float = 0.5
    """Fraction of the memory bandwidth that generation reaches."""
    parameters: float | None = None
    """Weights of the policy; by default from its config.json, else from its name."""
    price_per_gpu_hour: float | None = None
    """None excludes the cost of GPUs."""
