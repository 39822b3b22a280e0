"""`longform reward-model`: trained, examined and used as a reward, and what is wrong with its input in one line."""

import json
import random
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from shutil import copytree

import pytest
import yaml

from artifacts import save_policy
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import draw_request
from longform.miniature.writers import write_story
from longform.records.files import write_rows
from longform.records.schemas import Preference


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    build_world(base)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, base):
    """The reward model of `world` and what its training printed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.chdir(folder)
        build_world(base)
        succeed("recipe.yaml", "--json")
    return folder / "writing", json.loads(printed.getvalue())


@pytest.fixture
def writing(world, trained, tmp_path):
    """A copy of the trained reward model in `world`."""
    return copytree(trained[0], tmp_path / "writing")


def build_world(base):
    Path("base").symlink_to(base)
    requests = [draw_request(random.Random(n), split="train") for n in range(24)]
    write_rows(
        "pairs.jsonl",
        [
            Preference(prompt=it.text, chosen=write_story(it, level="master"), rejected=write_story(it, level="novice"))
            for it in requests
        ],
    )
    write_recipe()


def write_recipe(**changes):
    content = {
        "base": "base",
        "preferences": ["pairs.jsonl"],
        "held_out": 0.3,
        "out": "writing",
        "settings": {"steps": 3, "batch_size": 4, "max_tokens": 256, "lr": 1e-3, "evaluate_every": 2},
        "examination": {"words": 4, "texts": 4},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(content | changes))


def succeed(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["reward-model", *arguments])
    assert stop.value.code == 0


def failing(capsys, *arguments, code=2):
    with pytest.raises(SystemExit) as stop:
        main(["reward-model", *arguments])
    assert stop.value.code == code
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def test_a_reward_model_is_trained_and_examined_on_prompts_held_out(trained):
    folder, printed = trained
    examined = printed["examination"]
    assert printed["training pairs"] + examined["pairs"] == 24
    low, estimate, high = (examined["accuracy"][name] for name in ("low", "estimate", "high"))
    assert low <= estimate <= high
    assert [point["step"] for point in examined["curve"]] == [0, 2, 3]
    stored = json.loads((folder / "examination.json").read_text())
    assert stored["accuracy"] == examined["accuracy"]


def test_it_can_be_examined_again_on_other_pairs_without_training(writing, capsys):
    succeed("recipe.yaml", "--examine", "pairs.jsonl", "--json")
    again = json.loads(capsys.readouterr().out)
    assert again["evaluation pairs"] == 24
    assert "training pairs" not in again


def test_tables_show_the_accuracy_beside_that_of_the_longer_text(world, capsys):
    succeed("recipe.yaml")
    out = capsys.readouterr().out
    for words in ("accuracy of choosing the longer", "accuracy on equal lengths", "Calibration", "Learning curve"):
        assert words in out
    assert "longform train RECIPE --set 'rewards=[{kind: writing, model: writing}]'" in out
    assert "nan" not in out


def test_a_dry_run_says_how_many_pairs_there_are_and_writes_nothing(world, capsys, tmp_path):
    succeed("recipe.yaml", "--dry-run")
    assert "training pairs, " in capsys.readouterr().out
    assert not (tmp_path / "writing").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preferences": ["gone.jsonl"]}, "gone.jsonl: cannot be read"),
        ({"base": "pairs.jsonl"}, "pairs.jsonl: not a model folder"),
        ({"held_out": 0}, "held_out"),
        ({"stepps": 3}, "unknown key"),
        ({"preferences": []}, "preferences"),
    ],
)
def test_what_a_recipe_gets_wrong_is_one_line(world, capsys, changes, said, tmp_path):
    write_recipe(**changes)
    assert said in failing(capsys, "recipe.yaml")
    assert not (tmp_path / "writing").exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "chosen": "one"}, "bad.jsonl:1: rejected: Field required"),
        (
            {"prompt": "p", "chosen": "one", "rejected": "one"},
            "bad.jsonl:1: chosen and rejected are equal",
        ),
        ({"question": "p"}, "bad.jsonl:1: prompt: Field required"),
    ],
)
def test_a_bad_pair_is_named_by_its_place(world, capsys, row, said):
    Path("bad.jsonl").write_text(json.dumps(row) + "\n")
    write_recipe(preferences=["bad.jsonl"])
    assert said in failing(capsys, "recipe.yaml")


def test_a_prompt_longer_than_the_model_reads_is_named(world, capsys, tmp_path):
    settings = {"steps": 3, "batch_size": 4, "max_tokens": 8}
    write_recipe(settings=settings)
    assert "but the reward model reads at most 8 in all" in failing(capsys, "recipe.yaml")
    assert not (tmp_path / "writing").exists()


def test_examining_where_nothing_was_trained_says_so(world, capsys):
    assert "no reward model at writing; run without --examine" in failing(
        capsys, "recipe.yaml", "--examine", "pairs.jsonl"
    )


def test_examining_a_language_model_says_that_it_has_no_head(world, capsys):
    write_recipe(out="base")
    assert "out: base is LlamaForCausalLM, not a sequence classifier" in failing(
        capsys, "recipe.yaml", "--examine", "pairs.jsonl"
    )


def test_examining_other_pairs_writes_a_file_of_its_own(writing):
    own = (writing / "examination.json").read_text()
    succeed("recipe.yaml", "--examine", "pairs.jsonl", "--json")
    assert json.loads((writing / "examination-pairs.json").read_text())["pairs"] == 24
    assert (writing / "examination.json").read_text() == own


def test_a_model_that_was_trained_and_not_examined_says_how_to_do_that(writing, capsys):
    (writing / "examination.json").unlink()
    said = failing(capsys, "recipe.yaml")
    assert "out: writing exists, trained and not examined yet: add --examine writing/held-out.jsonl" in said
    succeed("recipe.yaml", "--examine", "writing/held-out.jsonl", "--json")
    assert (writing / "examination.json").exists()
    assert "out: writing exists; choose another folder" in failing(capsys, "recipe.yaml")


def test_the_examination_keeps_to_its_budget(world, capsys):
    write_recipe(examination={"max_pairs": 3, "words": 2, "texts": 1})
    succeed("recipe.yaml", "--json")
    examined = json.loads(capsys.readouterr().out)["examination"]
    assert (examined["pairs"], examined["probed"]) == (3, 2)


def test_a_dry_run_plans_the_memory(world, capsys):
    succeed("recipe.yaml", "--dry-run")
    assert "# memory of each device in GiB, total: up to " in capsys.readouterr().out
