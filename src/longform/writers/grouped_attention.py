"""Attention of one new token over cached keys and values, where several query heads share a key head.

With a mask, transformers repeats keys and values once for each query head of a group before it multiplies, for every layer
and token. Here the query heads of a group become rows of one query instead, so nothing is copied.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "longform_grouped"
_REPLACED = "sdpa"


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of one query token per row; other cases are passed on to transformers' `sdpa`.

    Shapes: query [R, heads, 1, width], key and value [R, key heads, T, width], mask [R, 1, 1, T].

    Returns:
        [R, 1, heads, width], and None in place of attention weights.
    """
    rows, heads, length, width = query.shape
    key_heads = key.shape[1]
    is_shared = attention_mask is None or attention_mask.shape[1] == 1
    if length != 1 or heads == key_heads or not is_shared:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    grouped = query.reshape(rows, key_heads, heads // key_heads, width)
    output = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return output.reshape(rows, 1, heads, value.shape[-1]), None


@contextmanager
def grouping(model: Any) -> Iterator[None]:
    """A context in which a model that uses transformers' `sdpa` uses this instead.

    Models that do not look their attention up by name (Falcon) stay as they are.
    """
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation != _REPLACED or not model._supports_attention_backend:
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = _REPLACED


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
