"""`longform recipe` and `longform schema`: every recipe is listed, copied and valid, from a folder of the user's."""

import json
from functools import cache
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from longform.cli import main
from longform.project.json_schemas import FILE_KINDS, json_schema
from longform.project.shipped_recipes import find_recipe, list_recipes
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError

RECIPES = {it.name: it for it in list_recipes()}
PANEL = {"kind": "pairwise", "judge": ["a", "b"]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments, code=0):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert (ended.value.code or 0) == code


@cache
def _validator(kind):
    return Draft202012Validator(json_schema(kind))


def _recipe(**changes):
    """A valid recipe of `longform train`, changed."""
    content = {
        "policy": "p",
        "data": {"ladders": "l.jsonl"},
        "rewards": [PANEL],
        "run": {"name": "r", "steps": 1},
    }
    return content | changes


def test_the_list_has_a_row_for_every_recipe(capsys):
    _run("recipe", "list")
    lines = capsys.readouterr().out.splitlines()
    named = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert named >= RECIPES.keys()
    assert lines[-1] == "next  longform recipe copy NAME"


def test_the_list_as_json_says_what_each_is_for(capsys):
    _run("recipe", "list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert listed.keys() == RECIPES.keys()
    assert listed["arms/panel"] == {
        "purpose": "Three judges vote; a tenth of the verdicts is checked a second time.",
        "method": "ppo",
        "engine": "local",
        "gpu": "80 GB",
        "command": "train",
    }
    assert listed["zero/balanced"]["method"] == "grpo"
    assert listed["pretrain/cot"]["command"] == "pretrain"
    assert (listed["cluster/longwriter-zero-qwen2.5-32b"]["engine"], listed["baselines/sft"]["method"]) == (
        "cluster",
        "sft",
    )
    assert listed["cluster/longwriter-zero-qwen2.5-32b"]["gpu"] == "8 x 8 x 80 GB"


def test_the_purpose_of_a_recipe_is_one_sentence():
    for it in RECIPES.values():
        assert it.purpose.endswith("."), it.name


def test_a_copy_is_the_recipe_with_its_schema_beside_it(folder, capsys):
    _run("recipe", "copy", "arms/panel")
    assert sorted(it.name for it in folder.iterdir()) == ["panel.yaml", "recipe.schema.json"]
    first, _, rest = Path("panel.yaml").read_text().partition("\n")
    assert first == "# yaml-language-server: $schema=./recipe.schema.json"
    assert rest == RECIPES["arms/panel"].text
    assert json.loads(Path("recipe.schema.json").read_text()) == json_schema("recipe")
    assert load_recipe("panel.yaml").run.name == "panel"
    assert "next    longform train panel.yaml --dry-run" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["sft", "pretrain/cot", "reward-model"])
def test_the_copy_of_a_stage_names_its_own_command_and_schema(name, folder, capsys):
    _run("recipe", "copy", f"{name}.yaml", "--out", "mine.yaml")
    command = RECIPES[name].command
    assert f"longform {command} mine.yaml --dry-run" in capsys.readouterr().out
    assert Path("mine.yaml").read_text().startswith(f"# yaml-language-server: $schema=./{command}.schema.json\n")
    assert Path(f"{command}.schema.json").exists()


def test_a_file_that_exists_is_replaced_only_by_force(folder, capsys):
    Path("panel.yaml").write_text("mine")
    _run("recipe", "copy", "arms/panel", code=2)
    assert capsys.readouterr().err == (
        "longform: panel.yaml: exists; choose another file with --out, or replace it with --force\n"
    )
    assert [it.name for it in folder.iterdir()] == ["panel.yaml"]
    assert Path("panel.yaml").read_text() == "mine"
    _run("recipe", "copy", "arms/panel", "--force")
    assert load_recipe("panel.yaml").run.name == "panel"


def test_a_schema_of_longform_is_replaced_and_no_other_file(folder, capsys):
    _run("recipe", "copy", "arms/panel")
    schema = Path("recipe.schema.json")
    schema.write_text(json.dumps(json.loads(schema.read_text()) | {"properties": {}}))
    _run("recipe", "copy", "arms/mixed")
    assert json.loads(schema.read_text()) == json_schema("recipe")
    schema.write_text('{"title": "mine"}')
    _run("recipe", "copy", "arms/retire", code=2)
    assert "recipe.schema.json: exists and is not a schema of longform" in capsys.readouterr().err
    assert schema.read_text() == '{"title": "mine"}' and not Path("retire.yaml").exists()
    _run("recipe", "copy", "arms/retire", "--force")
    assert json.loads(schema.read_text()) == json_schema("recipe")


def test_a_base_install_copies_the_recipe_of_a_stage_without_a_schema(folder, monkeypatch):
    def dump(kind):
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr("longform.project.shipped_recipes.dump_schema", dump)
    _run("recipe", "copy", "sft")
    assert [it.name for it in folder.iterdir()] == ["sft.yaml"]
    assert Path("sft.yaml").read_text() == RECIPES["sft"].text


