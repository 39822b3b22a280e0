"""A model proves itself before it writes or trains: each known defect is one line, or is repaired as the model is loaded."""

import json
from typing import Any

import pytest
import torch
from families import LONG_ROPE, build_family
from toy import WORDS, build_tokenizer, save_model
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM

from longform.records.errors import BadInputError
from longform.training.models import learning_mode, prepare_learning
from longform.training.self_check import check_architecture, check_training_forward
from longform.writers import self_check
from longform.writers.loading import load_model
from longform.writers.rope import settle_rope
from longform.writers.self_check import check_context, check_generation, check_saving, check_stops, check_switches
from longform.writers.settings import GenerationSettings
from longform.writers.small_model import SWITCH, small_model, switch_positions

SETTINGS = GenerationSettings(max_tokens=40)


def _llama(**settings):
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=64, initializer_range=0.3, pad_token_id=0, **sizes | settings)
    return LlamaForCausalLM(config).eval()


# Saving.


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ({"temperature": 0.6, "top_p": 0.9, "eos_token_id": 0}, {"temperature": 0.6, "top_p": 0.9, "do_sample": True}),
        ({"num_beams": 1, "early_stopping": True, "temperature": 0.5, "eos_token_id": 0}, {"temperature": None}),
        ({"do_sample": True, "temperature": 0.7, "eos_token_id": 0}, {"temperature": 0.7}),
    ],
    ids=["sampling without do_sample", "beams without beams", "valid"],
)
def test_a_generation_config_that_cannot_be_saved_is_repaired_as_it_is_loaded(tmp_path, stored, kept):
    save_model(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps(stored))
    tokenizer, model = load_model(str(tmp_path), device="cpu")
    check_saving(model, tokenizer, path="m")
    model.save_pretrained(tmp_path / "saved")
    saved = GenerationConfig.from_pretrained(tmp_path / "saved")
    assert saved.eos_token_id == 0
    assert {name: getattr(saved, name) for name in kept} == kept


def test_weights_that_are_shared_without_saying_so_are_found_without_writing_any(tmp_path):
    model: Any = _llama()
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    with pytest.raises(BadInputError, match=r"^m: can be loaded, but transformers refuses to save it: .*shared"):
        check_saving(model, build_tokenizer(), path="m")


def test_a_tokenizer_that_cannot_be_saved_is_found():
    class Broken:
        def save_pretrained(self, folder):
            raise ValueError("no vocabulary file")

    with pytest.raises(
        BadInputError, match="m: can be loaded, but transformers refuses to save it: no vocabulary file"
    ):
        check_saving(_llama(), Broken(), path="m")


def test_a_tokenizer_larger_than_the_embeddings_is_refused_in_one_line(tmp_path):
    save_model(tmp_path)
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["extra", "more"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        BadInputError, match=r"its tokenizer has ids up to 9, but its embeddings have 8 rows; use the tokenizer"
    ):
        load_model(str(tmp_path), device="cpu")


# Length.


def test_prompt_and_response_have_to_fit_the_context():
    config = LlamaConfig(max_position_embeddings=100)
    check_context(config, path="m", settings=GenerationSettings(max_tokens=60), longest_prompt=40)
    with pytest.raises(BadInputError, match=r"do not fit into its context of 100 tokens; set .* to at most 59"):
        check_context(config, path="m", settings=GenerationSettings(max_tokens=60), longest_prompt=41)
    with pytest.raises(BadInputError, match=r"context of 100 tokens; use shorter prompts"):
        check_context(config, path="m", settings=GenerationSettings(max_tokens=60), longest_prompt=100)


def test_a_policy_whose_responses_never_end_is_refused_unless_a_string_or_tag_ends_them(tmp_path):
    save_model(tmp_path)
    tokenizer = build_tokenizer()
    tokenizer.eos_token = None
    check_stops(tokenizer, path=str(tmp_path), settings=SETTINGS)  # the generation config has one
    for name in ("config.json", "generation_config.json"):
        content = json.loads((tmp_path / name).read_text()) | {"eos_token_id": None}
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(BadInputError, match=r"neither its tokenizer nor .* has an end token.* or set generation\.stop"):
        check_stops(tokenizer, path=str(tmp_path), settings=SETTINGS)
    for ends in ({"stop": ["bad"]}, {"think": "on"}):
        check_stops(tokenizer, path=str(tmp_path), settings=SETTINGS.model_copy(update=ends))


def test_rope_that_depends_on_length_is_refused_only_where_a_text_can_pass_the_switch():
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    config = LlamaConfig(max_position_embeddings=4096, rope_parameters=rope)
    check_switches(config, path="m", settings=GenerationSettings(max_tokens=4000), longest_prompt=96)
    with pytest.raises(BadInputError, match=r"past dynamic RoPE at token 4096 .*nats.*max_tokens at most 3996\)"):
        check_switches(config, path="m", settings=GenerationSettings(max_tokens=4000), longest_prompt=100)


def test_longrope_uses_its_long_frequencies_throughout_where_a_text_can_pass_the_switch():
    model = build_family("Phi-3.5", vocabulary=64)
    ids = torch.arange(3, 13)[None]
    short = model(input_ids=ids).logits
    settle_rope(model, longest=24)
    assert torch.equal(model(input_ids=ids).logits, short), "no text passes the switch"
    check_switches(model.config, path="m", settings=GenerationSettings(max_tokens=100), longest_prompt=5)
    settle_rope(model, longest=25)
    assert not torch.allclose(model(input_ids=ids).logits, short, atol=1e-3)
    assert (
        model.config.rope_parameters["original_max_position_embeddings"]
        == LONG_ROPE["original_max_position_embeddings"]
    )


def test_a_small_model_crosses_the_switches_of_its_configuration_and_a_missing_remedy_shows(monkeypatch):
    config = build_family("Phi-3.5", vocabulary=64).config
    assert switch_positions(config) == {"longrope": 24}
    assert switch_positions(small_model(config, longest=24).config) == {"longrope": 24}
    assert switch_positions(small_model(config, longest=25).config) == {"longrope": SWITCH}
    monkeypatch.setattr(self_check, "settle_rope", lambda model, longest: None)
    with pytest.raises(BadInputError, match="past longrope at token 24"):
        check_switches(config, path="m", settings=GenerationSettings(max_tokens=100), longest_prompt=5)


# Generation and training.


def test_a_state_outside_of_the_cache_is_found():
    """RecurrentGemma keeps a state in its layers, which no cache holds."""
    from transformers import RecurrentGemmaConfig

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    config = RecurrentGemmaConfig(vocab_size=64, lru_width=32, attention_window_size=512, pad_token_id=0, **sizes)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    with pytest.raises(
        BadInputError, match=r"m: log-probabilities at generation and of a plain forward pass disagree by"
    ):
        check_generation(model, path="m", settings=SETTINGS)


def test_an_architecture_that_the_loop_cannot_run_is_one_line():
    from transformers import Mamba2Config

    config = Mamba2Config(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=8, head_dim=8, n_groups=1
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(BadInputError, match=r"^m: generation fails for this architecture \(Mamba2ForCausalLM\)"):
        check_generation(model, path="m", settings=SETTINGS)


def test_weights_that_are_not_finite_are_found():
    model = _llama()
    with torch.no_grad():
        model.lm_head.weight[5] = float("nan")
    with pytest.raises(BadInputError, match="m: log-probabilities at generation"):
        check_generation(model, path="m", settings=SETTINGS)


def test_dropout_that_stays_on_in_training_is_found():
    """Falcon's layers apply the configuration's dropout as a function, where they are checkpointed."""
    from transformers import FalconConfig

    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = FalconConfig(vocab_size=64, hidden_dropout=0.3, attention_dropout=0.3, **sizes)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    rows = check_generation(model, path="m", settings=SETTINGS)
    prepare_learning([model], gradient_checkpointing=False)
    with learning_mode([model]):
        check_training_forward(model, rows, path="m", temperature=1.0)
    prepare_learning([model], gradient_checkpointing=True)
    with learning_mode([model]), pytest.raises(BadInputError, match=r"two training passes .* disagree by .*dropout"):
        check_training_forward(model, rows, path="m", temperature=1.0)


def test_a_head_that_training_does_not_know_is_found():
    model = _llama()
    rows = check_generation(model, path="m", settings=SETTINGS)
    model.config.logits_scaling = 2.0  # Llama's own forward pass ignores it
    with pytest.raises(BadInputError, match=r"log-probabilities in training and at generation disagree .*output head"):
        check_training_forward(model, rows, path="m", temperature=1.0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_rounding_is_no_alarm(precision):
    model = _llama().to(precision)
    rows = check_generation(model, path="m", settings=SETTINGS)
    check_training_forward(model, rows, path="m", temperature=1.0)


def test_a_dry_run_checks_the_architecture_without_the_weights(tmp_path):
    save_model(tmp_path, initializer_range=0.3)
    (tmp_path / "model.safetensors").unlink()
    found = check_architecture(str(tmp_path), settings=SETTINGS, longest_prompt=5)
    assert found == "generation and training agree on a small random model of its architecture"
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": len(WORDS) - 1}))
    with pytest.raises(BadInputError, match="its tokenizer has ids up to 7, but its embeddings have 7 rows"):
        check_architecture(str(tmp_path), settings=SETTINGS, longest_prompt=5)
