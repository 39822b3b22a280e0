"""Linear layers whose weights oneDNN has packed, for the few rows of a decoding step on a CPU.

A product of few rows spends much of its time on laying out the weights for the processor, again for each token. Here they
are packed once for all tokens (benchmarks/own_speed.py measures generation). The copies need the memory of the weights once
more while text is generated. They are made by the operators that torch.compile uses.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from longform.writers.settings import MAX_PACKED_BYTES

MIN_WEIGHTS = 200_000
"""Weights of the smallest layer that is packed. With small ones and few rows, the call takes longer than the product."""
_ROWS = 64
"""Number of rows that the layout is chosen for; it serves other numbers as well."""
_DTYPES = (torch.float32, torch.bfloat16)


@contextmanager
def packed_weights(model: nn.Module, *, min_weights: int | None = None) -> Iterator[None]:
    """A context in which the large linear layers of a model on a CPU multiply by packed copies of their weights.

    The weights must not change within it, and no gradients can be computed. Where packing does not help or the copies would
    exceed `MAX_PACKED_BYTES`, the model stays as it is.

    Args:
        model: A model in evaluation mode; under autocast the copies have its precision.
        min_weights: Number of weights of the smallest layer that is packed; None: `MIN_WEIGHTS`.
    """
    smallest = MIN_WEIGHTS if min_weights is None else min_weights
    layers = [it for it in model.modules() if type(it) is nn.Linear and _can_be_packed(it.weight, smallest)]
    size = sum(it.weight.numel() * _precision(it.weight).itemsize for it in layers)
    if size > MAX_PACKED_BYTES:
        layers = []
    for layer in layers:
        weight = layer.weight.detach().to(_precision(layer.weight))
        bias = None if layer.bias is None else layer.bias.detach().to(weight.dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        vars(layer)["forward"] = partial(_multiply, packed=packed, bias=bias, precision=weight.dtype)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]  # so that the method of the class is found again


def _multiply(states: Tensor, *, packed: Tensor, bias: Tensor | None, precision: torch.dtype) -> Tensor:
    """The product of a linear layer, [..., inputs] to [..., outputs]."""
    return torch.ops.mkldnn._linear_pointwise(states.to(precision), packed, bias, "none", [], "")


def _precision(weight: Tensor) -> torch.dtype:
    """The precision of a layer's products."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype


def _can_be_packed(weight: Any, min_weights: int) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.numel() >= min_weights
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and _precision(weight) in _DTYPES
        and (_precision(weight) == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )
