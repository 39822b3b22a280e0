"""Settings of the cluster engine in a recipe: the machines, and how verl distributes the work over them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ClusterSettings(BaseModel):
    """What a recipe needs on many GPUs. All other settings of verl keep their defaults, or are set in `verl`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(default=1, ge=1)
    """Machines; more than one needs `ray_address` and `checkpoints`."""
    gpus_per_node: int = Field(default=8, ge=1)
    """GPUs of each machine."""
    gpu_memory_gb: float = Field(default=80, gt=0)
    """Memory of each GPU in GiB, which the plan must fit into."""
    trainer: Literal["fsdp", "megatron"] = "fsdp"
    """Backend that shards weights and optimizer over the GPUs."""
    rollout: Literal["vllm", "sglang"] = "vllm"
    """Generation engine, on the same GPUs."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs of one replica of the generation engine."""
    sequence_parallel: int = Field(default=1, ge=1)
    """GPUs that share a sequence in an update (Ulysses)."""
    rollout_memory: float = Field(default=0.6, gt=0, lt=1)
    """Fraction of a GPU for the generation engine, weights and cache together."""
    offload: bool = False
    """Keep weights and optimizer in the nodes' memory while they are not used."""
    reward_workers: int = Field(default=8, ge=1)
    """Processes that parse responses and compute rewards. All judge calls still go through one process."""
    checkpoints: Path | None = None
    """Shared folder for checkpoints; by default in the run directory, which only one node can see."""
    ray_address: str | None = None
    """Address of an existing Ray cluster, such as `auto`; by default a run on one node starts its own."""
    stall_timeout_hours: float = Field(default=6.0, gt=0)
    """Stop the run, resumably, if no step finishes for this long: verl waits forever for a process that died."""
    verl: dict[str, Any] = Field(default_factory=dict)
    """Other settings of verl by dotted name, applied last; an unknown name is an error."""
