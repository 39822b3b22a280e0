"""What a supervised stage checks before it trains: context, memory, saving, and no code that nobody trusts."""

import json
from contextlib import suppress
from typing import Any

import pytest
from toy import build_tokenizer, save_model
from transformers import BertConfig, BertLMHeadModel

from longform.cli import main
from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Preference
from longform.training.supervised import models, pretrain_run, reward_model, reward_model_recipe, sft_run
from longform.training.supervised.pretrain_recipe import PretrainRecipe
from longform.training.supervised.pretrain_run import run_pretraining
from longform.training.supervised.resumable import resumable
from longform.training.supervised.reward_model import load_classifier
from longform.training.supervised.reward_model_recipe import RewardModelRecipe, run_reward_model
from longform.training.supervised.sft_recipe import SftRecipe
from longform.training.supervised.sft_run import run_sft

MODEL_KEY = {SftRecipe: "policy", PretrainRecipe: "policy", RewardModelRecipe: "base"}
RUN = {SftRecipe: run_sft, PretrainRecipe: run_pretraining, RewardModelRecipe: run_reward_model}
STAGES = pytest.mark.parametrize("schema", list(RUN), ids=lambda it: it.__name__)
CONTEXT = 48


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "start", max_position_embeddings=CONTEXT)
    text = "good bad " * 40
    (tmp_path / "texts.jsonl").write_text(8 * (json.dumps({"text": text}) + "\n"))
    pairs = [Preference(prompt=f"write {'so ' * i}", chosen=text, rejected=text[4:]) for i in range(1, 9)]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    return tmp_path


def _recipe(schema, folder, *, max_tokens=32, **changes):
    settings = {"batch_size": 2, "max_tokens": max_tokens, **({} if schema is PretrainRecipe else {"steps": 1})}
    data = {
        SftRecipe: {"data": {"rows": [folder / "texts.jsonl"]}},
        PretrainRecipe: {
            "sources": [{"name": "texts", "path": str(folder / "texts.jsonl"), "share": 1}],
            "tokens": 2 * max_tokens,
        },
        RewardModelRecipe: {"preferences": [folder / "pairs.jsonl"], "held_out": 0.5},
    }[schema]
    content = {MODEL_KEY[schema]: str(folder / "start"), "out": folder / "out", "settings": settings}
    return schema.model_validate(content | data | changes)


