"""Unmodified verl on a processor: PPO from `longform train`, killed and resumed; GRPO from a verl command of one's own."""

import json

import numpy as np
import pytest
from world import ON_CPU, finished, kill_after, start, train, write_recipe, write_world

from longform.miniature.judge import asked_dimensions
from longform.records.files import read_rows
from longform.records.interchange import write_verl
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder


def _answer(body, reply):
    """A judge that finds most texts better, some worse, and says nothing about every fifth; an examiner that grades 4; a
    reward model that scores by the tokens.
    """
    if body["model"] == "writing":
        return reply(body=json.dumps({"data": [{"probs": [sum(body["input"]) % 7 - 3]}]}))
    question = body["messages"][-1]["content"]
    if body["model"] == "examiner":
        return json.dumps({"scores": dict.fromkeys(asked_dimensions(question), 4)})
    if "<<<TEXT C " in question:
        return "Nobody is last. [[B > A = C]]"
    place = sum(map(ord, question)) % 5
    return ["[[B]]", "[[B]]", "[[A]]", "[[B]]", "I cannot say."][place]


@pytest.fixture(scope="module")
def world(tmp_path_factory, serve_module, reply):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, serve_module(lambda body, number: _answer(body, reply)).url)
    return folder


def _rungs(run, step):
    with np.load(run / "checkpoints" / f"global_step_{step}" / "curriculum.npz") as state:
        return state["rungs"]


def test_ppo_killed_and_resumed_goes_on_from_its_rungs(world):
    generation = {"max_tokens": 16, "max_prompt_tokens": 96, "chat_template": "off", "stop": ["w"]}
    recipe = write_recipe(world, "ppo", optim={"mini_batch": 2, "kl_coef": 0.01, "lr": 1e-4}, generation=generation)
    run = world / "runs" / "ppo"
    kill_after(train(world, recipe), run, 3)
    with RunDirectory.read(run) as killed:
        drawn = [it.prompt_id for it in killed.database.rollouts(step=3)]
        faced = [it.rung for it in killed.database.rollouts(step=3)]
    restored = _rungs(run, 2)
    assert restored.sum() > 0, "somebody was beaten in the first two steps"

    finished(train(world, recipe, "--resume"))
    with RunDirectory.read(run) as opened:
        database = opened.database
        assert database.last_step() == 4
        assert [it.prompt_id for it in database.rollouts(step=3)] == drawn
        assert [it.rung for it in database.rollouts(step=3)] == faced
        promotions = database.promotions()
        graded = database.metric("validation/grade")
        assert [step for step, _ in graded] == [0, 2, 4], "once more where it was resumed"
        assert all(1 <= grade <= 4 for _, grade in graded), "4 by the examiner, 1 where nothing was written"
        silent = [it for it in database.rollouts() if it.outcome is None]
        assert silent
        assert all(it.reward is None and it.cause == "no_verdict" for it in silent)
        written = list(database.rollouts())
        assert all("w" not in it.text for it in written), "a stop string ends a response"
        assert any(it.tokens < 16 for it in written)
        assert {"critic/loss", "policy/kl_to_start", "critic/explained_variance"} <= database.metrics().keys()
        assert {"judge/cost", "validation/cost"} <= database.metrics().keys()
    assert _rungs(run, 2).sum() == sum(it.step <= 2 for it in promotions)
    assert _rungs(run, 4).sum() == len(promotions)
    assert (run / "checkpoints" / "global_step_4" / "actor" / "huggingface" / "config.json").exists()


