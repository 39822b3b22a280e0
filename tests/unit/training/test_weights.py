"""Weights that are missing, damaged or another model's are found before a run begins, and never drawn at random."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from toy import save_model
from transformers import AutoModelForCausalLM, LlamaForSequenceClassification, LlamaModel

from longform.records.errors import BadInputError
from longform.training.supervised.reward_model import load_classifier
from longform.writers.loading import check_weights, load_model, load_tokenizer

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("start"))


def _remove(folder):
    (folder / WEIGHTS).unlink()


def _truncate(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-500])


def _truncate_archive(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    check_weights(str(folder))
    (folder / "pytorch_model.bin").write_bytes((folder / "pytorch_model.bin").read_bytes()[:-500])


def _leave_pointer(folder):
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def _lose_part(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    next(iter(sorted(folder.glob("model-00002-*")))).unlink()


def _rename_weights(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({f"module.{name}": it for name, it in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})


def _save_classifier(folder):
    LlamaForSequenceClassification.from_pretrained(folder, num_labels=1).save_pretrained(folder)


def _tie_classifier(folder):
    """Tied embeddings are a head for a language model, so none of its weights is missing."""
    LlamaForSequenceClassification.from_pretrained(folder, num_labels=1, tie_word_embeddings=True).save_pretrained(
        folder
    )


def _save_backbone(folder):
    LlamaModel.from_pretrained(folder, tie_word_embeddings=True).save_pretrained(folder)


def _truncate_generation_config(folder):
    file = folder / "generation_config.json"
    file.write_text(file.read_text()[:-3])


def _name_end_token(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": "</s>"}')


def _name_unknown_type(folder):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"dtype": "float13"}))


def _add_tokens(folder):
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_tokens(["new", "newer"])
    tokenizer.save_pretrained(folder)


def _quantize(folder):
    content = json.loads((folder / "config.json").read_text())
    content["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove, "it has no weight files .* download the model again"),
        (_truncate, "model.safetensors is damaged or incomplete .* download it again"),
        (_truncate_archive, "pytorch_model.bin is damaged or incomplete; download it again"),
        (_leave_pointer, "model.safetensors is a Git LFS pointer"),
        (_lose_part, r"model-00002-of-\d+.safetensors is missing, one of \d+ shards"),
        (_rename_weights, r"its files lack \d+ of the weights .*, such as lm_head.weight"),
        (_add_tokens, "its tokenizer has ids up to 9, but its embeddings have 8 rows"),
        (_save_classifier, r"is a classifier or reward model \(LlamaForSequenceClassification"),
        (_tie_classifier, r"is a classifier or reward model \(LlamaForSequenceClassification"),
        (_save_backbone, r"is an embedding model or lacks its output head \(LlamaModel\)"),
        (_truncate_generation_config, r"generation_config\.json: damaged .* download it again, or remove it"),
        (_name_end_token, r"generation_config\.json: eos_token_id: '</s>' is neither a token id nor a list"),
        (_name_unknown_type, r"its config\.json cannot be read"),
    ],
)
def test_weights_that_are_missing_or_damaged_are_refused_by_headers_alone_and_when_loaded(
    start, tmp_path, damage, message
):
    folder = shutil.copytree(start, tmp_path / "m")
    check_weights(str(folder))
    damage(folder)
    for read in (check_weights, lambda path: load_model(path, device="cpu")):
        with pytest.raises(BadInputError, match=message) as it:
            read(str(folder))
        assert "\n" not in str(it.value)


def test_a_plan_for_another_machine_needs_no_weights_and_a_reward_model_no_head(start, tmp_path):
    folder = shutil.copytree(start, tmp_path / "m")
    _save_classifier(folder)
    check_weights(str(folder), has_head=False)
    load_classifier(str(folder), seed=0)
    _rename_weights(folder)
    with pytest.raises(BadInputError, match="its files lack"):
        load_classifier(str(folder), seed=0)
    _remove(folder)
    check_weights(str(folder), may_be_elsewhere=True)


def test_quantized_weights_are_refused_for_training(start, tmp_path):
    folder = shutil.copytree(start, tmp_path / "m")
    _quantize(folder)
    with pytest.raises(BadInputError, match=r"its weights are quantized \(gptq\)"):
        check_weights(str(folder))


def test_adapters_of_other_names_or_without_their_base_are_refused_and_use_the_tokenizer_of_the_base(start, tmp_path):
    base, adapters = shutil.copytree(start, tmp_path / "base"), tmp_path / "adapters"
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(adapters)
    assert load_tokenizer(str(adapters)).get_vocab() == load_tokenizer(str(base)).get_vocab()
    check_weights(str(adapters))
    file = adapters / "adapter_model.safetensors"
    save_file({f"other.{name}": it for name, it in load_file(file).items()}, file, metadata={"format": "pt"})
    for read in (check_weights, lambda path: load_model(path, device="cpu")):
        with pytest.raises(BadInputError, match=r"its adapter weights do not match its adapter_config\.json"):
            read(str(adapters))
    file.unlink()
    with pytest.raises(BadInputError, match="has no weights of its adapters"):
        check_weights(str(adapters))
    base.rename(tmp_path / "moved")
    with pytest.raises(BadInputError, match=r"the base model of its adapters is not at .*/base; put it there"):
        load_tokenizer(str(adapters))
