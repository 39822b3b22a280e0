"""The cluster recipes: each fits its machines, and states the figures that its command prints."""

import json
import re
import shlex
from pathlib import Path

import pytest
from shapes import SHAPES

from longform.cli import main
from longform.planning.cluster import check_cluster_memory
from longform.planning.memory import GIB
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe

ROOT = Path(__file__).parents[3]
PATHS = sorted((ROOT / "src/longform/recipes/cluster").glob("*.yaml"))
each_recipe = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@pytest.fixture
def model(path, tmp_path):
    """A folder with the configuration of a recipe's model, and nothing else."""
    (name,) = (it for it in SHAPES if path.stem.endswith(it))
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_text(json.dumps(SHAPES[name][0]))
    return str(tmp_path / name)


@each_recipe
def test_a_cluster_recipe_fits_the_machines_it_names(path, model):
    recipe = load_recipe(path, Recipe, [f"policy={model}"])
    plan = check_cluster_memory(recipe)
    assert plan.total < 0.95 * plan.limit, plan.lines()
    assert plan.sequences >= 16, "a writing copy with fewer is slow"
    for line in plan.lines()[-3:]:
        assert f"#   {line}\n" in path.read_text()
    (row,) = (
        line for line in (ROOT / "src/longform/recipes/README.md").read_text().splitlines() if f"/{path.name} " in line
    )
    assert [cell.strip().removesuffix(" GiB") for cell in row.split("|")[4:6]] == [
        f"{plan.total / GIB:.1f}",
        f"{plan.disk / GIB:.0f}",
    ]


@each_recipe
def test_a_cluster_recipe_states_what_its_command_prints(path, tmp_path, monkeypatch, capsys):
    prices = "{prompt: 0.4, completion: 1.2}"
    entry = f"{{base_url: 'http://localhost:1/v1', model: m, concurrency: 64, prices: {prices}}}"
    free = entry.replace(prices, "{prompt: 0, completion: 0}")
    (tmp_path / "models.yaml").write_text(f"judge: {entry}\nexam: {entry}\nwriting: {free}\n")
    text = path.read_text()
    (command,) = re.findall(r"#   longform (estimate .*\n#     --.*)\n", text)
    arguments = shlex.split(command.replace("#", ""))
    assert arguments[1] == path.name, "the name of its copy"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        main(["estimate", str(path), *arguments[2:]])
    assert stopped.value.code == 0
    stated = re.findall(r"^#   ((?:rollouts|tokens|judge|examiner|cost|one step|hours).*)$", text, re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert len(stated) == 8
    assert set(stated) <= set(printed)