def _no_model(monkeypatch):
    for module, name in (
        (sft_run, "load_trainable"),
        (pretrain_run, "load_trainable"),
        (reward_model, "load_classifier"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a model was loaded"))


@STAGES
def test_rows_longer_than_the_context_are_refused_before_a_model_is_loaded(schema, folder, monkeypatch):
    _no_model(monkeypatch)
    with pytest.raises(BadInputError, match=rf"settings\.max_tokens: 64 is more than the context of .*\({CONTEXT} tok"):
        RUN[schema](_recipe(schema, folder, max_tokens=64))


def test_what_counts_is_the_longest_row_and_not_the_limit(folder):
    (folder / "texts.jsonl").write_text(8 * (json.dumps({"text": "good bad"}) + "\n"))
    run_sft(_recipe(SftRecipe, folder, max_tokens=4096))
    assert (folder / "out/model.safetensors").exists()


@pytest.mark.parametrize("schema", [SftRecipe, PretrainRecipe])
def test_an_encoder_is_refused_before_it_is_loaded(schema, folder, monkeypatch):
    _no_model(monkeypatch)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = BertConfig(vocab_size=len(build_tokenizer()), max_position_embeddings=CONTEXT, **sizes)
    BertLMHeadModel(config).save_pretrained(folder / "start")
    with pytest.raises(BadInputError, match=r"start: its tokens see those after them \(bert is an encoder\)"):
        RUN[schema](_recipe(schema, folder))
    assert not (folder / "out").exists()


@STAGES
def test_what_does_not_fit_into_memory_is_refused_before_a_model_is_loaded(schema, folder, monkeypatch):
    tight = _recipe(schema, folder, memory={"limit_gb": 0.1})
    with monkeypatch.context() as patched:
        _no_model(patched)
        with pytest.raises(BadInputError, match=r"needs up to .* GiB on each device, and memory\.limit_gb is 0\.10"):
            RUN[schema](tight)
    RUN[schema](tight, self_check=False)
    assert (folder / "out/model.safetensors").exists()


@STAGES
def test_a_model_that_cannot_be_saved_is_refused_before_it_trains(schema, folder, monkeypatch):
    def refuse(model, tokenizer, *, path):
        raise BadInputError(f"{path}: can be loaded, but not saved")

    for module in (models, reward_model):
        monkeypatch.setattr(module, "check_saving", refuse)
    with pytest.raises(BadInputError, match="can be loaded, but not saved"):
        RUN[schema](_recipe(schema, folder), on_training=_fails) if schema is PretrainRecipe else RUN[schema](
            _recipe(schema, folder), on_progress=_fails
        )
    assert not (folder / "out").exists()


def _fails(*_):
    pytest.fail("it trained")


def test_a_reward_model_with_another_tokenizer_is_refused(folder):
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["extra", "more"])
    tokenizer.save_pretrained(folder / "start")
    with pytest.raises(BadInputError, match=r"its tokenizer has ids up to 9, but its embeddings have 8 rows"):
        load_classifier(str(folder / "start"), seed=0)


@STAGES
def test_code_of_a_model_runs_only_where_the_recipe_trusts_it(schema, folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on standard input"))
    start, mark = folder / "start", folder / "executed"
    (start / "code.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n")
    for file, changes in (
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config"}}),
        ("tokenizer_config.json", {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["code.Model", None]}}),
    ):
        (start / file).write_text(json.dumps(json.loads((start / file).read_text()) | changes))
    with pytest.raises(BadInputError, match=r"needs code .*which is not run by default; .*trust_remote_code: true"):
        RUN[schema](_recipe(schema, folder))
    assert not mark.exists()
    with pytest.raises(BadInputError):
        RUN[schema](_recipe(schema, folder, trust_remote_code=True))  # the class is no model; its module was run
    assert mark.exists()


@STAGES
def test_a_dry_run_refuses_an_interrupted_stage_as_the_run_does(schema, folder, capsys):
    command, module = {
        SftRecipe: ("sft", sft_run),
        PretrainRecipe: ("pretrain", pretrain_run),
        RewardModelRecipe: ("reward-model", reward_model_recipe),
    }[schema]
    recipe = _recipe(schema, folder)
    (folder / "stage.yaml").write_text(dump_recipe(recipe))

    def check(*flags):
        with pytest.raises(SystemExit) as ended:
            main([command, str(folder / "stage.yaml"), "--dry-run", *flags])
        return ended.value.code or 0, capsys.readouterr().err

    code, error = check("--resume")
    assert (code, f"no {module.NAME} to resume" in error) == (2, True)
    with suppress(KeyboardInterrupt), resumable(recipe, module.input_files(recipe), name=module.NAME):
        raise KeyboardInterrupt
    code, error = check()
    assert (code, f"contains an interrupted {module.NAME}; continue with --resume" in error) == (2, True)
    code, error = check("--resume", "--set", "settings.lr=0.1")
    assert (code, "was begun with settings.lr" in error) == (2, True)
    assert check("--resume") == (0, "")


def test_the_command_skips_the_checks_on_request(folder, capsys):
    content = _recipe(SftRecipe, folder, memory={"limit_gb": 0.1}).model_dump(mode="json")
    (folder / "sft.yaml").write_text(json.dumps(content))
    for flags, code in (([], 2), (["--skip-self-check"], 0)):
        with pytest.raises(SystemExit) as ended:
            main(["sft", str(folder / "sft.yaml"), "--dry-run", *flags])
        assert ended.value.code == code
    captured = capsys.readouterr()
    assert "memory.limit_gb is 0.10" in captured.err
    assert "# OK: 8 training texts" in captured.out
