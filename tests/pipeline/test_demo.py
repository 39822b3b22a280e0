"""The demonstration on a model of a few thousand weights: every stage once, and a kill in the middle of part one."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from longform.demo.prompts import load_prompts
from longform.miniature.taught import save_taught_model
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.files import read_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Response

pytestmark = pytest.mark.slow
WORDS = ["I", "you", "the", "cat", "dog", "sea", "moon", "letter", "music", "found", "saw", "liked", "a", "old", "and"]
WORDS += [".", "?", ","]
VOCABULARY = ["[end]", "[unk]", "<|im_start|>", "<|im_end|>", "assistant", "<answer>", "</answer>", *WORDS]
TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message.role }} {{ message.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
STEPS = 6
QUICKSTART = ["quickstart", "--real", "chat"]


def _draw_text(draw: random.Random) -> list[int]:
    """A request that is mostly of unknown words, and an answer, most often in its tags."""
    start, end, assistant, opening, closing = range(2, 7)
    words = [VOCABULARY.index(draw.choice(WORDS)) for _ in range(draw.randint(8, 24))]
    asked = [start, *(1 if draw.random() < 0.8 else draw.choice(words) for _ in range(draw.randint(5, 20))), end]
    answer = [opening, *words, closing] if draw.random() < 0.8 else words
    return [*asked, start, assistant, *answer, 0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, forks) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    folder = tmp_path_factory.mktemp("demo")
    split = pre_tokenizers.WhitespaceSplit()
    save_taught_model(
        folder / "chat", VOCABULARY, _draw_text, split=split, steps=250, unknown="[unk]", hidden=32, layers=1
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / "chat")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "chat")
    return folder, forks.run(folder, [*QUICKSTART, "--smoke", "--out", "out"])


def test_the_smoke_demonstration_goes_through_every_stage(demo):
    folder, done = demo
    assert "inside the range" in done.stdout
    assert "this does not show" in done.stdout
    figures = json.loads((folder / "out" / "evidence.json").read_text())
    assert set(figures["writers"]) == {"before", "between", "after"}
    for measured in figures["writers"].values():
        assert set(measured["ranges"]) == {"20 to 40", "35 to 60", "50 to 80", "70 to 110", "100 to 160"}
    for estimate, low, high in figures["changes"]["after"].values():
        assert low <= estimate <= high
    for name in ("before", "between", "after"):
        assert len(list(read_rows(folder / "out" / f"held-out-{name}.jsonl", Response))) == 10
    assert {"seconds", "peak_memory_gib", "tokens_per_second"} <= figures.keys()


def test_part_two_learns_from_the_judge_behind_its_address(demo):
    folder = demo[0] / "out"
    ladders = [it for path in folder.glob("ladders-*.jsonl") for it in read_rows(path, Ladder)]
    assert len(ladders) == 10
    held_out = {it.id for it in load_prompts("held-out")}
    assert not held_out & {it.id for it in ladders}
    assert {reference.model for it in ladders for reference in it.references} <= {"start", "own", "cool"}
    with RunDirectory.read(folder / "ladder") as run:
        assert {it.outcome for it in run.database.rollouts()} <= {"win", "tie", "loss"}
        assert run.database.last_step() == 2


def test_a_folder_that_is_not_empty_is_refused_and_so_is_another_method(demo, forks):
    folder = demo[0]
    again = forks.run(folder, [*QUICKSTART, "--smoke", "--out", "out"], code=2)
    assert again.stderr == "longform: --out out: is not empty; --resume continues\n"
    other = forks.run(folder, [*QUICKSTART, "--method", "longwriter-zero"], code=2)
    assert other.stderr.startswith("longform: --real: runs both methods in turn")
    for flags in (["--embeddings", "chat"], ["--resume"]):
        alone = forks.run(folder, ["quickstart", *flags], code=2)
        assert alone.stderr == f"longform: {flags[0]}: only valid with --real\n"
    nothing = forks.run(folder, [*QUICKSTART, "--resume", "--out", "never"], code=2)
    assert nothing.stderr == "longform: --resume: needs --out, the folder of a demonstration that was stopped\n"


def test_a_demonstration_stopped_in_part_one_is_resumed_to_the_same_texts(demo, forks):
    folder, whole = demo[0] / "out", demo[0] / "whole"
    shutil.copytree(folder, whole)
    # As a kill in the second step of part one leaves the folder.
    shutil.rmtree(folder / "ladder")
    shutil.rmtree(folder / "length" / "checkpoints" / "step-000002")
    written = ("held-out-between", "held-out-after", "references", "grades", "ladders", "evidence")
    for left in [it for it in folder.iterdir() if it.name.startswith(written)]:
        left.unlink()
    forks.run(demo[0], [*QUICKSTART, "--smoke", "--out", "out", "--resume"])
    for name in ("held-out-between.jsonl", "held-out-after.jsonl", "ladders-20-to-40.jsonl"):
        assert (folder / name).read_text() == (whole / name).read_text(), name


def test_a_model_without_chat_turns_is_refused_before_anything_is_written_for_it(demo, forks):
    folder = demo[0]
    tokenizer = AutoTokenizer.from_pretrained(folder / "chat")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder / "base")
    (folder / "base" / "config.json").write_bytes((folder / "chat" / "config.json").read_bytes())
    refused = forks.run(folder, ["quickstart", "--real", "base", "--out", "other"], code=2)
    assert refused.stderr.startswith("longform: --real base: needs a chat model")


@pytest.mark.full  # tests/pipeline/test_kills.py kills a run in every checkpoint
def test_a_killed_part_one_resumes_to_the_same_weights(demo, forks):
    folder = demo[0]
    recipe = folder / "out" / "length.yaml"
    assert load_recipe(recipe, Recipe).run.steps == 2
    settings = ["--set", f"run.steps={STEPS}"]
    forks.run(folder, ["train", str(recipe)], *settings, "--set", "run.name=whole")

    killed = ["train", str(recipe), *settings, "--set", "run.name=killed"]
    pid = forks.start(folder, killed)
    checkpoints = folder / "out" / "killed" / "checkpoints"
    deadline = time.monotonic() + 120
    while not (checkpoints / "step-000002").is_dir():
        assert time.monotonic() < deadline
        assert not forks.has_ended(), "the run ended before it was killed"
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    assert forks.wait().returncode == -signal.SIGKILL
    assert not (checkpoints / f"step-{STEPS:06d}").exists()
    forks.run(folder, killed, "--resume")

    weights = f"step-{STEPS:06d}/policy/adapter_model.safetensors"
    whole = folder / "out" / "whole" / "checkpoints" / weights
    assert (checkpoints / weights).read_bytes() == whole.read_bytes()
    learned = [it for name, it in load_file(whole).items() if "lora_B" in name]  # these begin as zeros
    assert learned
    assert all(it.any() for it in learned)
    texts = []
    for name in ("whole", "killed"):
        with RunDirectory.read(folder / "out" / name) as run:
            texts.append([(it.step, it.prompt_id, it.text) for it in run.database.rollouts()])
    assert texts[0] == texts[1]
    assert len(texts[0]) == STEPS * 16
