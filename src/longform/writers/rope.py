"""LongRoPE (Phi-3.5, Phi-4-mini) has two sets of frequencies, for texts within and beyond the original context.

Keys that are cached before a text exceeds that length use the first set, but a forward pass over the whole text uses the
second set for all of them. Generation and training would then compute different log-probabilities. A model whose texts may
exceed the length therefore uses the second set throughout, as vLLM does.
"""

from typing import Any

from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def settle_rope(model: PreTrainedModel, *, longest: int) -> None:
    """Let a model with LongRoPE use its long frequencies throughout, if prompt and response may reach `longest` tokens
    beyond its original context. Other models, and what is saved, stay as they are.
    """
    for module in model.modules():
        if getattr(module, "rope_type", None) != "longrope":
            continue
        rotary: Any = module
        original = int(rotary.config.rope_parameters["original_max_position_embeddings"])
        if longest > original:
            frequencies, _ = ROPE_INIT_FUNCTIONS["longrope"](
                rotary.config, rotary.inv_freq.device, seq_len=original + 1
            )
            rotary.inv_freq = rotary.original_inv_freq = frequencies
