"""A recipe as verl's configuration, composed with verl's own schema, so that a wrong key fails before anything starts.

The recipe defines the training, its section `cluster` the machines, and `cluster.verl` any other setting of verl. A setting
that verl does not support is an error; none is silently ignored.
"""

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from longform.planning.cluster import tokens_at_once
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.rewards.settings import LikelihoodSettings, WritingSettings
from longform.rl.settings import CRITIC_WARMUP, GrpoSettings, PpoSettings

TRAINER = "longform"
"""Name of longform's trainer in `trainer.v1.trainer_mode`."""
AGENT_LOOP = "longform"
"""Name of longform's rollout in `actor_rollout_ref.rollout.agent.default_agent_loop`."""
REWARD_MANAGER = "LongformRewardManager"
REWARD_MODULE = "pkg://longform.cluster.reward_manager"
_NO_DUAL_CLIP = 1e6
"""verl always bounds the loss of tokens with a negative advantage; this bound is never reached."""
_ACTOR, _ROLLOUT, _REF = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.ref"
_RAW_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A chat template that leaves a prompt unchanged; verl always applies one."""
_OWNED = {
    "trainer.experiment_name",
    "trainer.total_training_steps",
    "trainer.default_local_dir",
    "trainer.resume_mode",
    "trainer.v1.trainer_mode",
    "data.train_batch_size",
    "longform.recipe",
    "longform.generation",
    "actor_rollout_ref.rollout.agent.default_agent_loop",
}
"""Further keys that longform sets itself, because launcher, trainer and run actor must agree on them."""
Overrides = dict[str, Any]


def compose_config(recipe: Recipe, *, data: Path, checkpoints: Path, resume: bool = False) -> DictConfig:
    """The whole configuration of a verl run.

    Args:
        recipe: whose engine is `cluster`.
        data: folder of train.parquet and validation.parquet.
        checkpoints: folder that verl writes its checkpoints into.
        resume: continue from the newest checkpoint.

    Raises:
        BadInputError: verl does not support a setting of the recipe, or `cluster.verl` has an unknown key.
    """
    check_supported(recipe)
    name = "ppo_megatron_trainer" if recipe.machines.trainer == "megatron" else "ppo_trainer"
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(name)
    for key, value in verl_settings(recipe, data=data, checkpoints=checkpoints, resume=resume).items():
        _set(config, key, value, source="longform")
    for key, value in recipe.machines.verl.items():
        _set(config, key, value, source="cluster.verl")
    return config


def check_supported(recipe: Recipe) -> None:
    """Refuse what verl has no counterpart for.

    Raises:
        BadInputError: names the key.
    """
    optim = recipe.optim
    refused = {
        "optim.lr_end_ratio: verl's warm-up is followed by a constant rate; leave it at 1": optim.lr_end_ratio != 1,
        "optim.resample: engine cluster does not draw further prompts; leave it at 0": isinstance(optim, GrpoSettings)
        and optim.resample > 0,
        "optim.mini_batch: on a cluster it has to hold whole groups, a multiple of data.group": recipe.mini_batch
        % recipe.data.group
        != 0,
        "run.keep_policies: on a cluster it has to be a multiple of run.checkpoint_every": recipe.run.keep_policies
        is not None
        and recipe.run.keep_policies % recipe.run.checkpoint_every != 0,
        "rewards.writing: reward workers hold no reward model; have vLLM serve it (rewards.writing.endpoint)": any(
            isinstance(it, WritingSettings) and not it.endpoints for it in recipe.rewards
        ),
        "rewards.likelihood: reward workers hold no frozen model; take engine: local": any(
            isinstance(it, LikelihoodSettings) for it in recipe.rewards
        ),
        "lora: verl 0.9 saves adapters in a form that cannot be loaded as a writer; leave it out": recipe.lora
        is not None,
        "generation.temperature: at 0 verl divides by it; take a small one": recipe.generation.temperature == 0,
        "cluster.checkpoints: several nodes need a folder that all of them share": recipe.machines.nodes > 1
        and recipe.machines.checkpoints is None,
        **{f"cluster.verl: {key} is the recipe's to say": key.lstrip("+") in _OWNED for key in recipe.machines.verl},
    }
    for message, is_refused in refused.items():
        if is_refused:
            raise BadInputError(message)


def verl_settings(recipe: Recipe, *, data: Path, checkpoints: Path, resume: bool) -> Overrides:
    """Verl's settings by their dotted names: everything in which the run differs from verl's defaults."""
    return {
        **_data(recipe, data),
        **_models(recipe),
        **_policy(recipe),
        **(_critic(recipe) if recipe.method == "ppo" else {}),
        **_writing(recipe),
        **_algorithm(recipe),
        **_run(recipe, checkpoints),
        "trainer.resume_mode": "auto" if resume else "disable",
    }


def _data(recipe: Recipe, folder: Path) -> Overrides:
    train = str(folder / "train.parquet")
    return {
        "data.train_files": train,
        "data.val_files": str(folder / "validation.parquet") if recipe.validation else train,
        "data.train_batch_size": recipe.data.per_step,
        "data.max_prompt_length": recipe.generation.max_prompt_tokens,
        "data.max_response_length": recipe.generation.max_tokens,
        "data.seed": recipe.run.seed,
        "data.shuffle": False,  # the curriculum draws
        **{
            f"+data.apply_chat_template_kwargs.{name}": value
            for name, value in recipe.generation.chat_template_kwargs.items()
        },
        "data.dataloader_num_workers": 0,
    }


def _models(recipe: Recipe) -> Overrides:
    # Workers of a running cluster have their own working folders.
    policy = str(Path(recipe.policy).absolute()) if Path(recipe.policy).is_dir() else recipe.policy
    settings: Overrides = {}
    for place in ("actor_rollout_ref.model", *(["critic.model"] if recipe.method == "ppo" else [])):
        settings |= {
            f"{place}.path": policy,
            f"{place}.enable_gradient_checkpointing": recipe.memory.gradient_checkpointing,
            f"{place}.trust_remote_code": recipe.trust_remote_code,
        }
    if not recipe.generation.uses_chat_template:
        settings["actor_rollout_ref.model.custom_chat_template"] = _RAW_TEMPLATE
    return settings


def _policy(recipe: Recipe) -> Overrides:
    optim, machines = recipe.optim, recipe.machines
    clip_high = optim.clip_high if isinstance(optim, GrpoSettings) else None
    dual_clip = optim.dual_clip if isinstance(optim, PpoSettings) else None
    by_sequence = isinstance(optim, GrpoSettings) and optim.loss == "sequence"
    settings = {
        f"{_ACTOR}.ppo_mini_batch_size": recipe.mini_batch // recipe.data.group,  # verl counts prompts
        f"{_ACTOR}.ppo_epochs": optim.epochs,
        f"{_ACTOR}.clip_ratio": optim.clip,
        f"{_ACTOR}.clip_ratio_low": optim.clip,
        f"{_ACTOR}.clip_ratio_high": optim.clip if clip_high is None else clip_high,
        f"{_ACTOR}.clip_ratio_c": _NO_DUAL_CLIP if dual_clip is None else dual_clip,
        f"{_ACTOR}.entropy_coeff": optim.entropy_coef,
        f"{_ACTOR}.calculate_entropy": True,
        f"{_ACTOR}.loss_agg_mode": "seq-mean-token-mean" if by_sequence else "token-mean",
        f"{_ACTOR}.optim.clip_grad": optim.max_grad_norm,
        f"{_ACTOR}.shuffle": True,
        f"{_ACTOR}.data_loader_seed": recipe.run.seed,
        f"{_ACTOR}.use_dynamic_bsz": True,
        f"{_ACTOR}.ppo_max_token_len_per_gpu": tokens_at_once(recipe),
        f"{_ACTOR}.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
        **_optimizer(f"{_ACTOR}.optim", recipe, lr=optim.lr, warmup=optim.warmup_steps, share=optim.default_warmup),
    }
    if isinstance(optim, GrpoSettings) and optim.kl_coef > 0:
        settings |= {
            f"{_ACTOR}.use_kl_loss": True,
            f"{_ACTOR}.kl_loss_coef": optim.kl_coef,
            f"{_ACTOR}.kl_loss_type": "low_var_kl",
        }
    if machines.trainer == "megatron":
        return settings | {
            f"{_ACTOR}.megatron.tensor_model_parallel_size": machines.tensor_parallel,
            f"{_ACTOR}.megatron.context_parallel_size": machines.sequence_parallel,
            f"{_ACTOR}.megatron.param_offload": machines.offload,
            f"{_ACTOR}.megatron.optimizer_offload": machines.offload,
        }
    return settings | {
        f"{_ACTOR}.strategy": "fsdp2",
        f"{_ACTOR}.grad_clip": optim.max_grad_norm,
        f"{_ACTOR}.ulysses_sequence_parallel_size": machines.sequence_parallel,
        **_precision(recipe, f"{_ACTOR}.fsdp_config", f"{_REF}.fsdp_config"),
        f"{_REF}.fsdp_config.param_offload": machines.offload,
        f"{_ACTOR}.fsdp_config.param_offload": machines.offload,
        f"{_ACTOR}.fsdp_config.optimizer_offload": machines.offload,
    }


def _critic(recipe: Recipe) -> Overrides:
    optim, machines = recipe.ppo, recipe.machines
    settings = {
        "critic.ppo_max_token_len_per_gpu": tokens_at_once(recipe),
        "critic.cliprange_value": optim.value_clip,
        "critic.optim.clip_grad": optim.max_grad_norm,
        "critic.data_loader_seed": recipe.run.seed,
        **_optimizer("critic.optim", recipe, lr=optim.critic_lr, warmup=optim.critic_warmup_steps, share=CRITIC_WARMUP),
    }
    if machines.trainer == "megatron":
        return settings | {
            "critic.megatron.tensor_model_parallel_size": machines.tensor_parallel,
            "critic.megatron.context_parallel_size": machines.sequence_parallel,
            "critic.megatron.param_offload": machines.offload,
            "critic.megatron.optimizer_offload": machines.offload,
        }
    return settings | {
        "critic.strategy": "fsdp2",
        "critic.grad_clip": optim.max_grad_norm,
        "critic.ulysses_sequence_parallel_size": machines.sequence_parallel,
        **_precision(recipe, "critic.fsdp"),
        "critic.fsdp.param_offload": machines.offload,
        "critic.fsdp.optimizer_offload": machines.offload,
    }


def _precision(recipe: Recipe, *places: str) -> Overrides:
    """Verl's FSDP multiplies in bfloat16 unless it is told otherwise here; its `dtype` alone changes nothing."""
    if recipe.memory.precision == "bfloat16":
        return {}
    whole = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    return {f"+{place}.mixed_precision": whole for place in places}


