"""Memory formulas shared by both engines, per token or per model.

Activations are counted tensor by tensor for decoders of the Llama family (RMS norm, rotary attention without stored scores,
gated MLP); other families differ by what their layers keep.

Units: bytes, unless a name says otherwise.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from longform.planning.shapes import ModelShape
from longform.planning.workload import Workload, WorkloadT

GIB = 2**30
LOW, FLOAT, ADAM = 2, 4, 8
"""One number in 16 bits, one in float32, and AdamW's two moments of one weight in float32."""
HEADROOM = 1.1
"""Factor on temporary memory: allocators keep blocks that fit no later request."""
ByteCounts = Mapping[str, float]
"""Bytes by purpose."""
Change = tuple[str, Any]
"""A key of a recipe and the value to try."""
Numerics = Literal["float32", "autocast", "bfloat16"]
"""float32: weights and matrix products. autocast: weights in float32, products in bfloat16. bfloat16: both."""

_LORA_MATRICES = 7
"""Matrices of one layer that get adapters."""


def numerics_of(run: Workload) -> Numerics:
    """How the trained model computes: FSDP and Megatron gather bfloat16 weights, adapters leave them in bfloat16."""
    if run.engine == "cluster":
        return "bfloat16"
    if run.memory.precision == "float32":
        return "float32"
    return "bfloat16" if run.lora else "autocast"


def activation_bytes(shape: ModelShape, run: Workload) -> float:
    """Bytes that the forward pass of one token keeps for the backward pass."""
    numerics = numerics_of(run)
    layer = layer_activation_bytes(
        shape, numerics, lora_rank=run.lora.rank if run.lora and run.engine == "local" else None
    )
    if not run.memory.gradient_checkpointing:
        return layer * shape.layers
    return layer + (LOW if numerics == "bfloat16" else FLOAT) * shape.hidden * shape.layers


def layer_activation_bytes(shape: ModelShape, numerics: Numerics, *, lora_rank: int | None = None) -> float:
    """Bytes that one layer keeps for one token, in order of computation."""
    hidden, intermediate = shape.hidden, shape.intermediate
    width = FLOAT if numerics == "float32" else LOW
    statistics = FLOAT * (2 + shape.heads)  # of the two norms and of the attention
    attention = width * (2 * shape.query_width + 2 * shape.key_width)  # queries, keys, values, output
    if lora_rank is None:
        # Norms keep their input in float32 and what they scale; matrices keep their input, under autocast as a copy.
        if numerics == "bfloat16":
            return 2 * (FLOAT + 2 * LOW) * hidden + statistics + attention + 4 * LOW * intermediate
        norms = 2 * 2 * FLOAT * hidden
        inputs = (3 + 2) * width * hidden if numerics == "autocast" else 2 * FLOAT * hidden
        return norms + inputs + statistics + attention + 4 * width * intermediate
    norms = 2 * FLOAT * hidden
    between = _LORA_MATRICES * FLOAT * lora_rank
    if numerics == "bfloat16":  # adapters multiply in float32: each keeps a copy of its matrix's input
        copies = FLOAT * (5 * hidden + shape.query_width + intermediate)
        return norms + copies + between + statistics + attention + 3 * width * intermediate
    return norms + 2 * FLOAT * hidden + between + statistics + attention + 4 * width * intermediate


def adapter_parameters(shape: ModelShape, *, rank: int) -> int:
    """Weights of one adapter: rank x (inputs + outputs) of every matrix inside the layers."""
    attention = 2 * (shape.hidden + shape.query_width) + 2 * (shape.hidden + shape.key_width)
    return shape.layers * rank * (attention + 3 * (shape.hidden + shape.intermediate))


def suggested_changes(
    run: WorkloadT, changes: Sequence[Change], shortfall: Callable[[WorkloadT], float]
) -> tuple[list[Change], WorkloadT]:
    """Return settings to change until a run fits, and the changed run; if nothing makes it fit, the closest one.

    A change is kept if it reduces the shortfall. All are tried twice, because some help only together with a later one,
    such as bfloat16 with adapters.

    Args:
        run: The run that does not fit.
        changes: Changes to try, cheapest first.
        shortfall: Returns the bytes that a run lacks; 0 if it fits.
    """
    kept: dict[str, Any] = {}
    missing = shortfall(run)
    for key, value in (*changes, *changes):
        if not missing:
            break
        with_it = shortfall(_changed(run, kept | {key: value}))
        if with_it < missing:
            missing = with_it
            kept[key] = value
    return list(kept.items()), _changed(run, kept)


def most_effective(
    run: WorkloadT, changes: Sequence[Change], needed: Callable[[WorkloadT], float], *, limit: float
) -> list[Change]:
    """Return the changes that a run needs to fit into `limit` bytes, first the one that frees most alone.

    Args:
        run: The run that does not fit.
        changes: Of `suggested_changes`; if they do not suffice, all of them are returned.
        needed: Returns the bytes that a run needs.
        limit: Bytes.
    """
    ascending = sorted(changes, key=lambda it: needed(run.changed(*it)), reverse=True)
    kept = dict(changes)
    for key, _ in ascending if needed(_changed(run, kept)) <= limit else ():
        rest = {name: value for name, value in kept.items() if name != key}
        if needed(_changed(run, rest)) <= limit:
            kept = rest
    return [it for it in reversed(ascending) if it[0] in kept]


def written_change(change: Change) -> str:
    """A change as it is written in a recipe."""
    key, value = change
    return f"{key}: {value if isinstance(value, str) else json.dumps(value)}"


def _changed(run: WorkloadT, changes: Mapping[str, Any]) -> WorkloadT:
    for key, value in changes.items():
        run = run.changed(key, value)
    return run
