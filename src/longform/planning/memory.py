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
) -> tuple[list[str], WorkloadT]:
    """Return settings to change until a run fits, and the changed run; if nothing makes it fit, the closest one.

    A change is kept if it reduces the shortfall. All are tried twice, because some help only together with a later one,
    such as bfloat16 with adapters.

    Args:
        run: The run that does not fit.
        changes: Changes to try, cheapest first.
        shortfall: Returns the bytes that a run lacks; 0 if it fits.
    """
    kept: dict[str, str] = {}
    missing = shortfall(run)
    for key, value in (*changes, *changes):
        if not missing:
            break
        changed = run.changed(key, value)
        if shortfall(changed) < missing:
            run, missing = changed, shortfall(changed)
            kept[key] = f"{key}: {value if isinstance(value, str) else json.dumps(value)}"
    return list(kept.values()), run
