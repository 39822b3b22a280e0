"""Attention over shared keys without copies of them: the same numbers, only where a model looks its attention up by name."""

from typing import Any

import pytest
import torch
from transformers import FalconConfig, FalconForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from longform.writers.decoding import invert_cumulative
from longform.writers.grouped_attention import NAME, grouped_attention, grouping


class Module(torch.nn.Module):
    """What transformers passes along."""

    num_key_value_groups = 3
    is_causal = True


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("is_masked", [False, True])
def test_the_numbers_are_those_of_transformers(length, is_masked):
    torch.manual_seed(0)
    query, key, value = (torch.randn(5, heads, n, 8) for heads, n in ((6, length), (2, 7), (2, 7)))
    mask = None
    if is_masked:
        mask = torch.rand(5, 1, length, 7) < 0.7
        mask[..., 0] = True
    expected = sdpa_attention_forward(Module(), query, key, value, mask, scaling=0.3)[0]
    torch.testing.assert_close(grouped_attention(Module(), query, key, value, mask, scaling=0.3)[0], expected)


def test_a_model_uses_it_within_the_context_alone():
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    llama = LlamaForCausalLM(LlamaConfig(intermediate_size=16, **sizes))
    with grouping(llama):
        assert llama.config._attn_implementation == NAME
    assert llama.config._attn_implementation == "sdpa"
    falcon = FalconForCausalLM(FalconConfig(**sizes))
    before = falcon.config._attn_implementation
    with grouping(falcon):
        assert falcon.config._attn_implementation == before


def test_a_token_is_where_the_cumulative_weight_passes_the_share():
    torch.manual_seed(0)
    for vocabulary in (3, 256, 1000):
        weights = torch.rand(400, vocabulary) * (torch.rand(400, vocabulary) < 0.5)
        weights[:, 1] += 0.1
        shares = torch.rand(400, dtype=torch.float64)
        shares[:3] = torch.tensor([0.0, 1 - 1e-12, 1.0])
        chosen = invert_cumulative(weights, shares)
        exact = weights.double().cumsum(1)
        before = torch.where(chosen > 0, exact.gather(1, (chosen - 1).clamp(min=0)[:, None])[:, 0], 0.0)
        target, slack = shares * exact[:, -1], 1e-9
        assert (before <= target + slack).all()
        assert (exact.gather(1, chosen[:, None])[:, 0] >= target - slack).all()
        assert (weights.gather(1, chosen[:, None]) > 0).all(), "a token without weight is never drawn"