def _optimizer(place: str, recipe: Recipe, *, lr: float, warmup: int | None, share: float) -> Overrides:
    settings = {
        f"{place}.lr": lr,
        f"{place}.lr_warmup_steps": round(share * recipe.run.steps) if warmup is None else warmup,
        f"{place}.weight_decay": recipe.optim.weight_decay,
        f"{place}.betas": list(recipe.optim.betas),
    }
    return settings if recipe.machines.trainer == "megatron" else settings | {f"{place}.zero_indexed_step": False}


def _writing(recipe: Recipe) -> Overrides:
    generation, machines = recipe.generation, recipe.machines
    drawn = {"temperature": generation.temperature, "top_p": generation.top_p}
    return {
        f"{_ROLLOUT}.name": machines.rollout,
        f"{_ROLLOUT}.n": recipe.data.group,
        f"{_ROLLOUT}.agent.default_agent_loop": AGENT_LOOP,
        **{f"{_ROLLOUT}.{name}": value for name, value in drawn.items()},
        **{f"{_ROLLOUT}.val_kwargs.{name}": value for name, value in drawn.items()},
        f"{_ROLLOUT}.val_kwargs.do_sample": generation.temperature > 0,
        f"{_ROLLOUT}.dtype": recipe.memory.precision,
        f"{_ROLLOUT}.gpu_memory_utilization": machines.rollout_memory,
        f"{_ROLLOUT}.tensor_model_parallel_size": machines.tensor_parallel,
        f"{_ROLLOUT}.max_model_len": generation.max_prompt_tokens + generation.max_tokens,
        f"{_ROLLOUT}.seed": recipe.run.seed,
    }


