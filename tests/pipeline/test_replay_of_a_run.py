"""A real run is replayed: without a change nothing is asked, and everything comes out as it was."""

import asyncio
import hashlib
import json

import numpy as np
import pytest
import yaml

from artifacts import save_policy
from longform.endpoints.limits import Budget
from longform.evaluation.replay.inputs import check_replay
from longform.evaluation.replay.run import replay_steps
from longform.judging.answers import read_fences
from longform.judging.pointwise import DIMENSIONS
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.recipe.recipe import Recipe
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt, Reference
from longform.training import grpo
from longform.training.run import train

STEPS = 4


class World:
    """A folder with an untrained policy and ladders of two short texts; the judge mostly likes the longer text."""

    def __init__(self, folder, serve, reply):
        self.folder, self.broken = folder, False
        tokenizer = build_tokenizer()
        save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
        rows = [
            Ladder(
                **row.model_dump(),
                references=[Reference(model=f"m{i}", text=text, score=i) for i, text in enumerate(["A", "The story"])],
                policy_score=0,
                potential=1,
            )
            for row in prompts(seed=5, split="train", count=8)
        ]
        write_rows(folder / "ladders.jsonl", rows)
        write_rows(folder / "prompts.jsonl", [Prompt(id=it.id, prompt=it.prompt, length_range=(4, 6)) for it in rows])

        def answer(request, number):
            texts = read_fences(request["messages"][0]["content"])
            if "TEXT" in texts:
                points = 1 + hashlib.sha256(texts["TEXT"].encode()).digest()[0] % 10
                silent = self.broken and points % 3 == 0
                return reply(status=500) if silent else json.dumps({"scores": dict.fromkeys(DIMENSIONS, points)})
            digest = hashlib.sha256("\0".join([request["model"], texts["TEXT A"], texts["TEXT B"]]).encode()).digest()
            if self.broken and digest[1] % 4 == 0:
                return reply(status=500)
            if digest[0] % 8 < 2:
                return "[[C]]" if digest[0] % 8 else "Neither nor."
            return "[[A]]" if len(texts["TEXT A"]) > len(texts["TEXT B"]) else "[[B]]"

        self.server = serve(answer)
        names = ("judge", "other")
        models = {name: {"base_url": self.server.url, "model": name, "retries": 0} for name in names}
        (folder / "models.yaml").write_text(yaml.safe_dump(models))

    def train(self, *, group=1, curriculum=None, **reward):
        recipe = {
            "policy": str(self.folder / "start"),
            "models": str(self.folder / "models.yaml"),
            "data": {"ladders": str(self.folder / "ladders.jsonl"), "per_step": 6, "group": group},
            "rewards": [{"kind": "pairwise", "judge": "judge", "max_judge_failure_rate": 1, **reward}],
            "curriculum": curriculum or {},
            "generation": {"max_tokens": 12},
            "optim": {"lr": 1e-3, "warmup_steps": 0, "mini_batch": 3, "gamma": 0.99, "lam": 0.9},
            "run": {"name": "run", "folder": str(self.folder), "seed": 7, "steps": STEPS},
        }
        train(Recipe.model_validate(recipe), on_step=lambda report: None)
        return self.folder / "run"

    def train_in_groups(self, **changes):
        """GRPO on prompts without references, with three rewards."""
        recipe = {
            "method": "grpo",
            "policy": str(self.folder / "start"),
            "models": str(self.folder / "models.yaml"),
            "data": {"prompts": str(self.folder / "prompts.jsonl"), "per_step": 3, "group": 3},
            "rewards": [
                {"kind": "length", "weight": 2},
                {"kind": "format", "required": 0.9},
                {"kind": "pointwise", "judge": "judge", "max_judge_failure_rate": 1},
            ],
            "generation": {"max_tokens": 12},
            "optim": {"lr": 1e-3, "warmup_steps": 0, "mini_batch": 3},
            "run": {"name": "run", "folder": str(self.folder), "seed": 7, "steps": STEPS},
        }
        train(Recipe.model_validate(recipe | changes), on_step=lambda report: None)
        return self.folder / "run"


@pytest.fixture
def world(tmp_path, serve, reply):
    return World(tmp_path, serve, reply)


def _replay(path, *overrides, **changes):
    with RunDirectory.read(path) as run:
        inputs = check_replay(run, overrides, **changes)
        return asyncio.run(replay_steps(run, inputs, budget=Budget(), on_progress=lambda done, total: None))


