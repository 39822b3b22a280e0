"""The device that a local model runs on, and the precision of its weights there."""

import warnings

import torch

from longform.records.errors import BadInputError, DeviceWarning
from longform.writers.settings import Device, Precision

_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Names in torch of the bfloat16 instructions of x86 and ARM processors."""


def choose_device(device: Device = "auto") -> str:
    """The device to use: with `auto` the first GPU if there is one, else Apple's, else the processor.

    Other GPUs that this process sees stay unused, with a warning.

    Raises:
        BadInputError: this machine, or this build of torch, lacks the device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    chosen = next(name for name, is_there in available.items() if is_there) if device == "auto" else device
    if not available[chosen]:
        raise BadInputError(
            f"device: {device} is not available to this build of torch on this machine; use auto or cpu"
        )
    if chosen == "cuda" and (visible := torch.cuda.device_count()) > 1:
        warnings.warn(
            f"{visible} GPUs are visible and one is used, the first; CUDA_VISIBLE_DEVICES chooses another, and engine: "
            "cluster uses several",
            DeviceWarning,
            stacklevel=2,
        )
    return chosen


def choose_precision(precision: Precision, device: str) -> torch.dtype:
    """The type of the weights of a model that only generates: with `auto` bfloat16 on a GPU, else float32."""
    if precision == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return getattr(torch, precision)


def fast_precision(device: str) -> str:
    """The precision with the faster matrix products: bfloat16, or float32 on processors without bfloat16 instructions."""
    if device != "cpu":
        return "bfloat16"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if any(capabilities.get(name) for name in _BFLOAT16) else "float32"
