"""GRPO with a reward that sees whole groups, on a model of a few thousand weights."""

from typing import Any

import pytest
import torch
from toy import PER_STEP, policy_weights, save_model, train_toy

from longform.judging.judge import JudgeReply
from longform.records.run_directory import RunDirectory
from longform.rewards.judged_group import JudgedGroupReward
from longform.rewards.reward import RewardResult

GROUP = 8


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("group") / "start")


class WordPanel:
    """Prefers the text that says `good` more often; has no verdict on texts with a word of `mute`."""

    combine = "vote"

    def __init__(self, mute=""):
        self.mute, self.asked = mute, 0

    async def compare(self, prompt, *, response, reference, step):
        self.asked += 1
        call = (f"{step}/{prompt.id}/{response}/{reference}",)
        if self.mute and self.mute in response.split() + reference.split():
            return JudgeReply(None, "timeout", call, 1.0, orders=("ba",))
        ours, theirs = response.split().count("good"), reference.split().count("good")
        return JudgeReply(
            "win" if ours > theirs else "tie" if ours == theirs else "loss", None, call, 1.0, orders=("ba",)
        )


class Flat:
    """Says something about every other prompt only."""

    async def score(self, prompt, *, response, reference, step):
        return RewardResult(0.5 if int(prompt.id) % 2 else response.answer.split().count("so") / 12)


def _train(start, folder, by, *, steps, panel: Any = None, rewards=None, sections=None, stop_after=None, **settings):
    panel = panel or WordPanel()
    sections = {
        "method": "grpo",
        "data": {"ladders": "unused.jsonl", "per_step": PER_STEP // GROUP, "group": GROUP},
        "rewards": [{"kind": "group", "judge": "unused", "by": by}],
        "optim": {"lr": 1e-2, "warmup_steps": 0, "mini_batch": 16},
        **(sections or {}),
    }
    groups = {"group": JudgedGroupReward(by, panel, seed=3, **settings)}
    return train_toy(
        start, folder, sections, steps=steps, rewards=rewards or {}, groups=groups, stop_after=stop_after
    ), panel


def _written(rollouts):
    """Responses of each group that are not empty; these need no question."""
    return [sum(bool(it.text) for it in rollouts[place : place + GROUP]) for place in range(0, len(rollouts), GROUP)]


@pytest.mark.parametrize("by", ["peer", "elimination"])
def test_the_policy_learns_what_wins_in_its_group(start, tmp_path, by):
    (_, metrics), _ = _train(start, tmp_path, by, steps=15)
    with RunDirectory.read(tmp_path / "toy") as run:
        said = [[it.text.split().count("good") for it in run.database.rollouts(step=step)] for step in (1, 15)]
    assert sum(said[1]) / len(said[1]) > sum(said[0]) / len(said[0]) + 0.4
    assert "outcome/win" not in metrics and "curriculum/promotions" in metrics
    assert sum(metrics["curriculum/promotions"].values()) == 0, "no verdict is against the reference"


def test_a_run_with_group_rewards_repeats_itself_after_a_restart(start, tmp_path):
    (whole, _), _ = _train(start, tmp_path / "whole", "elimination", steps=4)
    _train(start, tmp_path / "cut", "elimination", steps=4, stop_after=2)
    (resumed, _), _ = _train(start, tmp_path / "cut", "elimination", steps=4)
    assert torch.equal(policy_weights(whole), policy_weights(resumed))


def test_missing_verdicts_mask_responses_and_both_texts_record_the_call(start, tmp_path):
    (_, metrics), panel = _train(start, tmp_path, "round-robin", steps=1, panel=WordPanel(mute="very"))
    with RunDirectory.read(tmp_path / "toy") as run:
        rollouts = list(run.database.rollouts())
    for it in rollouts:
        assert (it.reward is None) == ("very" in it.text.split()), "a verdict that is missing is no loss of the other"
        assert it.cause == ("timeout" if it.reward is None else None)
        assert len(it.calls) <= GROUP - 1
    assert panel.asked == sum(count * (count - 1) // 2 for count in _written(rollouts))
    assert metrics["judge/cost"][1] == pytest.approx(panel.asked), "each call is charged once"
    assert metrics["no_verdict/timeout"][1] == sum(it.reward is None for it in rollouts)


def test_only_flat_groups_are_judged_where_the_recipe_says_so(start, tmp_path):
    sections = {
        "data": {"ladders": "unused.jsonl", "per_step": PER_STEP // GROUP, "group": GROUP, "flat_groups": "judge"},
        "rewards": [{"kind": "length"}, {"kind": "group", "judge": "unused", "by": "peer"}],
    }
    (_, metrics), panel = _train(start, tmp_path, "peer", steps=2, rewards={"length": Flat()}, sections=sections)
    with RunDirectory.read(tmp_path / "toy") as run:
        rollouts = list(run.database.rollouts())
    judged = {it.prompt_id for it in rollouts if it.scores and "group" in it.scores}
    assert judged == {it.prompt_id for it in rollouts if int(it.prompt_id) % 2} and judged
    assert panel.asked == sum(count - 1 for count in _written([it for it in rollouts if it.prompt_id in judged]))
    assert all(bool(it.calls) == (it.prompt_id in judged) for it in rollouts if it.text)
    assert metrics["group/without_spread"][1] == 0
    groups = 2 * PER_STEP // GROUP
    assert sum(metrics["group/judged"].values()) / 2 == len(judged) / groups


def test_flat_groups_are_judged_before_they_are_resampled(start, tmp_path):
    sections = {
        "data": {"ladders": "unused.jsonl", "per_step": PER_STEP // GROUP, "group": GROUP, "flat_groups": "judge"},
        "rewards": [{"kind": "length"}, {"kind": "group", "judge": "unused", "by": "peer"}],
        "optim": {"lr": 1e-2, "warmup_steps": 0, "mini_batch": 16, "resample": 3},
    }
    _train(start, tmp_path, "peer", steps=1, rewards={"length": Flat()}, sections=sections)
    with RunDirectory.read(tmp_path / "toy") as run:
        assert len(list(run.database.rollouts(step=1))) == PER_STEP, "the judge gave them spread"


def test_the_best_response_of_a_group_promotes_its_prompt(start, tmp_path):
    sections = {"curriculum": {"promote_by": "sample"}}
    (state, metrics), panel = _train(start, tmp_path, "peer", steps=6, sections=sections, promotes_best=True)
    assert sum(metrics["curriculum/promotions"].values()) > 5
    assert state.curriculum.rungs.max() > 0
    with RunDirectory.read(tmp_path / "toy") as run:
        rollouts = list(run.database.rollouts())
    assert panel.asked == sum(_written(rollouts)), "n - 1 and one more for each group"
    for place in range(0, len(rollouts), GROUP):
        group = rollouts[place : place + GROUP]
        (best,) = [it for it in group if it.outcome is not None]
        assert best.reward == max(it.reward for it in group if it.reward is not None)


def test_games_against_the_rung_that_is_faced_promote(start, tmp_path):
    (state, metrics), _ = _train(start, tmp_path, "anchors", steps=4, anchors=1)
    assert metrics["outcome/win"][1] > 0 and state.curriculum.rungs.max() > 0
