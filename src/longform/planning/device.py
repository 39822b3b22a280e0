"""Memory of a run on one device, from the model's config.json and the recipe, before any weight is loaded.

The plan adds what is held throughout (weights, optimizers) and the larger of what generation and the update need on top.
Every response is assumed to be as long as `generation.max_tokens` allows.

Units: bytes, unless a name says otherwise.
"""

import os
from dataclasses import dataclass

from longform.planning.memory import (
    ADAM,
    FLOAT,
    GIB,
    HEADROOM,
    LOW,
    ByteCounts,
    Change,
    activation_bytes,
    adapter_parameters,
    most_effective,
    numerics_of,
    suggested_changes,
    written_change,
)
from longform.planning.shapes import ModelShape, count_scoring_parameters, fetch_shape, with_exact_parameters
from longform.planning.workload import Workload, longest_sequence
from longform.records.errors import BadInputError
from longform.rewards.likelihood import frozen_model
from longform.rewards.settings import LikelihoodSettings, WritingSettings
from longform.writers.settings import MAX_PACKED_BYTES, SERVED

NF4 = 0.52
"""Bytes of a weight in 4 bits with its share of the constants."""
CUDA_CONTEXT = 0.8 * GIB
CPU_PROCESS = 0.55 * GIB
"""A process without its models: libraries (0.38 GiB when all are loaded), buffers of matrix kernels, and what the allocator
keeps of loading; benchmarks/one_device.py measures it."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Planned memory, in bytes by purpose."""

    held: ByteCounts
    """Throughout the run."""
    writing: ByteCounts
    """In addition, while responses are generated."""
    updating: ByteCounts
    """In addition, during an update."""

    @property
    def total(self) -> float:
        """Peak of the run."""
        return sum(self.held.values()) + HEADROOM * max(sum(self.writing.values()), sum(self.updating.values()))

    def lines(self) -> list[str]:
        """Format the plan in GiB."""
        parts = (("throughout", self.held), ("generation", self.writing), ("update", self.updating))
        lines = [
            f"{title}: " + ", ".join(f"{name} {size / GIB:.2f}" for name, size in sizes.items() if size)
            for title, sizes in parts
        ]
        return [*lines, f"total: up to {self.total / GIB:.2f}"]


def plan_memory(
    shape: ModelShape,
    run: Workload,
    *,
    on_gpu: bool,
    longest_prompt: int | None = None,
    scoring_parameters: int = 0,
    frozen: ModelShape | None = None,
    card: float | None = None,
) -> MemoryPlan:
    """Plan the memory of a run.

    Args:
        shape: shape of the policy.
        run: the run to plan.
        on_gpu: whether it runs on a GPU.
        longest_prompt: tokens of the longest prompt; None: as long as the recipe allows.
        scoring_parameters: number of weights of all reward models that are loaded in addition to the policy.
        frozen: shape of the model of a likelihood reward, which reads one text at a time.
        card: memory of the device in bytes, of which a vLLM or SGLang server takes its share; None: unknown.
    """
    prompt = run.generation.max_prompt_tokens if longest_prompt is None else longest_prompt
    longest = prompt + run.generation.max_tokens
    held = _trained_bytes(shape, run)
    low = LOW if on_gpu else FLOAT
    held["reward model"] = low * scoring_parameters
    if frozen is not None:
        reads = next((it.max_tokens for it in run.rewards if isinstance(it, LikelihoodSettings)), 0)
        passing = (longest + reads) * low * (3 * frozen.intermediate + 4 * frozen.hidden)
        held["likelihood model"] = low * frozen.parameters + passing
    held["device and libraries"] = CUDA_CONTEXT if on_gpu else CPU_PROCESS
    updating = _update_bytes(shape, run, longest=longest, on_gpu=on_gpu)
    if run.generation.engine not in SERVED:
        generation = _generation_bytes(shape, run, prompt=prompt, longest=longest, on_gpu=on_gpu)
        return MemoryPlan(held, generation, updating)
    server = run.generation.server
    share = {} if card is None or server.address is not None else {"server": server.memory * card}
    # A server that sleeps during the update holds its share only while it generates.
    return MemoryPlan(held, share, updating) if server.sleep else MemoryPlan(held | share, {}, updating)


