"""The seconds of a step on given cards: writing bounded by memory bandwidth and the longest response, updates by arithmetic.

A roofline: what the cards could do at the stated shares of their data sheets. Starting up, moving weights between writing
and updating, and checkpoints come on top.
"""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from longform.planning.assumptions import GPU_SPECS, Assumptions
from longform.planning.memory import GIB
from longform.planning.shapes import ModelShape
from longform.planning.workload import Workload

ENGINE_OWN = 4 * GIB
"""That vLLM or SGLang keep on a GPU beside weights and cache: graphs, activations, buffers."""
GRAPH_SECONDS = 0.002
"""Of a decoding step of such an engine, beside reading memory."""
LAUNCH_SECONDS = 0.001
"""Of each layer in a decoding step of transformers, which starts one kernel after another."""
MAX_SEQUENCES = 256
"""That such an engine writes at once, whatever its cache holds."""
_USUAL_LAYERS = 32
_CACHE_OF_8B = 131_072
"""Bytes of keys and values of a token of an 8B model; by the square root of the size for others that are not known."""


class Policy(NamedTuple):
    """What is known of the model that writes and learns."""

    parameters: float
    shape: ModelShape | None

    @property
    def cache_bytes(self) -> float:
        """Keys and values of a token, in 16 bits."""
        if self.shape is not None:
            return self.shape.cache_bytes()
        return _CACHE_OF_8B * (self.parameters / 8e9) ** 0.5

    def forward_flops(self, length: float) -> float:
        """Operations that a token's forward pass takes in a sequence of `length` tokens, causal attention included."""
        attention = 0.0 if self.shape is None else 2 * self.shape.layers * self.shape.query_width * length
        return 2 * self.parameters + attention


@dataclass(frozen=True, slots=True)
class Machine:
    """The cards of a run at the speed that they are taken to reach."""

    gpus: int
    per_copy: int
    """GPUs that one writing copy stands on."""
    flops: float
    """Of one card, as used."""
    bandwidth: float
    """Of one card, as used."""
    weight_bytes: int
    """Of a number, while writing."""
    step_seconds: float
    """Of a decoding step, beside reading memory."""
    side_by_side: int | None
    """Responses that a copy may write at once; None: what its cache holds."""
    cache_bytes: float
    """That a copy has for keys and values."""


def find_machine(run: Workload, policy: Policy, given: Assumptions) -> Machine:
    """The machine of either engine."""
    card = GPU_SPECS[given.gpu]
    low = run.memory.precision == "bfloat16"
    flops = given.utilisation * (card.low_flops if low else card.full_flops)
    bandwidth = given.bandwidth_share * card.bandwidth
    if run.engine == "local":
        layers = policy.shape.layers if policy.shape else _USUAL_LAYERS
        width = 2 if low else 4
        return Machine(1, 1, flops, bandwidth, width, LAUNCH_SECONDS * layers, run.generation.batch, float("inf"))
    machines = run.machines
    gpus, parallel = machines.nodes * machines.gpus_per_node, machines.tensor_parallel
    room = cache_room(run, policy.parameters) * parallel
    return Machine(gpus, parallel, flops, bandwidth, 2, GRAPH_SECONDS, None, max(room, 0.0))


def cache_room(run: Workload, parameters: float) -> float:
    """Bytes that the writing engine has on one GPU for keys and values; below 0 where its weights do not fit."""
    machines = run.machines
    weights = 2 * parameters / machines.tensor_parallel
    return machines.rollout_memory * machines.gpu_memory_gb * GIB - weights - ENGINE_OWN


def writing_seconds(
    machine: Machine, policy: Policy, *, responses: int, prompt: float, response: float, longest: float
) -> float:
    """Seconds in which all copies write `responses`, of which the longest goes on alone when the others have ended."""
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
    """Sequences of `length` tokens that one copy holds, at least one."""
    if machine.side_by_side is not None:
        return machine.side_by_side
    return min(max(int(machine.cache_bytes // (length * policy.cache_bytes)), 1), MAX_SEQUENCES)


def decode_seconds(machine: Machine, policy: Policy, *, batch: int, length: float) -> float:
    """Seconds of one decoding step: weights and the batch's caches are read once, or the arithmetic takes longer."""
    read = machine.weight_bytes * policy.parameters + batch * length * policy.cache_bytes * machine.weight_bytes / 2
    reading = read / (machine.per_copy * machine.bandwidth)
    computing = batch * policy.forward_flops(length) / (machine.per_copy * machine.flops)
    return machine.step_seconds + max(reading, computing)


def updating_seconds(machine: Machine, policy: Policy, run: Workload, *, length: float) -> float:
    """Seconds of all passes over a step's rollouts of `length` tokens, prompt and response together."""
    flops = run.rollouts * length * policy.forward_flops(length) * forward_passes(run)
    return flops / (machine.gpus * machine.flops)


def forward_passes(run: Workload) -> float:
    """How many forward passes the work of a step is worth.

    A backward pass is worth two, or one where adapters alone are trained; checkpointing repeats the forward pass.
    Log-probabilities are measured again on a cluster, values with PPO, those of the reference model with KL.
    """
    training = (2 if run.lora else 3) + run.memory.gradient_checkpointing
    passes = run.optim.epochs * training + (run.engine == "cluster") + (run.optim.kl_coef > 0)
    return passes + (run.optim.epochs * training + 1 if run.method == "ppo" else 0)
