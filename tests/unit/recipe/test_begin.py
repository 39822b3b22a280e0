"""A run belongs to its recipe and files; where its folder is does not matter."""

import json

import pytest
import yaml

from longform.recipe.begin import begin_run
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory


def _recipe(tmp_path, name, prompts="prompts.txt", **settings):
    return Recipe.model_validate(
        {
            "policy": "policy",
            "method": "grpo",
            "data": {"prompts": str(tmp_path / prompts), "per_step": 1, "group": 2},
            "rewards": [{"kind": "length"}],
            "run": {"name": name, "folder": str(tmp_path / "runs"), "steps": 3},
        }
        | settings
    )


@pytest.fixture
def begun(tmp_path):
    (tmp_path / "prompts.txt").write_text("Write.\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("Write.")
    return tmp_path


def _begin(recipe, *, resume):
    with RunDirectory.open(recipe.run_path) as run:
        begin_run(run, recipe, resume=resume)
        run.database.record_step(1, seconds=1.0, metrics={})


def test_a_run_goes_on_in_a_renamed_and_moved_folder(begun):
    _begin(_recipe(begun, "old"), resume=False)
    (begun / "elsewhere").mkdir()
    (begun / "runs" / "old").rename(begun / "elsewhere" / "new")
    _begin(_recipe(begun, "new", run={"name": "new", "folder": str(begun / "elsewhere"), "steps": 3}), resume=True)
    with pytest.raises(BadInputError, match=r"was begun with run\.steps 3, not 4"):
        _begin(_recipe(begun, "new", run={"name": "new", "folder": str(begun / "elsewhere"), "steps": 4}), resume=True)


def test_a_run_whose_recipe_is_gone_is_not_resumed_unchecked(begun):
    recipe = _recipe(begun, "run")
    _begin(recipe, resume=False)
    (recipe.run_path / "recipe.yaml").unlink()
    with pytest.raises(BadInputError, match=r"recipe\.yaml: is missing, .*; restore it"):
        _begin(recipe, resume=True)


def test_prompts_in_a_folder_belong_to_the_run_by_their_content(begun):
    recipe = _recipe(begun, "run", "folder")
    _begin(recipe, resume=False)
    _begin(recipe, resume=True)
    (begun / "folder" / "a.txt").write_text("Write more.")
    with pytest.raises(BadInputError, match="folder: has changed since the run began"):
        _begin(recipe, resume=True)


@pytest.mark.parametrize(("charge", "measure", "model"), [(0.0, "minhash", None), (2.0, "embeddings", "a/model")])
def test_a_run_with_settings_of_redundancy_goes_on_if_it_charged_none(begun, charge, measure, model):
    recipe = _recipe(begun, "run", rewards=[{"kind": "length"}, {"kind": "format"}])
    _begin(recipe, resume=False)
    path = recipe.run_path / "recipe.yaml"
    stored = yaml.safe_load(path.read_text())
    stored["rewards"][1] |= {"redundancy": charge, "redundancy_measure": measure, "embeddings": model}
    path.write_text(yaml.safe_dump(stored))
    assert load_stored_recipe(path, Recipe).rewards == recipe.rewards
    if not charge:
        _begin(recipe, resume=True)
        assert "redundancy" not in path.read_text()
        return
    with pytest.raises(BadInputError, match=r"with rewards\.redundancy 2\.0, not 0\.0; "):
        _begin(recipe, resume=True)


def test_a_run_on_adapters_belongs_to_the_model_below_them(begun):
    (begun / "base").mkdir()
    (begun / "base" / "config.json").write_text("{}")
    (begun / "adapters").mkdir()
    config = json.dumps({"base_model_name_or_path": str(begun / "base")})
    (begun / "adapters" / "adapter_config.json").write_text(config)
    recipe = _recipe(begun, "run", policy=str(begun / "adapters"))
    _begin(recipe, resume=False)
    _begin(recipe, resume=True)
    (begun / "base" / "config.json").write_text('{"hidden_size": 8}')
    with pytest.raises(BadInputError, match=r"another model below the policy's adapters .*base \(other files\)"):
        _begin(recipe, resume=True)