def _width(run: Workload) -> float:
    """Bytes of a number in matrix products."""
    return FLOAT if run.memory.precision == "float32" else LOW


def _trained_bytes(shape: ModelShape, run: Workload) -> dict[str, float]:
    """Weights of policy, critic and reference model, and the state of their optimizers."""
    width = _width(run)
    moments = ADAM if run.memory.optimizer_bits == 32 else ADAM / 4
    if run.lora:
        adapters = (2 if run.method == "ppo" else 1) * adapter_parameters(shape, rank=run.lora.rank)
        inside = shape.layers * shape.layer_parameters
        low_bits = width if run.memory.quantize is None else NF4
        return {
            "weights": width * (shape.parameters - inside) + low_bits * inside,
            "adapters": FLOAT * adapters,
            "optimizers": moments * adapters,
        }
    critic = shape.parameters - shape.head_parameters if run.method == "ppo" else 0
    return {
        "policy": FLOAT * shape.parameters,
        "critic": FLOAT * critic,
        "reference": width * shape.parameters if run.optim.kl_coef > 0 else 0,
        "optimizers": moments * (shape.parameters + critic),
    }


def _update_bytes(shape: ModelShape, run: Workload, *, longest: int, on_gpu: bool) -> dict[str, float]:
    """Weights in low precision, gradients and activations of an update, for sequences of up to `longest` tokens."""
    # Those of the head are summed separately; where it is tied to the embeddings, theirs wait beside them for the sum.
    ends = 1 if shape.head_parameters else 2
    gradients = (
        adapter_parameters(shape, rank=run.lora.rank)
        if run.lora
        else shape.parameters + ends * shape.vocabulary * shape.hidden
    )
    microbatch = run.memory.microbatch_tokens(on_gpu=on_gpu)
    in_flight = run.mini_batch * longest
    # PPO computes values and reference log-probabilities of all rollouts of a step; GRPO the latter, with a KL term.
    rounds = 1 if run.method == "ppo" else (1 + run.grpo.resample) * (run.optim.kl_coef > 0)
    measured = rounds * run.rollouts * longest
    if microbatch is not None:
        in_flight, measured = min(in_flight, microbatch), min(measured, microbatch)
    kept = activation_bytes(shape, run)
    if run.memory.offload_activations and on_gpu:  # those of the layer that is being computed are on the device
        kept /= shape.layers
    return {
        "weights in low precision": _cast_bytes(shape, run),
        "gradients": FLOAT * gradients,
        "activations": max(in_flight, longest) * kept + max(measured, longest) * _working_bytes(shape, run),
        "tiles of the output head": _head_tiles() if on_gpu else 0,
    }


def _generation_bytes(shape: ModelShape, run: Workload, *, prompt: int, longest: int, on_gpu: bool) -> dict[str, float]:
    """Weights in low precision, packed weights, KV cache and logits of generation in this process."""
    batch = min(run.generation.batch, run.rollouts)
    # Under autocast the rotary embedding leaves keys in float32, and the cache holds both keys and values so.
    cache = shape.cache_bytes(width=LOW if numerics_of(run) == "bfloat16" else FLOAT)
    return {
        "weights in low precision": _cast_bytes(shape, run),
        "packed weights": 0 if on_gpu else _packed_bytes(shape, run),
        "KV cache": batch * longest * cache * (1 + 1 / shape.layers),
        "encoding prompts": batch * prompt * _working_bytes(shape, run),
        "sampling tokens": batch * shape.vocabulary * (2 * FLOAT + 3 * 8),
    }


def _cast_bytes(shape: ModelShape, run: Workload) -> float:
    """The copies of the weights in low precision that autocast makes."""
    return _width(run) * shape.parameters if numerics_of(run) == "autocast" else 0


def _packed_bytes(shape: ModelShape, run: Workload) -> float:
    """The copies of `writers/packed_weights.py`; under autocast they are the copies in low precision."""
    size = _width(run) * (shape.parameters - shape.head_parameters)  # without the embeddings
    is_packed = run.generation.engine == "own" and numerics_of(run) != "autocast" and size <= MAX_PACKED_BYTES
    return size if is_packed else 0


