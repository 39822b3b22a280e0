"""`longform judge-model`: trained, examined and served, and what is wrong with its input in one line."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from artifacts import save_policy
from longform.cli import main
from longform.judging.pairwise import ask_pairwise
from longform.miniature.policy import build_tokenizer
from longform.records.files import write_rows
from longform.records.schemas import Pair, PromptRow
from longform.wording import load_wording


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    row = PromptRow(id="p", prompt="Write 0.")
    asked = ask_pairwise(row, text_a="The fox ran.", text_b="The key.", tag="t" * 12, wording=load_wording())
    tokenizer = build_tokenizer(more=[asked])
    torch.manual_seed(0)
    special = tokenizer.get_added_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=special["<|end|>"],
        pad_token_id=special["<|pad|>"],
    )
    folder = tmp_path_factory.mktemp("base")
    save_policy(LlamaForCausalLM(config), tokenizer, folder)
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(base)
    texts = {"response_a": "The fox ran.", "response_b": "The key."}
    labels = ("a", "b")
    rows = [
        Pair.model_validate(
            {"id": f"p{n}", "prompt": f"Write {n}.", "label": labels[n % 2], "reasons": {"ab": "So."}, **texts}
        )
        for n in range(20)
    ]
    write_rows("pairs.jsonl", rows)
    write_rows("bare.jsonl", [it.model_copy(update={"label": None}) for it in rows])
    write_recipe()
    return tmp_path


def write_recipe(**changes):
    content = {
        "base": "base",
        "pairs": ["pairs.jsonl"],
        "held_out": 0.3,
        "out": "judge",
        "sft": {"steps": 2, "batch_size": 2, "max_tokens": 2000},
        "rl": {"steps": 1, "per_step": 2, "group": 2},
        "generation": {"max_tokens": 6, "max_prompt_tokens": 2000},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(content | changes))


def run(*arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        main(["judge-model", "recipe.yaml", *arguments])
    assert (stop.value.code or 0) == code


def failing(capsys, *arguments):
    run(*arguments, code=2)
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def test_it_is_trained_examined_and_says_how_it_is_served(world, capsys):
    run()
    out = capsys.readouterr().out
    for words in ("each in both orders", "no verdict", "Learning curve on the held-out pairs", "vllm serve judge"):
        assert words in out
    examined = json.loads((world / "judge" / "examination.json").read_text())
    assert [it["stage"] for it in examined["curve"]] == ["base", "fine-tuned", "rl"]
    run("--examine", "pairs.jsonl", "--json")
    again = json.loads(capsys.readouterr().out)
    assert again["evaluation pairs"] == 20 and "training pairs" not in again
    assert (world / "judge" / "examination-pairs.json").exists()
    assert "out: judge exists" in failing(capsys)


def test_a_dry_run_says_what_there_is_to_learn_and_writes_nothing(world, capsys):
    run("--dry-run")
    out = capsys.readouterr().out
    assert "training pairs, " in out and "questions with labels" in out
    assert "# memory of the reinforcement learning in GiB, " in out
    assert not (world / "judge").exists() and not (world / "judge.checkpoints").exists()


def test_what_is_wrong_is_one_line(world, capsys):
    assert "no judge model at judge; run without --examine" in failing(capsys, "--examine", "pairs.jsonl")
    assert "training of a judge model to resume" in failing(capsys, "--resume")
    write_recipe(pairs=["bare.jsonl"])
    assert "no pair of bare.jsonl has a label" in failing(capsys, "--dry-run")
    write_recipe(sftt=None)
    assert "sftt" in failing(capsys, "--dry-run")
    write_recipe(generation={"max_tokens": 6, "max_prompt_tokens": 20})
    assert "generation.max_prompt_tokens is 20" in failing(capsys, "--dry-run")
