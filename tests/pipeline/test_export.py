"""The rewards of a recipe in another trainer: the same scores, a ladder that goes on, and TRL training on it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from world import RECIPE, build_world

from forks import Forks
from longform.export.recipe_reward import STATE, RecipeReward
from longform.miniature.server import serve_in_background
from longform.miniature.world import complete_request, prompts
from longform.miniature.writers import write_story
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Reference


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("export")
    with serve_in_background() as address:
        build_world(folder, address)
        rows = prompts(seed=5, split="train", count=24)
        ladders = [
            Ladder(
                **row.model_dump(),
                references=[
                    Reference(
                        model="novice",
                        text=write_story(complete_request(row.request, seed=0), level="novice", sample=0),
                        score=1,
                    ),
                    Reference(
                        model="master",
                        text=write_story(complete_request(row.request, seed=0), level="master", sample=0),
                        score=9,
                    ),
                ],
                policy_score=1,
                potential=8,
            )
            for row in rows
        ]
        write_rows(folder / "ladders.jsonl", ladders)
        recipe = RECIPE | {
            "method": "grpo",
            "data": {"ladders": "ladders.jsonl", "per_step": 2, "group": 2},
            "optim": {},
        }
        paths = {"policy": "start", "models": "models.yaml"}
        recipe |= {name: str(folder / value) for name, value in paths.items()}
        recipe["data"] |= {"ladders": str(folder / "ladders.jsonl")}
        recipe["validation"] = None
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        yield folder


@pytest.fixture
def reward(world: Path, tmp_path: Path) -> Iterator[RecipeReward]:
    made = RecipeReward(world / "recipe.yaml", state=tmp_path / "state")
    yield made
    made.close()


def good_text(reward: RecipeReward, place: int = 0) -> str:
    return write_story(complete_request(reward.prompts[place].request, seed=0), level="master", sample=1)


def test_a_win_moves_the_prompt_up_and_a_new_process_goes_on_from_there(
    reward: RecipeReward, world: Path, tmp_path: Path
) -> None:
    ids = [reward.prompts[0].id] * 2 + [reward.prompts[1].id] * 2
    scores = reward([good_text(reward), "No.", "No.", "Not at all."], ids)
    assert scores == [1.0, 0.0, 0.0, 0.0]
    with reward._curriculum() as (curriculum, state):
        assert curriculum.rungs.tolist()[:2] == [1, 0]
        assert state["step"] == 1
    again = RecipeReward(world / "recipe.yaml", state=tmp_path / "state")
    again([[{"role": "assistant", "content": "No."}]], [ids[0]])
    with again._curriculum() as (curriculum, state):
        assert curriculum.rungs.tolist()[:2] == [1, 0]
        assert state["step"] == 2
    again.close()


def test_one_response_is_scored_like_a_group(reward: RecipeReward) -> None:
    assert asyncio.run(reward.score_one(good_text(reward), reward.prompts[0].id)) == 1.0


def test_a_missing_verdict_is_none_and_promotes_nothing(world: Path, tmp_path: Path) -> None:
    models = yaml.safe_load((world / "models.yaml").read_text())
    models["judge"]["model"] = "miniature-novice"  # which writes a story and names no winner
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    recipe = yaml.safe_load((world / "recipe.yaml").read_text()) | {"models": str(tmp_path / "models.yaml")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    reward = RecipeReward(tmp_path / "recipe.yaml", state=tmp_path / "state")
    assert reward([good_text(reward)], [reward.prompts[0].id]) == [None]
    assert json.loads((tmp_path / "state" / STATE).read_text())["step"] == 1
    with reward._curriculum() as (curriculum, _):
        assert not curriculum.rungs.any()
    reward.close()


def test_an_unknown_prompt_is_named(reward: RecipeReward) -> None:
    with pytest.raises(BadInputError, match="has no prompt 'nobody'"):
        reward(["A text."], ["nobody"])


def test_a_top_that_needs_a_run_is_refused(world: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((world / "recipe.yaml").read_text()) | {"curriculum": {"top": "self"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(BadInputError, match="top: self"):
        RecipeReward(tmp_path / "recipe.yaml", state=tmp_path / "state")


def test_trl_trains_on_an_exported_recipe_and_goes_on_with_its_ladder(
    world: Path, tmp_path: Path, forks: Forks
) -> None:
    out = tmp_path / "exported"
    done = forks.run(world, ["export", "trl", "recipe.yaml", "--out", str(out)])
    assert "train.py" in done.stdout
    script = (out / "train.py").read_text()
    for steps in (2, 4):  # the second run continues from the checkpoint of the first
        (out / "train.py").write_text(script.replace("max_steps=8", f"max_steps={steps}"))
        trained = forks.run_script(out / "train.py", tmp_path)
        assert json.loads((out / "state" / STATE).read_text())["step"] == steps
    assert (out / "output" / "model.safetensors").exists()
    assert "rewards/longform/mean" in trained.stdout


def test_an_exported_recipe_names_its_files_by_absolute_paths(world: Path, tmp_path: Path, forks: Forks) -> None:
    (world / "think.txt").write_text("Plan first. {request}")
    recipe = yaml.safe_load((world / "recipe.yaml").read_text())
    recipe |= {"policy": "start", "models": "models.yaml"}
    recipe["data"] |= {"ladders": "ladders.jsonl"}
    recipe["generation"] |= {"think": True, "think_prompt": "think.txt"}
    (world / "relative.yaml").write_text(yaml.safe_dump(recipe))
    forks.run(world, ["export", "trl", "relative.yaml", "--out", str(tmp_path / "exported")])
    exported = yaml.safe_load((tmp_path / "exported" / "recipe.yaml").read_text())
    assert exported["policy"] == str(world / "start")
    assert exported["models"] == str(world / "models.yaml")
    assert exported["data"]["ladders"] == str(world / "ladders.jsonl")
    assert exported["data"]["prompts"] is None
    assert exported["generation"]["think_prompt"] == str(world / "think.txt")


def test_an_environment_of_verifiers_is_python_that_names_the_recipe(world: Path, tmp_path: Path, forks: Forks) -> None:
    done = forks.run(world, ["export", "verifiers", "recipe.yaml", "--out", str(tmp_path / "env")])
    assert f"env PYTHONPATH={tmp_path / 'env'} vf-eval environment -m MODEL" in done.stdout
    source = (tmp_path / "env" / "environment.py").read_text()
    compile(source, "environment.py", "exec")
    assert '__all__ = ["WritingTaskset"]' in source, "by which verifiers finds it"
    rows = [json.loads(line) for line in (tmp_path / "env" / "prompts.jsonl").read_text().splitlines()]
    assert rows[0]["prompt"][0]["role"] == "user"
    assert len({row["prompt_id"] for row in rows}) == 24
    refused = forks.run(world, ["export", "trl", "recipe.yaml", "--out", str(tmp_path / "env")], code=2)
    assert "exists; name a new folder" in refused.stderr