@pytest.mark.representative
def test_grpo_balances_judged_measured_and_modelled_rewards_under_a_verl_command_of_ones_own(world):
    """The few lines that docs/scaling.md shows, in a command that names everything else itself."""
    recipe = write_recipe(
        world,
        "own",
        method="grpo",
        data={"ladders": "ladders.jsonl", "per_step": 3, "group": 3},
        rewards=[
            {"kind": "pairwise", "judge": "judge", "max_judge_failure_rate": 1.0},
            {"kind": "length"},
            {"kind": "format"},
            {"kind": "writing", "model": str(world / "writing"), "endpoint": "writing"},
        ],
        optim={"mini_batch": 9},
        validation=None,
        run={"name": "own", "steps": 2, "checkpoint_every": 2},
    )
    run, train_files = world / "runs" / "own", world / "train.parquet"
    write_verl(train_files, read_rows(world / "ladders.jsonl", Ladder))
    theirs = {
        "data.train_files": train_files,
        "data.val_files": train_files,
        "data.train_batch_size": 3,
        "data.max_prompt_length": 96,
        "data.max_response_length": 16,
        "data.dataloader_num_workers": 0,
        "algorithm.adv_estimator": "grpo",
        "actor_rollout_ref.model.path": world / "policy",
        "actor_rollout_ref.model.enable_gradient_checkpointing": False,
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.actor.optim.lr": 1e-4,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 3,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 3,
        "actor_rollout_ref.rollout.n": 3,
        "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 3,
        "reward.num_workers": 1,
        "trainer.experiment_name": "own",
        "trainer.logger": "[console]",
        "trainer.n_gpus_per_node": 1,
        "trainer.total_training_steps": 2,
        "trainer.val_before_train": False,
        "trainer.default_local_dir": run / "checkpoints",
        **ON_CPU,
    }
    ours = {
        "trainer.v1.trainer_mode": "longform",
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "LongformRewardManager",
        "reward.reward_manager.module.path": "pkg://longform.cluster.reward_manager",
        "+longform.recipe": recipe,
    }
    lines = [f"{key}={value}" for key, value in (theirs | ours).items()]
    finished(start(world, "-m", "verl.trainer.main_ppo", *lines))
    with RunDirectory.read(run) as opened:
        database = opened.database
        steps = [list(database.rollouts(step=step)) for step in (1, 2)]
        assert [len(it) for it in steps] == [9, 9]
        scored = [it.scores for rollouts in steps for it in rollouts if it.scores]
        assert all(set(it) == {"pairwise", "length", "format", "writing"} for it in scored)
        assert {it["writing"] for it in scored} <= set(range(-3, 4)), "as it was served"
        assert {"reward/length/share", "group/skipped"} <= database.metrics().keys()
        assert all(len({it.rung for it in rollouts[n : n + 3]}) == 1 for rollouts in steps for n in (0, 3, 6))
        assert any(value > 0 for _, value in database.metric("policy/grad_norm")), "the policy moved"

    said = finished(start(world, "-m", "longform", "replay", str(run), "--json"))
    replayed = json.loads(said[said.index("{") :])
    assert replayed["outcomes_before"] == replayed["outcomes_after"], "the local code says the same of these texts"
    assert replayed["no_reward_before"] == replayed["no_reward_after"]


def test_grpo_judges_the_responses_of_a_group_against_each_other(world):
    recipe = write_recipe(
        world,
        "groups",
        method="grpo",
        data={"ladders": "ladders.jsonl", "per_step": 3, "group": 3},
        rewards=[{"kind": "group", "judge": "judge", "by": "list", "max_judge_failure_rate": 1.0}, {"kind": "length"}],
        optim={"mini_batch": 9, "lr": 1e-4},
        validation=None,
        run={"name": "groups", "steps": 2, "checkpoint_every": 2},
    )
    finished(train(world, recipe))
    with RunDirectory.read(world / "runs" / "groups") as opened:
        steps = [list(opened.database.rollouts(step=step)) for step in (1, 2)]
        assert [len(it) for it in steps] == [9, 9]
        for rollouts in steps:
            for group in (rollouts[:3], rollouts[3:6], rollouts[6:]):
                written = [it for it in group if it.text.strip()]
                if len(written) == 3:
                    assert len({it.calls for it in group}) == 1, "one question about all three"
                    _, second, best = sorted((it.scores or {})["group"] for it in group)
                    assert best > second
        assert any("group" in (it.scores or {}) for rollouts in steps for it in rollouts)
    said = finished(start(world, "-m", "longform", "replay", str(world / "runs" / "groups"), "--json"))
    replayed = json.loads(said[said.index("{") :])
    assert replayed["no_reward_before"] == replayed["no_reward_after"]
    assert all(it["before"] == it["after"] for it in replayed["rewards"]), "the local code says the same of these texts"
