"""The training loop on a model of a few thousand weights and a judge that is a function of the text."""

import pytest
import torch
from toy import PER_STEP, CountingJudge, policy_weights, save_model, train_toy
from transformers import LlamaForCausalLM

from artifacts import verdict_export
from longform.records.errors import StoppedError
from longform.records.run_directory import RunDirectory
from longform.writers.local import LocalWriter


@pytest.fixture
def start(tmp_path):
    """A model folder with random weights and a word-level tokenizer."""
    return save_model(tmp_path / "start")


@pytest.fixture
def opinionated_start(tmp_path):
    """The same with an output head that adapters below it can make use of: the head itself is frozen then."""
    return save_model(tmp_path / "start", initializer_range=0.5)


def _train(start, folder, *, steps, judge=None, group=1, sections=None, stop_after=None, **optim):
    sections = {
        "data": {"ladders": "unused.jsonl", "per_step": PER_STEP // group, "group": group},
        **(sections or {}),
        "optim": {
            "lr": 1e-2,
            "critic_lr": 1e-2,
            "warmup_steps": 0,
            "critic_warmup_steps": 0,
            "mini_batch": 8,
            **optim,
        },
    }
    rewards = None if judge is None else {"pairwise": judge}
    return train_toy(start, folder, sections, steps=steps, rewards=rewards, stop_after=stop_after)


def test_the_policy_learns_what_the_judge_likes_and_climbs(start, tmp_path):
    state, metrics = _train(start, tmp_path, steps=12)
    assert state.curriculum.rungs.mean() > 3
    assert metrics["policy/kl_to_start"][12] > 0.05
    idle, _ = _train(start, tmp_path / "idle", steps=12, lr=0.0, critic_lr=0.0)
    assert state.curriculum.rungs.mean() > idle.curriculum.rungs.mean() + 1


def test_learning_rate_zero_changes_no_weight(start, tmp_path):
    state, _ = _train(start, tmp_path, steps=2, lr=0.0, critic_lr=0.0)
    before = LlamaForCausalLM.from_pretrained(start).state_dict()
    with state.models.as_policy() as policy:
        assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())


def test_before_the_first_update_the_policy_is_the_start(start, tmp_path):
    _, metrics = _train(start, tmp_path, steps=1)
    assert metrics["policy/kl_to_start"][1] == pytest.approx(0, abs=1e-6)
    assert metrics["policy/clip_fraction"][1] < 0.5


def test_the_same_recipe_gives_the_same_weights(start, tmp_path):
    first, _ = _train(start, tmp_path / "a", steps=3)
    second, _ = _train(start, tmp_path / "b", steps=3)
    weights = first.models.policy_parameters(), second.models.policy_parameters()
    for one, other in zip(*weights, strict=True):
        assert torch.equal(one, other)


def test_silence_is_counted_by_cause_and_gives_no_reward(start, tmp_path):
    judge = CountingJudge(is_silent=lambda text: "very" in text)
    _, metrics = _train(start, tmp_path, steps=2, judge=judge, lr=1e-4)
    share = metrics["no_verdict/share"][1]
    assert 0 < share < 1
    assert metrics["no_verdict/timeout"][1] == share * PER_STEP
    outcomes = [metrics[f"outcome/{name}"][1] for name in ("win", "tie", "loss")]
    assert sum(outcomes) == pytest.approx(1.0), "shares are over rollouts with a verdict"


def test_a_judge_that_is_silent_throughout_stops_the_run_and_leaves_nothing_half_done(start, tmp_path):
    with pytest.raises(StoppedError, match="step 1: 32 of 32 rollouts have no score"):
        _train(start, tmp_path, steps=2, judge=CountingJudge(is_silent=lambda text: True))
    with RunDirectory.read(tmp_path / "toy") as run:
        assert run.database.last_step() == 0
        assert run.checkpoint_steps() == []


def test_a_group_faces_one_reference_and_gives_several_responses(start, tmp_path):
    _train(start, tmp_path, steps=2, group=4)
    with RunDirectory.read(tmp_path / "toy") as run:
        rollouts = list(run.database.rollouts(step=1))
    assert len(rollouts) == PER_STEP
    groups = [rollouts[place : place + 4] for place in range(0, PER_STEP, 4)]
    assert all(len({(it.prompt_id, it.rung, it.reference) for it in group}) == 1 for group in groups)
    assert len({it.prompt_id for it in rollouts}) == PER_STEP // 4
    assert any(len({it.text for it in group}) > 1 for group in groups)


def test_beyond_the_last_reference_a_prompt_faces_the_response_that_won(start, tmp_path):
    state, _ = _train(start, tmp_path, steps=15, sections={"curriculum": {"top": "self"}})
    assert state.curriculum.rungs.max() > 5
    with RunDirectory.read(tmp_path / "toy") as run:
        rollouts = list(run.database.rollouts())
        beyond = [it for it in rollouts if it.rung > 5]
        assert beyond, "a prompt has to come back to what it wrote"
        for it in beyond:
            winners = [
                earlier.text
                for earlier in rollouts
                if earlier.prompt_id == it.prompt_id and earlier.rung == it.rung - 1 and earlier.outcome == "win"
            ]
            assert it.reference == winners[-1]


def test_the_moments_on_record_are_those_of_the_advantages(start, tmp_path):
    _train(start, tmp_path, steps=1, lr=0.0, critic_lr=0.0, kl_coef=0.0)
    with RunDirectory.read(tmp_path / "toy") as run:
        for it in run.database.rollouts():
            assert it.reward is not None and it.advantages is not None
            advantage = it.reward - 0.5  # the critic predicts a tie everywhere before it has learned
            expected = (it.tokens * advantage, it.tokens * advantage**2, it.tokens * advantage)
            assert it.advantages[1:] == pytest.approx(expected, abs=1e-4)