def _algorithm(recipe: Recipe) -> Overrides:
    optim = recipe.optim
    if isinstance(optim, GrpoSettings):
        return {"algorithm.adv_estimator": "grpo"}
    return {
        "algorithm.adv_estimator": "gae",
        "algorithm.gamma": optim.gamma,
        "algorithm.lam": optim.lam,
        "algorithm.use_kl_in_reward": optim.kl_coef > 0,
        "algorithm.kl_ctrl.kl_coef": optim.kl_coef,
    }


def _run(recipe: Recipe, checkpoints: Path) -> Overrides:
    run, machines, validation = recipe.run, recipe.machines, recipe.validation
    return {
        "trainer.project_name": "longform",
        "trainer.experiment_name": run.name,
        "trainer.logger": ["console"],
        "trainer.nnodes": machines.nodes,
        "trainer.n_gpus_per_node": machines.gpus_per_node,
        "trainer.total_training_steps": run.steps,
        "trainer.total_epochs": run.steps + 1,  # the number of steps ends a run
        "trainer.save_freq": run.checkpoint_every,
        "trainer.test_freq": validation.every if validation else -1,
        "trainer.val_before_train": validation is not None,
        "trainer.default_local_dir": str(checkpoints),
        "trainer.v1.trainer_mode": TRAINER,
        "reward.num_workers": machines.reward_workers,
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": REWARD_MANAGER,
        "reward.reward_manager.module.path": REWARD_MODULE,
        "+longform.recipe": str((recipe.run_path / "recipe.yaml").absolute()),
        "+longform.generation": recipe.generation.model_dump(mode="json"),
    }


def _set(config: DictConfig, key: str, value: Any, *, source: str) -> None:
    """Put one setting in; `+` before a name adds it, as with Hydra."""
    try:
        if key.startswith("+"):
            with open_dict(config):
                OmegaConf.update(config, key[1:], value, force_add=True)
        else:
            OmegaConf.update(config, key, value)
    except (OmegaConfBaseException, HydraException) as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"{source}: verl's configuration does not take {key}: {reason}") from error
