"""Weights in 4 bits, by bitsandbytes, for models that are frozen below adapters (QLoRA, arXiv 2305.14314)."""

from importlib.util import find_spec
from typing import Any, Literal

import torch

from longform.records.errors import BadInputError

Quantization = Literal["nf4"]
"""NormalFloat. Eight bits (LLM.int8) are left out: there a text's probabilities depend on the others in its batch."""

DEQUANTIZED = ("mxfp4", "fp8")
"""Quantization methods whose weights transformers can dequantize when it loads them (gpt-oss, DeepSeek V3)."""


def quantization_method(config: Any) -> str | None:
    """Method by which a model's files are quantized, such as gptq, according to its configuration; None if they are not."""
    content = getattr(config, "quantization_config", None)
    if not content:
        return None
    method = content.get("quant_method") if isinstance(content, dict) else content.quant_method
    return str(getattr(method, "value", method) or "unknown")


def quantization_config(kind: Quantization, *, compute: torch.dtype) -> Any:
    """Configuration with which transformers quantizes weights as it loads them; with double quantization, as in the paper.

    Args:
        kind: Number format of the weights.
        compute: Type of matrix products.

    Raises:
        BadInputError: bitsandbytes is not installed.
    """
    require_bitsandbytes("memory.quantize")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def require_bitsandbytes(key: str) -> None:
    """Check that bitsandbytes is installed.

    Raises:
        BadInputError: it is not; the error names the recipe key that needs it.
    """
    if find_spec("bitsandbytes") is None:
        raise BadInputError(f"{key}: needs bitsandbytes; pip install 'longform[low-bits]'")
