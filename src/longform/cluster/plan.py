"""How much memory and disk a cluster run needs, from the model's shape and the recipe alone: before Ray starts.

Counted for the fullest GPU, at the longest sequences that the recipe allows. FSDP cuts weights, gradients and optimizer into
as many pieces as there are GPUs; Megatron cuts weights and gradients into `tensor_parallel` pieces and the optimizer into as
many as there are GPUs. verl keeps trained weights in float32, multiplies in bfloat16, and holds the reference model in the
nodes' memory. With `offload` a model is on the GPU only while it is in use.

Units: bytes, unless a name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from longform.recipe.estimate.machine import GIB, cache_room
from longform.recipe.recipe import Recipe
from longform.writers.shapes import ModelShape

_LOW, _FLOAT, _ADAM = 2, 4, 8
_SPARE = 1.1
"""What comes and goes, times this: allocators keep pieces that fit nothing."""
_OWN = 3 * GIB
"""Contexts of the two processes on a GPU, and the buffers through which GPUs speak."""
_BUCKET = 2 * GIB
"""In which weights go over to the writing engine."""
FUSED = "actor_rollout_ref.model.use_fused_kernels"
"""verl's setting with which scores over the vocabulary are never held whole."""
Sizes = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Bytes by what they are for."""

    held: Sizes
    """On each GPU throughout the run."""
    writing: Sizes
    """On each GPU on top, while responses are written."""
    updating: Mapping[str, Sizes]
    """On each GPU on top, while a model learns, by the model."""
    limit: float
    """Of a GPU."""
    cache: float
    """Room for keys and values in the writing engine on each GPU; below 0 where its weights do not fit."""
    sequence_cache: float
    """Keys and values of one sequence of the longest kind, on each GPU of a copy."""
    node: Sizes
    """In the memory of each node."""
    checkpoint: Sizes
    """One checkpoint."""
    kept: int
    """Checkpoints on the disk at once: those that are kept, and the next while it is written."""

    @property
    def total(self) -> float:
        """The most that a GPU needs at once."""
        learning = max(sum(sizes.values()) for sizes in self.updating.values())
        return sum(self.held.values()) + max(sum(self.writing.values()), _SPARE * learning)

    @property
    def sequences(self) -> int:
        """Longest sequences that one writing copy holds at once."""
        return max(int(self.cache // self.sequence_cache), 0)

    @property
    def shortfall(self) -> float:
        """Bytes that are missing on each GPU, for the run or for one sequence in the writing engine; 0 where it fits."""
        return max(self.total - self.limit, self.sequence_cache - self.cache, 0.0)

    @property
    def disk(self) -> float:
        """That checkpoints take at most."""
        return self.kept * sum(self.checkpoint.values())

    def lines(self) -> list[str]:
        """The plan for people, in GiB."""
        parts = [("held on each GPU", self.held), ("while writing", self.writing)]
        parts += [(f"while the {name} learns", sizes) for name, sizes in self.updating.items()]
        parts += [("in each node's memory", self.node), ("a checkpoint on disk", self.checkpoint)]
        lines = [f"{title}: {_listed(sizes)}" for title, sizes in parts]
        return [
            *lines,
            f"in all up to {self.total / GIB:.1f} of {self.limit / GIB:.0f} on each GPU",
            f"keys and values: {self.cache / GIB:.1f} on each GPU, {self.sequences} of the longest sequences a copy",
            f"checkpoints on disk: up to {self.disk / GIB:.0f}",
        ]


def plan_cluster(shape: ModelShape, recipe: Recipe) -> ClusterPlan:
    """What a run of `recipe` with a policy of this shape needs."""
    machines = recipe.machines
    longest = recipe.generation.max_prompt_tokens + recipe.generation.max_tokens
    roles = {"policy": shape.parameters}
    if recipe.method == "ppo":
        roles["critic"] = shape.parameters - shape.head_parameters + shape.hidden
    states = {name: _state(weights, recipe) for name, weights in roles.items()}
    resident = {name: sum(state.values()) for name, state in states.items()}
    share = machines.rollout_memory * machines.gpu_memory_gb * GIB
    updating = {
        name: {
            "weights and optimizer": resident[name] if machines.offload else 0.0,
            **_learning(shape, weights, recipe, has_head=name == "policy"),
        }
        for name, weights in roles.items()
    }
    moved = states["policy"]["weights"] if machines.offload else 0.0
    gpus = machines.nodes * machines.gpus_per_node
    off = {name: machines.gpus_per_node * size for name, size in resident.items()} if machines.offload else {}
    if recipe.optim.kl > 0:
        off["reference"] = machines.gpus_per_node * _FLOAT * shape.parameters / gpus
    return ClusterPlan(
        held={"the processes' own": _OWN, **({} if machines.offload else resident)},
        writing={"the writing engine": share, "weights on their way": moved + _BUCKET},
        updating=updating,
        limit=machines.gpu_memory_gb * GIB,
        cache=cache_room(recipe, shape.parameters),
        sequence_cache=longest * shape.cache_bytes() / min(machines.tensor_parallel, shape.key_heads),
        node=off,
        checkpoint=_checkpoint(shape, roles),
        kept=recipe.run.keep_checkpoints + 1,
    )


def tokens_at_once(recipe: Recipe) -> int:
    """Tokens that go through a model at once on one GPU; at least its part of the longest sequence that may come."""
    longest = recipe.generation.max_prompt_tokens + recipe.generation.max_tokens
    return max(recipe.memory.micro_tokens or 0, -(-longest // recipe.machines.sequence_parallel))


def activation_bytes(shape: ModelShape, recipe: Recipe) -> float:
    """Bytes that a token's forward pass leaves behind for the backward pass, weights being in bfloat16."""
    statistics = _FLOAT * (2 + shape.heads)  # of the two norms and of the attention
    attention = _LOW * (2 * shape.query_width + 2 * shape.key_width)  # queries, keys, values, output
    # Norms read a copy in float32 and keep what they scale; matrices keep what they multiply.
    layer = 2 * (_FLOAT + 2 * _LOW) * shape.hidden + statistics + attention + 4 * _LOW * shape.intermediate
    if not recipe.memory.gradient_checkpointing:
        return layer * shape.layers
    return layer + _LOW * shape.hidden * shape.layers


