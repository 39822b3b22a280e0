"""Seconds of a step on given GPUs: generation is bound by memory bandwidth and the longest response, updates by arithmetic.

A roofline model at the assumed fractions of the data sheets. Start-up, weight synchronisation and checkpoints are not
included.
"""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from longform.planning.assumptions import GPU_SPECS, Assumptions
from longform.planning.memory import GIB
from longform.planning.shapes import ModelShape
from longform.planning.workload import Workload
from longform.writers.settings import SERVED

ENGINE_OWN = 4 * GIB
"""Memory of vLLM or SGLang on a GPU besides weights and cache: graphs, activations, buffers."""
GRAPH_SECONDS = 0.002
"""Overhead of a decoding step of such an engine."""
LAUNCH_SECONDS = 0.001
"""Overhead per layer of a decoding step of transformers, which launches one kernel after another."""
MAX_SEQUENCES = 256
"""Concurrent sequences of such an engine, even if its cache holds more."""
USUAL_CARD_GB = 80.0
"""Memory of a GPU where the recipe does not state it."""
_USUAL_LAYERS = 32
_CACHE_OF_8B = 131_072
"""KV cache of one token of an 8B model in bytes; scaled by the square root of the size for unknown shapes."""


class Policy(NamedTuple):
    """What is known about the policy."""

    parameters: float
    shape: ModelShape | None

    @property
    def cache_bytes(self) -> float:
        """KV cache of one token in 16 bits."""
        if self.shape is not None:
            return self.shape.cache_bytes()
        return _CACHE_OF_8B * (self.parameters / 8e9) ** 0.5

    def forward_flops(self, length: float) -> float:
        """Operations per token of a forward pass over `length` tokens, causal attention included."""
        attention = 0.0 if self.shape is None else 2 * self.shape.layers * self.shape.query_width * length
        return 2 * self.parameters + attention


@dataclass(frozen=True, slots=True)
class Machine:
    """The GPUs of a run at their assumed speed."""

    gpus: int
    """GPUs that compute the update."""
    per_copy: int
    """GPUs of one replica of the generation engine."""
    flops: float
    """Of one GPU, as assumed."""
    bandwidth: float
    """Of one GPU, as assumed."""
    weight_bytes: int
    """Of one weight during generation."""
    step_seconds: float
    """Overhead of a decoding step."""
    side_by_side: int | None
    """Concurrent responses of a replica at most; None: as many as its cache holds, and the engine allows."""
    cache_bytes: float
    """KV cache of a replica."""


def find_machine(run: Workload, policy: Policy, given: Assumptions) -> Machine:
    """The machine of a run, for either engine."""
    card = GPU_SPECS[given.gpu]
    low = run.memory.precision == "bfloat16"
    flops = given.utilisation * (card.low_flops if low else card.full_flops)
    bandwidth = given.bandwidth_share * card.bandwidth
    if run.engine == "local":
        width, server, batch = 2 if low else 4, run.generation.server, run.generation.batch
        if run.generation.engine in SERVED:
            room = served_cache_room(run, policy.parameters, width=width)
            return Machine(1, server.tensor_parallel, flops, bandwidth, width, GRAPH_SECONDS, batch, max(room, 0.0))
        layers = policy.shape.layers if policy.shape else _USUAL_LAYERS
        return Machine(1, 1, flops, bandwidth, width, LAUNCH_SECONDS * layers, batch, float("inf"))
    machines = run.machines
    gpus, parallel = machines.nodes * machines.gpus_per_node, machines.tensor_parallel
    room = cache_room(run, policy.parameters) * parallel
    return Machine(gpus, parallel, flops, bandwidth, 2, GRAPH_SECONDS, None, max(room, 0.0))


def cache_room(run: Workload, parameters: float) -> float:
    """Bytes of KV cache of the generation engine on one GPU; negative if its weights do not fit."""
    machines = run.machines
    weights = 2 * parameters / machines.tensor_parallel
    return machines.rollout_memory * machines.gpu_memory_gb * GIB - weights - ENGINE_OWN


def served_cache_room(run: Workload, parameters: float, *, width: int) -> float:
    """Bytes of KV cache of a local run's vLLM or SGLang server, on all its GPUs; negative if its weights do not fit.

    Args:
        run: the run.
        parameters: of the policy.
        width: bytes of a weight.
    """
    server, card = run.generation.server, (run.memory.limit_gb or USUAL_CARD_GB) * GIB
    return server.tensor_parallel * (server.memory * card - ENGINE_OWN) - width * parameters


def writing_seconds(
    machine: Machine, policy: Policy, *, responses: int, prompt: float, response: float, longest: float
) -> float:
    """Seconds in which all replicas generate `responses`; the longest one finishes alone."""
    if not responses:
        return 0.0
    copies = max(machine.gpus // machine.per_copy, 1)
    share = ceil(responses / copies)
    batch = min(share, at_once(machine, policy, length=prompt + response))
    steps = response * share / batch
    bulk = steps * decode_seconds(machine, policy, batch=batch, length=prompt + response / 2)
    tail = max(longest - steps, 0) * decode_seconds(machine, policy, batch=1, length=prompt + longest / 2)
    reading = share * prompt * policy.forward_flops(prompt) / (machine.per_copy * machine.flops)
    return reading + bulk + tail


def at_once(machine: Machine, policy: Policy, *, length: float) -> int:
    """Concurrent sequences of `length` tokens in one replica, at least one."""
    most = MAX_SEQUENCES if machine.side_by_side is None else machine.side_by_side
    held = machine.cache_bytes / (length * policy.cache_bytes * machine.weight_bytes / 2)
    return most if held >= most else max(int(held), 1)


def decode_seconds(machine: Machine, policy: Policy, *, batch: int, length: float) -> float:
    """Seconds of one decoding step: reading weights and caches once, or the arithmetic if that takes longer."""
    read = machine.weight_bytes * policy.parameters + batch * length * policy.cache_bytes * machine.weight_bytes / 2
    reading = read / (machine.per_copy * machine.bandwidth)
    computing = batch * policy.forward_flops(length) / (machine.per_copy * machine.flops)
    return machine.step_seconds + max(reading, computing)


def updating_seconds(machine: Machine, policy: Policy, run: Workload, *, length: float) -> float:
    """Seconds of all passes over a step's rollouts of `length` tokens, prompt and response."""
    flops = run.rollouts * length * policy.forward_flops(length) * forward_passes(run)
    return flops / (machine.gpus * machine.flops)


def forward_passes(run: Workload) -> float:
    """The work of a step in forward passes.

    A backward pass counts two, or one with adapters; checkpointing repeats the forward pass. A cluster recomputes
    log-probabilities, PPO computes values, and a KL term needs the reference model. With `down_sample`, the local engine
    passes over a part of the responses; verl masks the others and passes over all.
    """
    training: float = (2 if run.lora else 3) + run.memory.gradient_checkpointing
    if run.engine == "local":
        training *= learning_share(run)
    passes = run.optim.epochs * training + (run.engine == "cluster") + (run.optim.kl_coef > 0)
    return passes + (run.optim.epochs * training + 1 if run.method == "ppo" else 0)


def learning_share(run: Workload) -> float:
    """The fraction of a step's responses that the update learns from."""
    kept = run.grpo.down_sample if run.method == "grpo" else None
    return 1.0 if kept is None else kept / run.data.group
