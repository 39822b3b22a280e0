"""Activation offloading: activations are kept in the machine's memory between forward and backward pass."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

SMALLEST = 1 << 16
"""Minimum number of values of a tensor that is offloaded."""


def offloaded(models: Iterable[nn.Module]) -> AbstractContextManager[None]:
    """A context that moves tensors that autograd saves to the machine's memory, except weights and small tensors.

    torch's own `save_on_cpu` copies the weights too, for every layer.
    """
    weights = {it.untyped_storage().data_ptr() for model in models for it in model.parameters()}

    def pack(tensor: Tensor) -> tuple[torch.device, Tensor] | Tensor:
        if tensor.numel() < SMALLEST or tensor.untyped_storage().data_ptr() in weights:
            return tensor
        kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        kept.copy_(tensor)
        return tensor.device, kept

    def unpack(saved: tuple[torch.device, Tensor] | Tensor) -> Tensor:
        return saved if isinstance(saved, Tensor) else saved[1].to(saved[0], non_blocking=True)

    return saved_tensors_hooks(pack, unpack)