def _state(weights: float, recipe: Recipe) -> dict[str, float]:
    """Of one model on one GPU: weights, and the moments of those that are trained."""
    machines = recipe.machines
    gpus = machines.nodes * machines.gpus_per_node
    if machines.trainer == "megatron":  # weights in bfloat16, their float32 copies with the moments
        return {"weights": _LOW * weights / machines.tensor_parallel, "optimizer": (_FLOAT + _ADAM) * weights / gpus}
    return {"weights": _FLOAT * weights / gpus, "optimizer": _ADAM * weights / gpus}


def _learning(shape: ModelShape, weights: float, recipe: Recipe, *, has_head: bool) -> dict[str, float]:
    """On one GPU while one model learns, beside its weights and optimizer."""
    machines, tokens = recipe.machines, tokens_at_once(recipe)
    cut = machines.tensor_parallel if machines.trainer == "megatron" else 1
    scores = 0.0
    if has_head and not recipe.machines.verl.get(FUSED):
        # The scores, their gradients by log-probability and by entropy, a softmax in float32; divided by a temperature
        # they are held, and passed back, once more.
        copies = 3 * _LOW + _FLOAT + (2 * _LOW if recipe.generation.temperature != 1 else 0)
        scores = copies * tokens * shape.vocabulary / cut
    return {
        "gradients": _gradients(weights, recipe),
        "gathered layers": 0.0 if cut > 1 else _gathered(shape),
        "activations": tokens * activation_bytes(shape, recipe) / cut,
        "scores of the vocabulary": scores,
    }


def _gradients(weights: float, recipe: Recipe) -> float:
    machines = recipe.machines
    if machines.trainer == "megatron":
        return _FLOAT * weights / machines.tensor_parallel
    return _FLOAT * weights / (machines.nodes * machines.gpus_per_node)


def _gathered(shape: ModelShape) -> float:
    """Weights that FSDP has whole at one time: two layers, embeddings and head; and the gradients of one of them."""
    table = shape.vocabulary * shape.hidden
    return _LOW * (2 * shape.layer_parameters + 2 * table) + (_LOW + _FLOAT) * max(shape.layer_parameters, table)


def _checkpoint(shape: ModelShape, roles: Mapping[str, int]) -> dict[str, float]:
    """Of every model its weights and moments, of the policy a copy in Hugging Face format besides."""
    sizes = {name: float((_FLOAT + _ADAM) * weights) for name, weights in roles.items()}
    return {**sizes, "policy to use": float(_FLOAT * shape.parameters)}


def _listed(sizes: Sizes) -> str:
    return ", ".join(f"{name} {size / GIB:.1f}" for name, size in sizes.items() if size) or "nothing"