def _both_sides(rollouts):
    fields = ("rung", "outcome", "cause", "reward", "advantage")
    return [
        [tuple(getattr(it, f"{name}_{side}") for name in fields) for it in rollouts] for side in ("before", "after")
    ]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"position": "both", "group": 2, "curriculum": {"top": "self"}, "judge": ["judge", "other"], "recheck": 0.5},
    ],
)
def test_a_replay_of_an_unchanged_recipe_asks_no_judge_and_reproduces_the_run(world, kind):
    path = world.train(**kind)
    asked = len(world.server.requests)
    again = _replay(path)
    assert len(world.server.requests) == asked
    before, after = _both_sides(again.rollouts)
    assert after == before
    assert all(it.same_reference for it in again.rollouts)
    assert again.promotions_after == again.promotions_before != []
    with np.load(path / "checkpoints" / f"step-{STEPS:06d}" / "curriculum.npz") as state:
        assert again.rungs_after.tolist() == again.rungs_before.tolist() == state["rungs"].tolist()
    if "curriculum" in kind:
        assert max(it.rung_before for it in again.rollouts) >= 2, "no prompt came to face the policy's own text"
    assert any(abs(it.advantage_before or 0) > 0.1 for it in again.rollouts)


def test_masked_rollouts_are_asked_again_and_the_others_stay(world):
    world.broken = True
    path = world.train(curriculum={"mode": "fixed", "reference": "best"})
    world.broken = False
    asked = len(world.server.requests)
    healed = _replay(path)
    masked = [it for it in healed.rollouts if it.cause_before == "server_error"]
    assert masked
    assert healed.recorded.calls - healed.recorded.answered == len(masked) <= len(world.server.requests) - asked
    assert all(it.cause_after in (None, "no_verdict") for it in masked)
    before, after = _both_sides([it for it in healed.rollouts if it not in masked])
    assert [it[:4] for it in after] == [it[:4] for it in before]


@pytest.fixture
def trained_advantages(monkeypatch):
    """The advantages that the steps of GRPO learned from, row by row; None where a rollout took no part."""
    steps, learning_rows = [], grpo.learning_rows

    def keep(groups, left_out, optim):
        learned = learning_rows(groups, left_out, optim)
        flat = groups.advantages.reshape(-1).tolist()
        steps.append([value if takes_part else None for value, takes_part in zip(flat, learned, strict=True)])
        return learned

    monkeypatch.setattr(grpo, "learning_rows", keep)
    return steps


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"advantages": "summed"},
        {"optim": {"mini_batch": 3, "resample": 1, "overlong": "mask"}, "rewards": [{"kind": "format"}]},
    ],
)
def test_the_advantages_of_groups_are_those_that_were_trained_with(world, trained_advantages, changes):
    world.broken = True
    path = world.train_in_groups(**changes)
    world.broken = False
    asked = len(world.server.requests)
    again = _replay(path)
    assert [it.advantage_before for it in again.rollouts] == [value for step in trained_advantages for value in step]
    masked = [it for it in again.rollouts if it.cause_before is not None]
    before, after = _both_sides(again.rollouts)
    if "rewards" in changes:
        assert len(again.rollouts) > STEPS * 9, "no step drew further prompts"
        assert after == before
    else:
        assert masked
        assert all(it.reward_after is not None for it in masked)
        heard = {(it.step, it.prompt_id) for it in again.rollouts} - {(it.step, it.prompt_id) for it in masked}
        assert heard
        assert all(
            was == now
            for it, was, now in zip(again.rollouts, before, after, strict=True)
            if (it.step, it.prompt_id) in heard
        )
    assert len(world.server.requests) - asked <= len(masked)


def test_balanced_and_summed_are_two_views_of_one_run(world, trained_advantages):
    path = world.train_in_groups()
    asked = len(world.server.requests)
    summed = _replay(path, "advantages=summed")
    assert len(world.server.requests) == asked
    assert [it.reward_after for it in summed.rollouts] == [it.reward_before for it in summed.rollouts]
    assert [it.advantage_before for it in summed.rollouts] == [it for step in trained_advantages for it in step]
    assert sum(it.advantage_before != it.advantage_after for it in summed.rollouts) > len(summed.rollouts) / 2
