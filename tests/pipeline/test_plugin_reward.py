"""Real runs with a reward from a Python file in the current folder: training, resuming, replaying, reading."""

import json
import sys
from itertools import count

import pytest
import yaml

from artifacts import save_policy
from longform import open_run, train
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Reference

_NUMBERS = count()
STEPS = 4
SOURCE = """
from pathlib import Path
def vowels(prompt, response, reference, *, step, prompt_id, worth=1):
    with Path("calls").open("a") as file:
        file.write(f"{step} {prompt_id}\\n")
    if Path("broken").exists() and step == 3:
        raise ConnectionError("the server of the reward is down")
    if len(response) % 7 == 0:
        return None
    return worth * sum(map(response.count, "aeiou")) / max(len(response), 1)
"""


def succeed(*command):
    """Run a command, which must end with code 0."""
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    assert not ended.value.code


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
    return folder / "start"


@pytest.fixture
def world(tmp_path, monkeypatch, start):
    """A folder with ladders, a reward module of its own and a recipe of each method."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    rows = [
        Ladder(
            **row.model_dump(),
            references=[Reference(model=f"m{i}", text=text, score=i) for i, text in enumerate(["A", "The story"])],
            policy_score=0,
            potential=1,
        )
        for row in prompts(seed=5, split="train", count=8)
    ]
    write_rows(tmp_path / "ladders.jsonl", rows)
    module = f"own_{next(_NUMBERS)}"
    (tmp_path / f"{module}.py").write_text(SOURCE, encoding="utf-8")
    for method in ("ppo", "grpo"):
        recipe = {
            "method": method,
            "policy": str(start),
            "data": {"ladders": "ladders.jsonl", "per_step": 4, "group": 1 if method == "ppo" else 4},
            "rewards": [{"kind": f"{module}:vowels", "settings": {"worth": 2}}],
            "generation": {"max_tokens": 12},
            "optim": {"lr": 1e-3, "warmup_steps": 0, "mini_batch": 4},
            "run": {"name": method, "seed": 7, "steps": STEPS, "checkpoint_every": 1},
        }
        (tmp_path / f"{method}.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path, module


def _rewards(path):
    with open_run(path) as run:
        return [(it.step, it.row, it.text, it.reward, it.cause) for it in run.database.rollouts()]


@pytest.mark.parametrize("method", ["grpo", pytest.param("ppo", marks=pytest.mark.full)])
def test_a_run_is_rewarded_stopped_resumed_replayed_and_read(world, method, capsys, monkeypatch):
    folder, module = world
    recipe = load_recipe(f"{method}.yaml")
    seen = []
    (folder / "broken").touch()
    with pytest.raises(
        StoppedError, match=rf"^reward {module}:vowels: ConnectionError: the server .* \({module}\.py:7\)$"
    ):
        train(recipe, on_step=seen.append)
    assert [it.step for it in seen] == [1, 2]

    # It resumes with the same source alone.
    (folder / "broken").unlink()
    (folder / f"{module}.py").write_text(SOURCE + "# changed\n", encoding="utf-8")
    with pytest.raises(
        BadInputError, match=rf"^reward {module}:vowels: the source in {module}\.py has changed since the"
    ):
        train(recipe, resume=True)
    (folder / f"{module}.py").write_text(SOURCE, encoding="utf-8")
    result = train(f"{method}.yaml", resume=True)
    assert result.steps == STEPS

    # The same run without a stop is the same run.
    whole = train(recipe.changed("run.name", "whole"))
    assert _rewards(whole.path) == _rewards(result.path)
    for _, _, text, reward, cause in _rewards(result.path):
        if len(text) % 7 == 0:
            assert (reward, cause) == (None, "declined")
        else:
            assert reward == pytest.approx(2 * sum(map(text.count, "aeiou")) / max(len(text), 1), abs=1e-6)
    with open_run(result.path) as run:
        facts = json.loads(run.database.fact(f"reward/{module}:vowels") or "")
    assert facts["name"] == f"{module}:vowels"
    assert len(facts["source_sha256"]) == 64

    # A replay without a change finds the same rewards, and says when the source is another one.
    capsys.readouterr()
    succeed("replay", f"runs/{method}", "--json")
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["changed_plugins"] == []
    assert replayed["rewards"][-1]["difference"][0] == 0
    (folder / f"{module}.py").write_text(SOURCE + "# changed\n", encoding="utf-8")
    succeed("replay", f"runs/{method}")
    assert f"reward {module}:vowels: the source in {module}.py has changed" in " ".join(capsys.readouterr().out.split())

    # Commands that read a run leave the plugin alone, even where it is broken or gone.
    (folder / f"{module}.py").write_text("raise SystemExit('imported')")
    monkeypatch.delitem(sys.modules, module)
    for command in (["report", f"runs/{method}"], ["doctor", f"runs/{method}"], ["runs"]):
        succeed(*command)
    with pytest.raises(SystemExit):
        main(["compare", f"runs/{method}", "runs/whole"])
    assert "has no recorded validation" in capsys.readouterr().err
    assert module not in sys.modules


def test_a_dry_run_calls_the_reward_once(world, capsys):
    folder, module = world
    succeed("train", "ppo.yaml", "--dry-run")
    assert (folder / "calls").read_text().count("\n") == 1
    assert f"# reward {module}:vowels (source " in capsys.readouterr().out
    (folder / f"{module}.py").write_text("def vowels(prompt, response, reference, worth):\n  return {}['a']\n")
    del sys.modules[module]
    with pytest.raises(SystemExit) as ended:
        main(["train", "ppo.yaml", "--dry-run"])
    assert ended.value.code == 2
    assert f"reward {module}:vowels: KeyError: 'a' ({module}.py:2)" in capsys.readouterr().err
