"""Shapes of models from their configurations alone, against the weights that transformers gives them."""

import json
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from longform.planning.shapes import fetch_shape, find_shape, parameters_in_name, shape_of, with_exact_parameters
from longform.records.errors import BadInputError

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        (LlamaConfig, {}),
        (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
        (MistralConfig, {}),
        (Qwen2Config, {}),
        (Qwen3Config, {}),
    ],
)
def test_weights_are_counted_as_transformers_makes_them(family, settings, tied, tmp_path):
    config = family(**SIZES, **settings, tie_word_embeddings=tied)
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = find_shape(str(tmp_path))
    assert shape is not None
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.head_parameters == (0 if tied else 300 * 48)
    assert (shape.query_width, shape.key_width, shape.key_heads) == (64, 32, 2)
    layer = model.get_decoder().layers[0]
    assert shape.layer_parameters == sum(it.numel() for it in layer.parameters() if it.dim() == 2)
    assert shape.cache_bytes() == 3 * 2 * 32 * 2


def test_a_model_that_is_not_at_hand_has_no_shape(tmp_path, monkeypatch):
    assert find_shape(str(tmp_path)) is None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("nobody/never-loaded", "./not-there-7b", "~/x", "a b/c", "sft"):
        assert find_shape(name) is None


def test_a_configuration_of_an_earlier_load_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--some--writer"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    LlamaConfig(**SIZES).save_pretrained(folder / "snapshots" / "abc")
    found = find_shape("some/writer")
    assert found is not None
    assert found.layers == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "cannot be read as a model's configuration"),
        ("{", "cannot be read as a model's configuration"),
        (json.dumps(SIZES | {"num_attention_heads": 0}), "cannot be read as a model's configuration|cannot plan for"),
        (json.dumps(SIZES | {"hidden_size": "wide"}), "cannot be read as a model's configuration"),
        ('{"model_type": "gpt2"}', "its config.json has no 'num_hidden_layers'"),
    ],
)
def test_a_configuration_that_cannot_be_planned_for_is_one_line(content, message, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInputError, match=message) as error:
        find_shape(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    with pytest.raises(BadInputError, match="not a model folder"):
        fetch_shape(str(tmp_path / "nothing" / "here"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInputError, match=r"nobody/never-loaded: its config\.json cannot be downloaded"):
        fetch_shape("nobody/never-loaded")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7e9),
        ("meta-llama/Llama-3.1-8B", 8e9),
        ("Qwen/Qwen2.5-0.5B", 0.5e9),
        ("some/pythia-160m", 160e6),
        ("runs/7b-80gb/writer", None),
        ("some/writer-24gb", None),
        ("some/writer2b", None),
    ],
)
def test_a_size_is_read_from_a_name(name, parameters):
    assert parameters_in_name(name) == parameters


@pytest.mark.parametrize(
    ("cls", "changes"),
    [
        ("LlamaConfig", {}),
        ("Qwen3MoeConfig", {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "head_dim": 16}),
        ("Gemma2Config", {"head_dim": 16}),
        ("GptOssConfig", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}),
        ("Lfm2Config", {"layer_types": ["conv", "full_attention", "conv"]}),
    ],
)
def test_transformers_counts_the_parameters_of_any_family_exactly(cls, changes, tmp_path):
    config = getattr(transformers, cls)(**SIZES | {"pad_token_id": 0} | changes)
    config.save_pretrained(tmp_path)
    shape = with_exact_parameters(fetch_shape(str(tmp_path)), str(tmp_path))
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(it.numel() for it in model.parameters())


def test_of_a_mixture_all_experts_are_weights_and_those_of_a_token_are_computed():
    dense = shape_of(SIZES | {"intermediate_size": 48})
    mixture = shape_of(SIZES | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48})
    assert mixture.intermediate == 2 * 48
    experts = 7 * 3 * 48 * dense.hidden + 8 * dense.hidden  # seven more of them, and a router
    assert mixture.parameters - dense.parameters == dense.layers * experts


def test_a_hybrid_caches_keys_and_values_in_its_attention_layers():
    hybrid = shape_of(SIZES | {"layer_types": ["linear_attention", "full_attention", "sliding_attention"]})
    assert hybrid.cache_bytes() == shape_of(SIZES).cache_bytes() * 2 / 3