def test_small_pieces_small_batches_and_recomputed_layers_give_the_same_weights(start, tmp_path):
    whole, _ = _train(start, tmp_path / "whole", steps=3)
    frugal = {
        "memory": {"max_tokens_per_microbatch": 40, "gradient_checkpointing": True},
        "generation": {"max_tokens": 12, "batch": 5},
    }
    pieces, metrics = _train(start, tmp_path / "pieces", steps=3, sections=frugal)
    torch.testing.assert_close(policy_weights(pieces), policy_weights(whole), rtol=0, atol=2e-4)
    moved = policy_weights(whole) - torch.cat(
        [parameter.detach().flatten() for parameter in LlamaForCausalLM.from_pretrained(start).parameters()]
    )
    assert moved.abs().max() > 0.02, "weights that did not move would be the same by themselves"
    assert metrics["policy/clip_fraction"][1] < 0.5


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.full)])
def test_adapters_learn_while_the_weights_below_them_stay(opinionated_start, tmp_path, precision):
    sections = {"lora": {"rank": 8, "alpha": 32}, "memory": {"precision": precision, "gradient_checkpointing": True}}
    state, metrics = _train(opinionated_start, tmp_path, steps=12, sections=sections, lr=1e-2, critic_lr=1e-2)
    assert metrics["policy/kl_to_start"][1] == pytest.approx(0, abs=2e-2), "the reference is the model without adapters"
    assert metrics["policy/kl_to_start"][12] > 0.05
    assert state.curriculum.rungs.mean() > 2
    below = LlamaForCausalLM.from_pretrained(opinionated_start).to(getattr(torch, precision)).state_dict()
    with state.models.as_reference() as reference:
        held = reference.state_dict()
    for name, weight in below.items():
        adapted = name.replace("_proj.weight", "_proj.base_layer.weight")
        assert torch.equal(held[adapted if adapted in held else name], weight), name


def test_bfloat16_learns_with_weights_in_float32(start, tmp_path):
    state, metrics = _train(start, tmp_path, steps=12, sections={"memory": {"precision": "bfloat16"}})
    assert state.curriculum.rungs.mean() > 2
    assert {parameter.dtype for parameter in state.models.policy_parameters()} == {torch.float32}
    assert metrics["policy/kl_to_start"][1] == pytest.approx(0, abs=2e-2)


def test_saved_adapters_are_a_writer_and_load_into_another_run(start, tmp_path):
    sections = {"lora": {"rank": 4, "alpha": 8}}
    state, _ = _train(start, tmp_path, steps=2, sections=sections)
    folder = tmp_path / "saved"
    folder.mkdir()
    state.models.save(folder)
    other, _ = _train(start, tmp_path / "other", steps=1, sections=sections)
    other.models.load(folder)
    assert torch.equal(policy_weights(other), policy_weights(state))
    tokens = torch.tensor([[1, 2, 4, 2, 5]])
    writer = LocalWriter(str(folder / "policy"), device="cpu")
    with torch.no_grad():
        with state.models.as_policy() as policy:
            expected = policy(tokens).logits
        torch.testing.assert_close(writer.model(tokens).logits, expected, rtol=0, atol=1e-5)
        with state.models.as_reference() as reference:
            assert not torch.allclose(reference(tokens).logits, expected, atol=1e-4)


def test_adapters_can_be_the_start_of_another_run(opinionated_start, tmp_path):
    adapted, _ = _train(opinionated_start, tmp_path, steps=2, sections={"lora": {"rank": 4, "alpha": 8}})
    folder = tmp_path / "saved"
    folder.mkdir()
    adapted.models.save(folder)
    tokens = torch.tensor([[1, 2, 4, 2, 5]])
    for sections in ({}, {"lora": {"rank": 4, "alpha": 8}}):
        again, _ = _train(folder / "policy", tmp_path / f"again-{len(sections)}", steps=1, lr=0.0, sections=sections)
        with torch.no_grad(), adapted.models.as_policy() as before, again.models.as_policy() as after:
            torch.testing.assert_close(after(tokens).logits, before(tokens).logits, rtol=0, atol=1e-5)


def test_a_state_that_is_cut_and_resumed_goes_on_as_the_whole_run(opinionated_start, tmp_path):
    sections = {
        "lora": {"rank": 4, "alpha": 8},
        "curriculum": {"top": "self"},
        "memory": {"max_tokens_per_microbatch": 60},
    }
    whole, _ = _train(opinionated_start, tmp_path / "whole", steps=6, group=4, sections=sections)
    _train(opinionated_start, tmp_path / "cut", steps=6, group=4, sections=sections, stop_after=3)
    resumed, _ = _train(opinionated_start, tmp_path / "cut", steps=6, group=4, sections=sections)
    assert torch.equal(policy_weights(resumed), policy_weights(whole))
    with resumed.models.as_critic() as one, whole.models.as_critic() as other:
        assert torch.equal(one.head.weight, other.head.weight)
    assert resumed.curriculum.rungs.tolist() == whole.curriculum.rungs.tolist()
    exports = []
    for name in ("whole", "cut"):
        with RunDirectory.read(tmp_path / name / "toy") as run:
            exports.append(verdict_export(run.database))
    assert exports[0] == exports[1]
