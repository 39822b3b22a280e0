"""GRPO with several rewards on a model of a few thousand weights."""

import pytest
import torch
from toy import PER_STEP, CountingJudge, policy_weights, save_model, train_toy
from transformers import LlamaForCausalLM

from longform.records.errors import StoppedError
from longform.records.run_directory import RunDirectory
from longform.rewards.reward import RewardResult

GROUP = 8


class Counting:
    """Worth the share of a text's words that are `word`; silent where `is_silent` says so."""

    def __init__(self, word, is_silent=lambda text: False):
        self.word, self.is_silent = word, is_silent

    async def score(self, prompt, *, response, reference, step):
        if self.is_silent(response.answer):
            return RewardResult(None, None, "timeout")
        words = response.answer.split()
        return RewardResult(words.count(self.word) / max(len(words), 1))


@pytest.fixture
def start(tmp_path):
    return save_model(tmp_path / "start")


def _train(start, folder, *, steps, rewards=None, sections=None, kinds=("length", "format"), stop_after=None, **optim):
    sections = {
        "method": "grpo",
        "data": {"ladders": "unused.jsonl", "per_step": PER_STEP // GROUP, "group": GROUP},
        "rewards": [{"kind": kind} for kind in kinds],
        **(sections or {}),
        "optim": {"lr": 1e-2, "warmup_steps": 0, "mini_batch": 16, **optim},
    }
    rewards = rewards or {"length": Counting("good"), "format": Counting("so")}
    return train_toy(start, folder, sections, steps=steps, rewards=rewards, stop_after=stop_after)


@pytest.mark.parametrize("loss", ["sequence", pytest.param("token", marks=pytest.mark.full)])
def test_the_policy_learns_what_both_rewards_like(start, tmp_path, loss):
    _, metrics = _train(start, tmp_path, steps=25, loss=loss)
    for kind in ("length", "format"):
        first, last = metrics[f"reward/{kind}/mean"][1], metrics[f"reward/{kind}/mean"][25]
        assert last > first + 0.15, kind
    assert metrics["group/skipped"][1] == 0


def test_a_run_without_a_critic_saves_none_and_keeps_no_reference_model(start, tmp_path):
    state, metrics = _train(start, tmp_path, steps=2)
    assert not state.models.has_critic and not state.models.has_reference
    assert not any(name.startswith("critic/") for name in metrics)
    with RunDirectory.read(tmp_path / "toy") as run:
        assert sorted(it.name for it in run.checkpoint_path(2).iterdir() if it.is_dir()) == ["policy"]


def test_a_kl_penalty_holds_the_policy_near_the_start(start, tmp_path):
    _, free = _train(start, tmp_path / "free", steps=10, kl_coef=1e-6)
    _, held = _train(start, tmp_path / "held", steps=10, kl_coef=1.0)
    assert free["policy/kl_to_start"][1] == pytest.approx(0, abs=1e-6)
    assert held["policy/kl_to_start"][10] < 0.5 * free["policy/kl_to_start"][10]


def test_groups_without_spread_move_no_weight(start, tmp_path):
    class Constant:
        async def score(self, prompt, *, response, reference, step):
            return RewardResult(0.7)

    state, metrics = _train(
        start, tmp_path, steps=2, rewards={"length": Constant(), "format": Constant()}, weight_decay=0
    )
    before = LlamaForCausalLM.from_pretrained(start).state_dict()
    with state.models.as_policy() as policy:
        assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())
    assert metrics["group/without_spread"][1] == 1.0


def test_a_group_with_one_survivor_is_skipped_and_silence_masks_the_whole_rollout(start, tmp_path):
    rewards = {"length": Counting("good", is_silent=lambda text: "very" in text), "format": Counting("so")}
    _, metrics = _train(start, tmp_path, steps=2, rewards=rewards, lr=1e-4)
    assert 0 < metrics["no_verdict/share"][1] < 1
    assert metrics["no_verdict/timeout"][1] == metrics["no_verdict/share"][1] * PER_STEP
    with RunDirectory.read(tmp_path / "toy") as run:
        for it in run.database.rollouts():
            assert (it.reward is None) == (it.scores is None) == ("very" in it.text)


def test_a_judge_that_is_silent_throughout_stops_the_run(start, tmp_path):
    silent = {"pairwise": CountingJudge(is_silent=lambda text: True), "format": Counting("so")}
    sections = {"rewards": [{"kind": "pairwise", "judge": "unused"}, {"kind": "format"}]}
    with pytest.raises(StoppedError, match="step 1: 32 of 32 rollouts have no score"):
        _train(start, tmp_path, steps=2, rewards=silent, sections=sections)


