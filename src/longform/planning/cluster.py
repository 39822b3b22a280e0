"""Memory and disk of a cluster run, from the model's shape and the recipe, before Ray starts.

Counted for the fullest GPU, at the longest sequences that the recipe allows. FSDP shards weights, gradients and optimizer
over all GPUs; Megatron shards weights and gradients over `tensor_parallel` GPUs and the optimizer over all. verl keeps
trained weights in float32, multiplies in bfloat16, and holds the reference model in the nodes' memory. With `offload` a
model is on the GPU only while it is in use.

Units: bytes, unless a name says otherwise.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from longform.planning.memory import (
    ADAM,
    FLOAT,
    GIB,
    HEADROOM,
    LOW,
    ByteCounts,
    Change,
    activation_bytes,
    suggested_changes,
    written_change,
)
from longform.planning.shapes import ModelShape, fetch_shape
from longform.planning.speed import cache_room
from longform.planning.workload import Workload, longest_sequence
from longform.records.errors import BadInputError

_PROCESSES = 3 * GIB
"""Contexts of the two processes on a GPU, and communication buffers."""
_BUCKET = 2 * GIB
"""Buffer for weight synchronisation to the generation engine."""
_MAX_NODES = 64
FUSED = "actor_rollout_ref.model.use_fused_kernels"
"""verl's setting that avoids materialising the logits over the vocabulary."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Planned memory and disk, in bytes by purpose."""

    held: ByteCounts
    """On each GPU throughout the run."""
    writing: ByteCounts
    """On each GPU in addition, while responses are generated."""
    updating: Mapping[str, ByteCounts]
    """On each GPU in addition, while one model is updated, by model."""
    limit: float
    """Memory of a GPU."""
    cache: float
    """Space for the KV cache of the generation engine on each GPU; negative if its weights do not fit."""
    sequence_cache: float
    """KV cache of one sequence of maximum length, on each GPU of a replica."""
    node: ByteCounts
    """In the memory of each node."""
    checkpoint: ByteCounts
    """One checkpoint."""
    kept: int
    """Checkpoints on disk at the same time: the ones to keep, and the next one while it is written."""

    @property
    def total(self) -> float:
        """Peak on one GPU."""
        learning = max(sum(sizes.values()) for sizes in self.updating.values())
        return sum(self.held.values()) + max(sum(self.writing.values()), HEADROOM * learning)

    @property
    def sequences(self) -> int:
        """Number of maximum-length sequences that a replica of the generation engine can hold."""
        return max(int(self.cache // self.sequence_cache), 0)

    @property
    def shortfall(self) -> float:
        """Missing bytes per GPU, for the run or for one sequence in the generation engine; 0 if it fits."""
        return max(self.total - self.limit, self.sequence_cache - self.cache, 0.0)

    @property
    def disk(self) -> float:
        """Peak size of all checkpoints."""
        return self.kept * sum(self.checkpoint.values())

    def lines(self) -> list[str]:
        """Format the plan in GiB."""
        parts = [("throughout, per GPU", self.held), ("generation", self.writing)]
        parts += [(f"update of the {name}", sizes) for name, sizes in self.updating.items()]
        parts += [("per node, in main memory", self.node), ("one checkpoint on disk", self.checkpoint)]
        lines = [f"{title}: {_listed(sizes)}" for title, sizes in parts]
        return [
            *lines,
            f"total: up to {self.total / GIB:.1f} of {self.limit / GIB:.0f} per GPU",
            f"KV cache: {self.cache / GIB:.1f} per GPU, {self.sequences} sequences of maximum length per replica",
            f"checkpoints on disk: up to {self.disk / GIB:.0f}",
        ]


def plan_cluster(shape: ModelShape, run: Workload) -> ClusterPlan:
    """Plan a run with a policy of this shape."""
    machines = run.machines
    longest = longest_sequence(run)
    roles = {"policy": shape.parameters}
    if run.method == "ppo":
        roles["critic"] = shape.parameters - shape.head_parameters + shape.hidden
    states = {name: _state(weights, run) for name, weights in roles.items()}
    resident = {name: sum(state.values()) for name, state in states.items()}
    share = machines.rollout_memory * machines.gpu_memory_gb * GIB
    updating = {
        name: {
            "weights and optimizer": resident[name] if machines.offload else 0.0,
            **_learning(shape, weights, run, has_head=name == "policy"),
        }
        for name, weights in roles.items()
    }
    moved = states["policy"]["weights"] if machines.offload else 0.0
    gpus = machines.nodes * machines.gpus_per_node
    off = {name: machines.gpus_per_node * size for name, size in resident.items()} if machines.offload else {}
    if run.optim.kl_coef > 0:
        off["reference"] = machines.gpus_per_node * FLOAT * shape.parameters / gpus
    return ClusterPlan(
        held={"processes": _PROCESSES, **({} if machines.offload else resident)},
        writing={"generation engine": share, "weight synchronization": moved + _BUCKET},
        updating=updating,
        limit=machines.gpu_memory_gb * GIB,
        cache=cache_room(run, shape.parameters),
        sequence_cache=longest * shape.cache_bytes() / min(machines.tensor_parallel, shape.key_heads),
        node=off,
        checkpoint=_checkpoint(shape, roles),
        kept=run.run.keep_checkpoints + 1,
    )


def check_cluster_memory(run: Workload) -> ClusterPlan:
    """Plan a run on its cluster.

    Raises:
        BadInputError: it does not fit, or cannot be distributed as configured; the error names settings that would make it
            fit, if there are any.
    """
    shape = fetch_shape(run.policy)
    check_spread(shape, run)
    plan = plan_cluster(shape, run)
    if not plan.shortfall:
        return plan
    if plan.total > plan.limit:
        needs = (
            f"needs up to {plan.total / GIB:.1f} GiB on each GPU, and cluster.gpu_memory_gb is {plan.limit / GIB:.0f}"
        )
    else:
        room = f"{max(plan.cache, 0) / GIB:.1f} GiB for the KV cache"
        needs = f"its weights leave {room} of cluster.rollout_memory, and one sequence needs {plan.sequence_cache / GIB:.1f}"

    def shortfall(run: Workload) -> float:
        return plan_cluster(shape, run).shortfall if _divides(shape, run) else float("inf")

    suggested, changed = suggested_changes(run, cluster_changes(run), shortfall)
    changes = [written_change(it) for it in suggested]
    fitting = plan_cluster(shape, changed)
    if fitting.shortfall:
        most = (
            f"with {', '.join(changes)} it would still lack"
            if changes
            else "no setting of the recipe frees the missing"
        )
        raise BadInputError(
            f"{run.policy}: {needs}; {most} {fitting.shortfall / GIB:.1f}: "
            "use a smaller model or shorter responses (generation.max_tokens)"
        )
    raise BadInputError(f"{run.policy}: {needs}; it fits with {', '.join(changes)}")


def check_spread(shape: ModelShape, run: Workload) -> None:
    """Check that GPUs, attention heads and rollouts are divisible as configured.

    Raises:
        BadInputError: they are not; the error names the setting.
    """
    machines = run.machines
    gpus = machines.nodes * machines.gpus_per_node
    model = f"the {shape.heads} attention heads of {run.policy}"
    together = machines.sequence_parallel * (machines.tensor_parallel if machines.trainer == "megatron" else 1)
    rows = max(gpus // together, 1)
    refused = {
        f"cluster.tensor_parallel: {machines.tensor_parallel} does not divide the {gpus} GPUs": gpus
        % machines.tensor_parallel,
        f"cluster.tensor_parallel: {machines.tensor_parallel} does not divide {model}": shape.heads
        % machines.tensor_parallel,
        f"cluster.sequence_parallel: {together} GPUs per sequence do not divide the {gpus} GPUs": gpus % together,
        f"cluster.sequence_parallel: {machines.sequence_parallel} does not divide {model}": shape.heads
        % machines.sequence_parallel,
        f"optim.mini_batch: {run.mini_batch} rollouts do not divide evenly among {rows} groups of GPUs ({gpus} GPUs, "
        f"{together} per sequence)": run.mini_batch % rows,
    }
    for message, rest in refused.items():
        if rest:
            raise BadInputError(message)


def checkpoint_folder(run: Workload) -> Path:
    """The folder into which verl writes the checkpoints of a run."""
    shared = run.machines.checkpoints
    return run.run_path / "checkpoints" if shared is None else shared / run.run.name


def policies_folder(checkpoints: Path) -> Path:
    """Where policies are kept: in the run directory, or with the checkpoints on a shared disk."""
    return checkpoints.with_name("policies") if checkpoints.name == "checkpoints" else checkpoints / "policies"


def check_disk(run: Workload, *, free: Callable[[Path], int] | None = None) -> float:
    """Bytes that the checkpoints of a run will take, in `cluster.checkpoints` or else in the run directory.

    Args:
        run: The planned run.
        free: returns the free bytes at a folder; by default asks the operating system.

    Raises:
        BadInputError: the disk has less space.
    """
    folder = checkpoint_folder(run)
    needed = plan_cluster(fetch_shape(run.policy), run).disk
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    # The run's own checkpoints will be replaced, so their space counts as free.
    files = folder.rglob("global_step_*/**/*") if folder.exists() else ()
    own = sum(file.stat().st_size for file in files if file.is_file())
    room = (free or _free)(existing) + own
    if needed > room:
        raise BadInputError(
            f"{folder}: checkpoints take up to {needed / GIB:.0f} GiB, but only {room / GIB:.0f} are free; set another "
            "folder in cluster.checkpoints, or lower run.keep_checkpoints"
        )
    return needed


def cluster_changes(run: Workload) -> list[Change]:
    """Settings that save memory on a cluster, cheapest first."""
    machines = run.machines
    powers = [2**power for power in range(1, 7)]
    within_node = [number for number in powers if number <= machines.gpus_per_node]
    return [
        ("cluster.offload", True),
        ("memory.gradient_checkpointing", True),
        ("memory.max_tokens_per_microbatch", None),
        *(("cluster.rollout_memory", share) for share in (0.7, 0.5, 0.4)),
        *(("cluster.tensor_parallel", number) for number in within_node if number > machines.tensor_parallel),
        *(("cluster.sequence_parallel", number) for number in within_node if number > machines.sequence_parallel),
        *(("cluster.nodes", number) for number in powers if machines.nodes < number <= _MAX_NODES),
    ]


def _divides(shape: ModelShape, run: Workload) -> bool:
    try:
        check_spread(shape, run)
    except BadInputError:
        return False
    return True


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def tokens_at_once(run: Workload) -> int:
    """Tokens of a micro-batch on one GPU; at least its share of the longest possible sequence."""
    longest = longest_sequence(run)
    return max(run.memory.max_tokens_per_microbatch or 0, -(-longest // run.machines.sequence_parallel))


def _state(weights: float, run: Workload) -> dict[str, float]:
    """One model on one GPU: weights, and optimizer moments."""
    machines = run.machines
    gpus = machines.nodes * machines.gpus_per_node
    if machines.trainer == "megatron":  # weights in bfloat16, their float32 copies with the moments
        return {"weights": LOW * weights / machines.tensor_parallel, "optimizer": (FLOAT + ADAM) * weights / gpus}
    return {"weights": FLOAT * weights / gpus, "optimizer": ADAM * weights / gpus}


def _learning(shape: ModelShape, weights: float, run: Workload, *, has_head: bool) -> dict[str, float]:
    """Memory on one GPU during the update of one model, in addition to its weights and optimizer."""
    machines, tokens = run.machines, tokens_at_once(run)
    cut = machines.tensor_parallel if machines.trainer == "megatron" else 1
    scores = 0.0
    if has_head and not run.machines.verl.get(FUSED):
        # Logits, their gradients from log-probability and entropy, a softmax in float32; a temperature adds one more copy
        # of the logits and of their gradient.
        copies = 3 * LOW + FLOAT + (2 * LOW if run.generation.temperature != 1 else 0)
        scores = copies * tokens * shape.vocabulary / cut
    return {
        "gradients": _gradients(weights, run),
        "gathered layers": 0.0 if cut > 1 else _gathered(shape),
        "activations": tokens * activation_bytes(shape, run) / cut,
        "scores of the vocabulary": scores,
    }


def _gradients(weights: float, run: Workload) -> float:
    machines = run.machines
    if machines.trainer == "megatron":
        return FLOAT * weights / machines.tensor_parallel
    return FLOAT * weights / (machines.nodes * machines.gpus_per_node)


def _gathered(shape: ModelShape) -> float:
    """Weights that FSDP gathers at once: two layers, embeddings and head; and the gradients of one of them."""
    table = shape.vocabulary * shape.hidden
    return LOW * (2 * shape.layer_parameters + 2 * table) + (LOW + FLOAT) * max(shape.layer_parameters, table)


def _checkpoint(shape: ModelShape, roles: Mapping[str, int]) -> dict[str, float]:
    """Weights and moments of every model, and a copy of the policy in Hugging Face format."""
    sizes = {name: float((FLOAT + ADAM) * weights) for name, weights in roles.items()}
    return {**sizes, "policy to use": float(FLOAT * shape.parameters)}


def _listed(sizes: ByteCounts) -> str:
    return ", ".join(f"{name} {size / GIB:.1f}" for name, size in sizes.items() if size) or "nothing"