def test_a_folder_takes_the_recipe_under_its_own_name(folder):
    (folder / "mine").mkdir()
    _run("recipe", "copy", "zero/dapo", "--out", "mine")
    assert (folder / "mine" / "dapo.yaml").exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("panel", "did you mean 'arms/panel'?"),
        ("arms/pannel", "did you mean 'arms/panel'?"),
        ("writing-rl-0.5b", "did you mean 'writing-rl-0.5b-24gb'?"),
        ("../arms/panel", "did you mean 'arms/panel'?"),
        ("qqqqq", "`longform recipe list` shows all"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, hint):
    with pytest.raises(BadInputError) as raised:
        find_recipe(name)
    assert str(raised.value) == f"unknown recipe {name!r}; {hint}"


def test_an_unknown_name_is_one_line(capsys):
    _run("recipe", "copy", "pannel", code=2)
    assert capsys.readouterr().err == "longform: unknown recipe 'pannel'; did you mean 'arms/panel'?\n"


@pytest.mark.parametrize("name", [name for name, it in RECIPES.items() if it.kind is not None])
def test_a_recipe_is_valid_and_a_misspelled_key_is_not(name):
    recipe = RECIPES[name]
    content = yaml.safe_load(recipe.text)
    validator = _validator(recipe.kind)
    validator.validate(content)
    assert not validator.is_valid({**content, "polcy": "p"})
    if recipe.kind == "study":
        first, *others = content["examine"]
        assert not validator.is_valid({**content, "examine": [{**first, "misspeled": 1}, *others]})
        return
    section = next(key for key, value in content.items() if isinstance(value, dict))
    assert not validator.is_valid({**content, section: {**content[section], "misspeled": 1}})
    if "rewards" in content:
        first, *others = content["rewards"]
        assert not validator.is_valid({**content, "rewards": [{**first, "wieght": 1}, *others]})


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_schema_is_a_schema_that_refuses_unknown_keys(kind):
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    objects = [it for it in [schema, *schema.get("$defs", {}).values()] if "properties" in it]
    assert objects
    assert all(it["additionalProperties"] is False for it in objects)


def test_every_key_of_a_training_recipe_is_described():
    schema = json_schema("recipe")
    for name, section in {"": schema, **schema["$defs"]}.items():
        for key, content in section.get("properties", {}).items():
            assert "const" in content or content.get("description"), f"{name}.{key}"
    assert schema["$defs"]["DataSettings"]["properties"]["per_step"]["description"] == "Prompts per step."


def test_a_reward_of_another_package_is_valid():
    validator = _validator("recipe")
    for kind in ("my_rewards:short_sentences", "a.b:C.d"):
        validator.validate(_recipe(rewards=[PANEL, {"kind": kind, "weight": 2, "settings": {"n": 1}}]))
    for reward in ({"kind": "pairwize", "judge": "a"}, {"kind": "length", "settings": {}}, {"settings": {}}):
        assert not validator.is_valid(_recipe(rewards=[reward])), reward


def test_a_reward_that_an_installed_package_offers_is_valid(tmp_path, monkeypatch):
    info = tmp_path / "site" / "pack-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[longform.rewards]\nhaiku = pack:haiku\n")
    assert not _validator("recipe").is_valid(_recipe(rewards=[{"kind": "haiku"}]))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    Draft202012Validator(json_schema("recipe")).validate(_recipe(rewards=[{"kind": "haiku"}]))


def test_optim_has_the_keys_of_the_method():
    validator = _validator("recipe")
    grpo = {"method": "grpo", "data": {"ladders": "l.jsonl", "group": 4}}
    validator.validate(_recipe(optim={"critic_lr": 1e-5}))
    validator.validate(_recipe(**grpo, optim={"kl_coef": 0.0}))
    assert not validator.is_valid(_recipe(**grpo, optim={"critic_lr": 1e-5}))


def test_a_models_file_is_checked_key_by_key():
    validator = _validator("models")
    judge = {"base_url": "http://localhost:8000/v1", "model": "m"}
    validator.validate({"judge": judge, "exam": {**judge, "key_env": "KEY", "prices": {"prompt": 1, "completion": 2}}})
    for bad in ({}, {"judge": {**judge, "keyenv": "KEY"}}, {"judge": {"model": "m"}}, {"judge": {**judge, "rpm": 0}}):
        assert not validator.is_valid(bad), bad


def test_a_schema_is_printed_or_written(capsys):
    _run("schema")
    assert json.loads(capsys.readouterr().out) == json_schema("recipe")
    _run("schema", "models", "--out", "m.json")
    assert json.loads(Path("m.json").read_text()) == json_schema("models")
    assert "m.json" in capsys.readouterr().out
    _run("schema", "recipies", code=2)
    assert "recipies" in capsys.readouterr().err