def test_with_the_ladder_reward_in_the_mix_groups_climb(start, tmp_path):
    rewards = {"pairwise": CountingJudge(), "format": Counting("so")}
    sections = {"rewards": [{"kind": "pairwise", "judge": "unused"}, {"kind": "format"}]}
    state, metrics = _train(start, tmp_path, steps=20, rewards=rewards, sections=sections)
    assert state.curriculum.rungs.mean() > 0.9, "64 prompts, each visited once and some twice"
    assert metrics["outcome/win"][1] > 0
    with RunDirectory.read(tmp_path / "toy") as run:
        rollouts = list(run.database.rollouts(step=1))
    groups = [rollouts[place : place + GROUP] for place in range(0, PER_STEP, GROUP)]
    assert all(len({(it.prompt_id, it.rung, it.reference) for it in group}) == 1 for group in groups)


def test_resampling_replaces_groups_that_say_nothing_and_repeats_itself(start, tmp_path):
    class Picky:
        """Has something to say about some prompts only."""

        async def score(self, prompt, *, response, reference, step):
            return RewardResult(response.answer.split().count("good") / 12 if int(prompt.id) % 2 else 0.5)

    def run(folder):
        return _train(start, folder, steps=3, rewards={"length": Picky()}, kinds=("length",), resample=3)

    state, _ = run(tmp_path / "a")
    other, _ = run(tmp_path / "b")
    assert torch.equal(policy_weights(state), policy_weights(other))
    with RunDirectory.read(tmp_path / "a" / "toy") as read:
        steps = [list(read.database.rollouts(step=step)) for step in (1, 2, 3)]
    for rollouts in steps:
        prompts = list(dict.fromkeys(it.prompt_id for it in rollouts))
        assert len(rollouts) == GROUP * len(prompts), "no prompt comes twice"
        assert sum(int(it) % 2 for it in prompts) >= PER_STEP // GROUP
        assert [it.row for it in rollouts] == list(range(len(rollouts)))
    assert max(map(len, steps)) > PER_STEP, "some prompts said nothing"


def test_responses_that_were_cut_off_can_be_left_out_of_the_update(start, tmp_path):
    sections = {"generation": {"max_tokens": 2}}
    learned, metrics = _train(start, tmp_path / "learn", steps=1, sections=sections)
    assert 0 < metrics["text/cut_off"][1] < 1
    masked, _ = _train(start, tmp_path / "mask", steps=1, sections=sections, overlong="mask")
    assert not torch.equal(policy_weights(learned), policy_weights(masked))


def test_small_pieces_give_the_same_weights(start, tmp_path):
    for loss in ("sequence", "token"):
        whole, _ = _train(start, tmp_path / f"whole-{loss}", steps=3, loss=loss)
        sections = {"memory": {"max_tokens_per_microbatch": 40, "gradient_checkpointing": True}}
        pieces, _ = _train(start, tmp_path / f"pieces-{loss}", steps=3, loss=loss, sections=sections)
        torch.testing.assert_close(policy_weights(pieces), policy_weights(whole), rtol=0, atol=2e-4)


def test_adapters_learn_without_a_critic(tmp_path):
    start = save_model(tmp_path / "start", initializer_range=0.5)
    _, metrics = _train(start, tmp_path, steps=25, sections={"lora": {"rank": 8, "alpha": 32}}, kl_coef=1e-6)
    assert metrics["reward/mean"][25] > metrics["reward/mean"][1] + 0.1
    assert metrics["policy/kl_to_start"][25] > 0.05


def test_a_run_that_is_cut_and_resumed_goes_on_as_the_whole_run(start, tmp_path):
    settings = {"resample": 1, "kl_coef": 0.01, "sections": {"curriculum": {"top": "self"}}}
    whole, _ = _train(start, tmp_path / "whole", steps=6, **settings)
    _train(start, tmp_path / "cut", steps=6, stop_after=3, **settings)
    resumed, _ = _train(start, tmp_path / "cut", steps=6, **settings)
    assert torch.equal(policy_weights(resumed), policy_weights(whole))
    exports = []
    for name in ("whole", "cut"):
        with RunDirectory.read(tmp_path / name / "toy") as run:
            exports.append([(it.step, it.row, it.text, it.scores) for it in run.database.rollouts()])
    assert exports[0] == exports[1]