def _working_bytes(shape: ModelShape, run: Workload) -> float:
    """Bytes per token of the layer that is being computed."""
    return _width(run) * (3 * shape.intermediate + 4 * shape.hidden)


def _head_tiles() -> float:
    from longform.rl.log_probs import GPU_TILE

    return 4 * FLOAT * GPU_TILE.tokens * GPU_TILE.vocabulary


def check_memory(run: Workload, *, longest_prompt: int | None = None) -> MemoryPlan:
    """Plan a run on the device that it will use. If a machine does not report its memory, every plan fits.

    Args:
        run: the run to plan.
        longest_prompt: tokens of the longest prompt; None: as long as the recipe allows.

    Raises:
        BadInputError: it does not fit; the error names settings that would make it fit, the most effective one first.
    """
    import torch

    limit_gb = run.memory.limit_gb
    on_gpu = torch.cuda.is_available() or limit_gb is not None
    limit = device_memory() if limit_gb is None else limit_gb * GIB
    shape = with_exact_parameters(fetch_shape(run.policy), run.policy)
    scoring = sum(
        count_scoring_parameters(model)
        for reward in run.rewards
        if isinstance(reward, WritingSettings) and not reward.endpoints
        for model in reward.models
    )

    likelihood = next((it for it in run.rewards if isinstance(it, LikelihoodSettings)), None)
    frozen = None
    if likelihood is not None:
        model = frozen_model(likelihood, policy=run.policy)
        frozen = with_exact_parameters(fetch_shape(model), model)

    def needed(run: Workload) -> float:
        return planned(run).total

    def planned(run: Workload) -> MemoryPlan:
        return plan_memory(
            shape,
            run,
            on_gpu=on_gpu,
            longest_prompt=longest_prompt,
            scoring_parameters=scoring,
            frozen=frozen,
            card=limit,
        )

    plan = planned(run)
    if limit is None or plan.total <= limit:
        return plan
    available = "this machine has" if limit_gb is None else "memory.limit_gb is"
    needs = f"needs up to {plan.total / GIB:.2f} GiB, and {available} {limit / GIB:.2f}"
    suggested, fitting = suggested_changes(run, device_changes(run), lambda run: max(needed(run) - limit, 0.0))

    def effect(run: Workload, change: Change) -> str:
        freed = needed(run) - needed(run.changed(*change))
        return written_change(change) + (f" (frees {freed / GIB:.2f})" if freed > 0 else "")

    changes = ", ".join(effect(run, it) for it in most_effective(run, suggested, needed, limit=limit))
    if needed(fitting) <= limit:
        raise BadInputError(f"{run.policy}: {needs}; it fits with {changes}")
    half = effect(fitting, ("generation.max_tokens", max(run.generation.max_tokens // 2, 1)))
    still = f"with {changes} it would still need {needed(fitting) / GIB:.2f}: " if changes else ""
    raise BadInputError(f"{run.policy}: {needs}; {still}use a smaller model or shorter responses, such as {half}")


def device_changes(run: Workload) -> list[Change]:
    """Settings that save memory on one device, cheapest first."""
    shares = [it for it in (0.5, 0.4, 0.3, 0.2) if it < run.generation.server.memory]
    return [
        *(("generation.server.memory", share) for share in shares if run.generation.engine in SERVED),
        ("memory.max_tokens_per_microbatch", longest_sequence(run)),
        ("memory.gradient_checkpointing", True),
        ("memory.offload_activations", True),
        *(("generation.batch", batch) for batch in (32, 16, 8, 4)),
        ("memory.precision", "bfloat16"),
        *([("memory.quantize", "nf4")] if run.lora and run.memory.quantize is None else []),
        ("lora", {}),
        *(("generation.batch", batch) for batch in (2, 1)),
    ]


def device_memory() -> float | None:
    """Return the memory of the GPU or, without one, of the machine, in bytes; None if the machine does not say."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None
