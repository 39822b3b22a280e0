"""Products with packed weights are those of the model's own layers."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config

from longform.writers import packed_weights as packing
from longform.writers.decoding import decode_in_batches
from longform.writers.packed_weights import packed_weights
from longform.writers.self_check import uncached_log_probs
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
can_pack = pytest.mark.skipif(
    not packing._can_be_packed(torch.zeros(2, 2), 1), reason="weights are packed on x86 processors alone"
)


def llama(**options):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, **options)).eval()


def with_biases():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Qwen2Config(**SIZES)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return model


def with_adapters():
    model = get_peft_model(llama(), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    return model.eval()


MODELS = {
    "tied head": lambda: llama(tie_word_embeddings=True),
    "head of its own": llama,
    "biases": with_biases,
    "adapters": with_adapters,
}


def logits_of(model, *, rows=3):
    ids = torch.randint(SIZES["vocab_size"], (rows, 7), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=ids).logits


def layers_of(model):
    return [it for it in model.modules() if type(it) is nn.Linear]


@can_pack
def test_products_are_those_of_the_model():
    for name, build in MODELS.items():
        model = build()
        own = logits_of(model)
        with packed_weights(model, min_weights=1):
            assert all("forward" in vars(layer) for layer in layers_of(model)), name
            packed = logits_of(model)
        assert not torch.equal(own, torch.zeros_like(own))
        torch.testing.assert_close(packed, own, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.skipif(
    not packing._can_be_packed(torch.zeros(2, 2, dtype=torch.bfloat16), 1),
    reason="no products of packed bfloat16 weights",
)
def test_under_autocast_products_have_its_precision():
    model = llama()
    with torch.autocast("cpu", torch.bfloat16):
        own = logits_of(model)
        with packed_weights(model, min_weights=1):
            packed = logits_of(model)
    assert packed.dtype == own.dtype == torch.bfloat16
    torch.testing.assert_close(packed, own, atol=0.03, rtol=0.03)


@can_pack
def test_afterwards_the_model_has_its_own_layers_and_weights_that_changed_count():
    model: Any = llama()
    with pytest.raises(RuntimeError, match="interrupted"), packed_weights(model, min_weights=1):
        raise RuntimeError("interrupted")
    assert not any("forward" in vars(layer) for layer in layers_of(model))
    with packed_weights(model, min_weights=1):
        before = logits_of(model)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
    after = logits_of(model)
    with packed_weights(model, min_weights=1):
        torch.testing.assert_close(logits_of(model), after, atol=1e-5, rtol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_small_layers_and_models_beyond_the_limit_stay_as_they_are(monkeypatch):
    model = llama()
    with packed_weights(model):
        assert not any("forward" in vars(layer) for layer in layers_of(model))
    monkeypatch.setattr(packing, "MAX_PACKED_BYTES", 4 * sum(it.weight.numel() for it in layers_of(model)) - 1)
    with packed_weights(model, min_weights=1):
        assert not any("forward" in vars(layer) for layer in layers_of(model))


@can_pack
def test_responses_have_the_log_probabilities_of_an_uncached_forward_pass(monkeypatch):
    monkeypatch.setattr(packing, "MIN_WEIGHTS", 1)
    model, calls = llama(), []
    multiply = packing._multiply
    monkeypatch.setattr(packing, "_multiply", lambda *states, **of: calls.append(1) or multiply(*states, **of))
    prompts = [[1, 2, 3], [4, 5], [1, 2, 3]]
    settings = GenerationSettings(max_tokens=9, temperature=0.7, batch=2)
    written = decode_in_batches(
        model, prompts, seed=1, step=1, stops=Stops(frozenset({7}), read=str), settings=settings
    )
    for prompt, it in zip(prompts, written, strict=True):
        expected = uncached_log_probs(model, prompt, it.tokens, temperature=0.7)
        torch.testing.assert_close(it.log_probs, expected, atol=1e-5, rtol=1e-5)
    assert calls
