"""A recipe as verl's configuration: what it says is there under verl's names, and what verl cannot do is refused."""

from pathlib import Path

import pytest
from small_run import cluster_recipe

from longform.cluster.config import compose_config
from longform.records.errors import BadInputError


def _compose(recipe):
    return compose_config(recipe, data=Path("data"), checkpoints=Path("checkpoints"))


def test_ppo_has_a_critic_and_its_kl_in_the_reward(tmp_path):
    config = _compose(cluster_recipe(tmp_path, optim={"kl_coef": 0.01, "critic_lr": 2e-5, "value_clip": 0.4}))
    assert (config.algorithm.adv_estimator, config.algorithm.use_kl_in_reward) == ("gae", True)
    assert config.algorithm.kl_ctrl.kl_coef == 0.01
    assert (config.critic.optim.lr, config.critic.cliprange_value) == (2e-5, 0.4)
    assert config.critic.model.path == str(tmp_path)
    assert config.actor_rollout_ref.actor.loss_agg_mode == "token-mean"


def test_grpo_has_groups_and_no_critic(tmp_path):
    config = _compose(
        cluster_recipe(tmp_path, method="grpo", optim={"mini_batch": 8, "clip_high": 0.28, "loss": "sequence"})
    )
    actor = config.actor_rollout_ref.actor
    assert (config.algorithm.adv_estimator, config.actor_rollout_ref.rollout.n) == ("grpo", 4)
    assert actor.ppo_mini_batch_size == 2, "verl counts prompts"
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.loss_agg_mode) == (0.2, 0.28, "seq-mean-token-mean")
    assert actor.clip_ratio_c > 1000, "GRPO has no dual clip"
    assert not actor.use_kl_loss


def test_warm_up_counts_steps_as_the_local_engine_does(tmp_path):
    actor, critic = (
        _compose(cluster_recipe(tmp_path)).actor_rollout_ref.actor,
        _compose(cluster_recipe(tmp_path)).critic,
    )
    assert (actor.optim.lr_warmup_steps, critic.optim.lr_warmup_steps) == (4, 0), "0.4 and 0.05 of 10 steps, rounded"
    assert actor.optim.zero_indexed_step is False


def test_whole_precision_reaches_the_engine(tmp_path):
    whole = _compose(cluster_recipe(tmp_path))
    assert whole.actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype == "fp32"
    half = _compose(cluster_recipe(tmp_path, memory={"precision": "bfloat16"}))
    assert half.actor_rollout_ref.actor.fsdp_config.get("mixed_precision") is None
    assert half.actor_rollout_ref.rollout.dtype == "bfloat16"


def test_settings_of_verl_come_last_and_new_ones_are_marked(tmp_path):
    verl = {"trainer.device": "cpu", "+ray_kwargs.ray_init.num_gpus": 1}
    config = _compose(cluster_recipe(tmp_path, cluster={"verl": verl}))
    assert (config.trainer.device, config.ray_kwargs.ray_init.num_gpus) == ("cpu", 1)


@pytest.mark.parametrize("key", ["actor_rollout_ref.actor.clip_ration", "nothing.at.all", "trainer.sampler"])
def test_a_key_that_verl_does_not_know_is_one_line(tmp_path, key):
    with pytest.raises(BadInputError, match=r"^cluster\.verl: verl's configuration does not take " + key) as raised:
        _compose(cluster_recipe(tmp_path, cluster={"verl": {key: 1}}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        ("optim.lr_end_ratio", {"optim": {"lr_end_ratio": 0.1}}),
        ("rewards.writing", {"rewards": [{"kind": "writing", "model": "m"}]}),
        ("rewards.likelihood", {"rewards": [{"kind": "likelihood"}], "generation": {"think": "on"}}),
        ("lora", {"lora": {}}),
        ("generation.temperature", {"generation": {"temperature": 0}}),
        ("cluster.checkpoints", {"cluster": {"nodes": 2, "ray_address": "auto"}}),
        ("trainer.experiment_name", {"cluster": {"verl": {"trainer.experiment_name": "other"}}}),
    ],
)
def test_what_verl_cannot_do_is_refused_by_its_key(tmp_path, key, sections):
    with pytest.raises(BadInputError, match=key):
        _compose(cluster_recipe(tmp_path, **sections))


def test_a_reward_model_behind_an_endpoint_is_taken(tmp_path):
    _compose(cluster_recipe(tmp_path, rewards=[{"kind": "writing", "model": "m", "endpoint": "a"}]))


@pytest.mark.parametrize(
    ("key", "optim"), [("optim.resample", {"resample": 1}), ("optim.mini_batch", {"mini_batch": 6})]
)
def test_what_verl_cannot_do_with_groups_is_refused_by_its_key(tmp_path, key, optim):
    with pytest.raises(BadInputError, match=key):
        _compose(cluster_recipe(tmp_path, method="grpo", optim=optim))
