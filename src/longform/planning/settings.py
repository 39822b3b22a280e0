"""Settings of the cluster engine, as they stand in a recipe: the machines, and how verl spreads the work over them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ClusterSettings(BaseModel):
    """What the same recipe needs on many GPUs. Everything else of verl keeps its default, or is named in `verl`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(default=1, ge=1)
    gpus_per_node: int = Field(default=8, ge=1)
    gpu_memory_gb: float = Field(default=80, gt=0)
    """Of each GPU, in GiB: what the plan of `train --dry-run` must fit into."""
    trainer: Literal["fsdp", "megatron"] = "fsdp"
    """What spreads weights and optimizer over the GPUs."""
    rollout: Literal["vllm", "sglang"] = "vllm"
    """What writes the responses, on the same GPUs."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that one writing copy of the policy stands on."""
    sequence_parallel: int = Field(default=1, ge=1)
    """GPUs that share one long sequence in an update (Ulysses)."""
    rollout_memory: float = Field(default=0.6, gt=0, lt=1)
    """Share of a GPU that the writing copy may take, weights and cache together."""
    offload: bool = False
    """Keep weights and optimizer in the nodes' memory while they are not in use."""
    reward_workers: int = Field(default=8, ge=1)
    """Processes that take responses apart and ask for verdicts. Calls go out from one place, whatever their number."""
    checkpoints: Path | None = None
    """A folder that all nodes share; by default the run directory's own, which only one node has."""
    ray_address: str | None = None
    """Of a Ray cluster that stands already, such as `auto`; by default a run on one node starts its own."""
    stall_timeout_hours: float = Field(default=6.0, gt=0)
    """How long a run may go on without another finished step before it is stopped; verl waits for ever for a process that
    died."""
    verl: dict[str, Any] = Field(default_factory=dict)
    """Any setting of verl by its dotted name, after everything else; a name that verl does not know is an error."""
