"""`longform init`: a folder whose next commands run, in the order in which they are printed."""

import json
import shlex
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from artifacts import save_policy
from longform.cli import main
from longform.endpoints.models import read_models
from longform.judging.answers import read_fences
from longform.miniature.policy import build_model, build_tokenizer
from longform.recipe.loading import load_recipe
from longform.records.files import read_rows
from longform.records.schemas import Prompt

FILES = [
    "held-out.jsonl",
    "models.schema.json",
    "models.yaml",
    "prompts.jsonl",
    "recipe.schema.json",
    "recipe.yaml",
]
KEYS = ("JUDGE_KEY", "EXAMINER_KEY", "COMPETITOR_KEY")
DIMENSIONS = ("relevance", "coherence", "clarity", "depth", "style", "originality")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    return tmp_path


def _run(command, code=0):
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    assert (ended.value.code or 0) == code


def _names(folder="."):
    return sorted(it.name for it in Path(folder).iterdir())


def test_a_new_project_has_its_files_and_they_are_valid(capsys):
    _run("longform init mine")
    assert _names("mine") == FILES
    for name in ("models", "recipe"):
        text = Path(f"mine/{name}.yaml").read_text()
        assert text.startswith(f"# yaml-language-server: $schema=./{name}.schema.json\n")
        schema = json.loads(Path(f"mine/{name}.schema.json").read_text())
        Draft202012Validator(schema).validate(yaml.safe_load(text))
    models = yaml.safe_load(Path("mine/models.yaml").read_text())
    assert {it["key_env"] for it in models.values()} == set(KEYS)
    recipe = load_recipe("mine/recipe.yaml")
    assert recipe.asked == {"judge"} and recipe.validation and recipe.validation.judge == "examiner"
    prompts = list(read_rows("mine/prompts.jsonl", Prompt))
    assert len(prompts) == 3 == recipe.data.per_step
    assert all(it.length_range for it in prompts)
    assert "  cd mine\n" in capsys.readouterr().out


def test_what_exists_is_kept(capsys):
    Path("prompts.jsonl").write_text("mine")
    _run("longform init --json")
    result = json.loads(capsys.readouterr().out)
    assert result["kept"] == ["prompts.jsonl"]
    assert sorted(result["written"]) == [it for it in FILES if it != "prompts.jsonl"]
    assert not any(command.startswith("cd ") for command in result["next"])
    assert Path("prompts.jsonl").read_text() == "mine"
    before = {name: Path(name).read_text() for name in FILES}
    Path("recipe.yaml").write_text("changed")
    _run("longform init")
    assert {name: Path(name).read_text() for name in FILES} == before | {"recipe.yaml": "changed"}


def test_a_file_in_the_place_of_the_folder_is_one_line(capsys):
    Path("mine").write_text("")
    _run("longform init mine", code=2)
    assert capsys.readouterr().err == "longform: mine: cannot be created: File exists\n"


def test_a_dry_run_says_what_is_missing_one_after_the_other(monkeypatch, capsys):
    _run("longform init")

    def missing():
        capsys.readouterr()
        _run("longform train recipe.yaml --dry-run", code=2)
        return capsys.readouterr().err

    assert "the environment variable EXAMINER_KEY for its key is not set" in missing()
    for key in KEYS:
        monkeypatch.setenv(key, "k")
    assert missing() == "longform: policy: not a model folder (it has no config.json)\n"
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, Path("policy"))
    assert missing() == "longform: ladders.jsonl: cannot be read: No such file or directory\n"


def test_open_judge_models_are_added_as_ready_entries(capsys):
    _run("longform init --judge writingbench-critic --judge letter-judge --judge reward-model")
    models = read_models("models.yaml")
    assert models["writingbench-critic"].template == Path("critic.txt")
    assert models["letter-judge"].verdict == "logprobs"
    assert {"judge", "examiner", "competitor", "reward-model"} <= set(models)
    capsys.readouterr()
    _run("longform init other --judge critic", code=2)
    assert "--judge critic: unknown; " in capsys.readouterr().err
    _run("longform init --judge letter-judge", code=2)
    assert "models.yaml exists and is kept" in capsys.readouterr().err


def _answer(request, number):
    """Writes, grades by length, or prefers the second text."""
    content = request["messages"][-1]["content"]
    if "<<<TEXT A" in content:
        return "[[B]]"
    if "<<<" in content:
        grade = 1 + min(len(read_fences(content)["TEXT"]), 900) / 100
        return '{"scores": {' + ", ".join(f'"{name}": {grade}' for name in DIMENSIONS) + "}}"
    return f"A text that is longer than what the policy writes, number {number}. " * 30


def test_the_printed_commands_lead_to_a_checked_recipe(monkeypatch, capsys, serve):
    _run("longform init --json")
    commands = json.loads(capsys.readouterr().out)["next"]
    for key in KEYS:
        monkeypatch.setenv(key, "k")
    edited = Path("models.yaml").read_text().replace("https://api.example.com/v1", serve(_answer).url)
    Path("models.yaml").write_text(edited)
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, Path("policy"))
    last = commands.index("longform train recipe.yaml --dry-run")
    for command in (it for it in commands[: last + 1] if it.startswith("longform ")):
        short = command.replace("--max-tokens 1500", "--max-tokens 16")  # the model has a context of 512 tokens
        _run(f"{short} --set generation.max_tokens=256" if "train" in command else short)
    assert "# OK: 3 prompts, judges examiner, judge" in capsys.readouterr().out
    assert commands[last + 1] == "longform train recipe.yaml"
