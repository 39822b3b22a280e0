"""Settings of the optimisation in a recipe, and the learning-rate schedule."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Decay = Annotated[float, Field(ge=0, lt=1)]


POLICY_WARMUP, CRITIC_WARMUP = 0.4, 0.05
"""Of PPO, as fractions of all steps (Writing-RL A.2)."""
GRPO_WARMUP = 0.03
"""Ours, as a fraction of all steps: AdamW's second moments need a few steps, and there is no critic to learn first."""


class OptimSettings(BaseModel):
    """Settings shared by all methods."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lr: float = Field(default=1e-6, ge=0)
    """Peak learning rate of the policy. 0 trains nothing, for control runs."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Warm-up of the policy's learning rate from 0. By default 0.4 of all steps with ppo (Writing-RL: 162 of 405), 0.03
    with grpo, which has no critic to wait for."""
    lr_end_ratio: float = Field(default=1.0, ge=0, le=1)
    """Final learning rate as a fraction of the peak, reached linearly after warm-up (Writing-RL: constant)."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's, as in verl. Set 0 with adapters or very long runs."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of AdamW's two moments. A second one of 0.95 adapts faster where gradients change abruptly."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Larger gradients are scaled down to this norm. Lower it where losses spike."""
    mini_batch: int | None = Field(default=None, ge=1)
    """Rollouts per update. By default 16 with ppo (Writing-RL), or all rollouts of a step if there are fewer; with grpo
    all of a step."""
    epochs: int = Field(default=1, ge=1)
    """Passes over a step's rollouts; with ppo the critic makes as many."""
    clip: float = Field(default=0.2, gt=0)
    """Clip range: the probability ratio is clipped to 1 - clip and 1 + clip."""
    entropy_coef: float = Field(default=0.001, ge=0)
    """Coefficient of the entropy bonus."""
    importance_cap: float = Field(default=2.0, gt=0)
    """For a `generation.engine` other than `own`: the loss of a token is weighted by how much likelier the trainer finds it
    than the engine did, at most by this (truncated importance sampling)."""


class PpoSettings(OptimSettings):
    """Settings of PPO. Defaults are those of Writing-RL (appendix A.2)."""

    method: ClassVar[str] = "ppo"
    default_warmup: ClassVar[float] = POLICY_WARMUP

    critic_lr: float = Field(default=1e-5, ge=0)
    """Peak learning rate of the critic."""
    critic_warmup_steps: int | None = Field(default=None, ge=0)
    """Warm-up of the critic's learning rate; by default 0.05 of all steps (paper: 20 of 405)."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount per token. Below 1 the score counts less for tokens far before the end."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """GAE's lambda. Below 1 advantages rely more on the critic: less variance, more bias."""
    dual_clip: float | None = Field(default=3.0, gt=1)
    """Bounds the loss of a token with a negative advantage at this many times the advantage (Ye et al.
    2020). None: no bound."""
    value_clip: float = Field(default=0.5, gt=0)
    """The critic's values may move this far in an update before their loss stops growing. Scores lie between 0 and 1."""
    kl_coef: float = Field(default=0.001, ge=0)
    """Coefficient of the per-token KL penalty to the initial policy, in the reward. 0 loads no
    reference model."""


class GrpoSettings(OptimSettings):
    """Settings of GRPO.

    LongWriter-Zero publishes a clip of 0.2 and no KL; the other defaults are ours.
    """

    method: ClassVar[str] = "grpo"
    default_warmup: ClassVar[float] = GRPO_WARMUP

    entropy_coef: float = Field(default=0.0, ge=0)
    """Coefficient of the entropy bonus."""
    clip_high: float | None = Field(default=None, gt=0)
    """Upper clip range (DAPO: 0.28), which lets unlikely tokens grow more. None: as `clip`."""
    kl_coef: float = Field(default=0.0, ge=0)
    """Coefficient of the KL loss to the initial policy (paper: 0). 0 loads no reference model."""
    loss: Literal["sequence", "token"] = "sequence"
    """sequence: mean over responses of the mean over their tokens, as in GRPO. token: mean over all tokens (DAPO), which
    gives long responses more weight."""
    overlong: Literal["learn", "mask"] = "learn"
    """Responses that were cut off at max_tokens: `mask` leaves them out of the update (DAPO), but not out of the mean of
    their group."""
    resample: int = Field(default=0, ge=0)
    """Rounds of dynamic sampling (DAPO): zero-variance groups are replaced with new prompts."""
    down_sample: int | None = Field(default=None, ge=1)
    """Responses of each group that the update learns from: those with the largest advantages, positive or negative (after
    PODS, Xu et al. 2025). Where an update costs more than writing, a larger group of which half is kept learns more in
    the same time. None: all."""
    diversity: bool = False
    """Multiply the rewards of a response by its lexical distance from the others of its group, the largest being 1 (after
    DARLING). For rewards that are not negative."""


class LoraSettings(BaseModel):
    """Low-rank adapters (LoRA, Hu et al. 2021) instead of full fine-tuning: all three roles share one copy of
    the weights.

    The policy is one adapter, the critic another one with a value head, and the reference model the weights without
    adapters. Every matrix inside the model gets adapters; output head and embeddings get none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=32, ge=1)
    """Of each adapter. A higher rank can learn more, and takes more memory."""
    alpha: int | None = Field(default=None, ge=1)
    """Scales the output of adapters by alpha / rank; by default twice the rank."""


class MemorySettings(BaseModel):
    """Memory of a run. These settings change no result, except for the rounding of bfloat16."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products and frozen weights. Trained weights and their optimizer stay in float32."""
    quantize: Literal["nf4"] | None = None
    """Frozen weights below adapters in 4 bits, as in QLoRA, by bitsandbytes; only with `lora`."""
    optimizer_bits: Literal[32, 8] = 32
    """Bits of AdamW's moments; 8 needs bitsandbytes and a GPU."""
    gradient_checkpointing: bool = False
    """Keep only the input of each layer for the backward pass, and recompute the rest."""
    offload_activations: bool = False
    """Keep what the backward pass needs in the memory of the machine, not of the GPU: for long responses, and slower."""
    packing: bool = False
    """Rows of a micro-batch stand end to end, without padding. For attention that reads where a row begins from its
    positions, such as flash attention; others hide rows from each other by a mask, whose cost grows with the square of
    the micro-batch."""
    attention: str | None = None
    """Implementation of attention in transformers, such as `flash_attention_2`, which is installed apart. None: its own
    choice."""
    max_tokens_per_microbatch: int | None = Field(default=None, ge=1)
    """Tokens of a micro-batch, padding included; the gradients of a mini-batch's micro-batches are summed.
    None: the whole mini-batch, on a CPU 512 tokens."""
    limit_gb: float | None = Field(default=None, gt=0)
    """Memory of the GPU in GiB that the plan must fit into, even if this machine has none. By default the memory of this
    machine's device."""

    def microbatch_tokens(self, *, on_gpu: bool) -> int | None:
        """`max_tokens_per_microbatch`, by default as many as suit the device; None is the whole batch."""
        return self.max_tokens_per_microbatch or (None if on_gpu else CPU_TOKENS_PER_MICROBATCH)


CPU_TOKENS_PER_MICROBATCH = 512
"""Few enough tokens that rows of similar length share a micro-batch, with little padding, and enough for matrix products and
for threads that share busy cores."""
REFERENCE_LR = 1e-2
"""Peak learning rate of the critic's single weight on the score of the reference. 0 where `critic_lr` is 0."""


def learning_rate_factor(
    step: int, *, warmup_steps: int, decay_steps: float, end_step: int, end_ratio: float = 0.0
) -> float:
    """The learning rate of a step as a fraction of its peak: linear warm-up, constant, linear decay.

    Args:
        step: counted from 1.
        warmup_steps: the peak is reached in this step.
        decay_steps: length of the decay; 0 for none.
        end_step: the decay reaches `end_ratio` in this step.
        end_ratio: final fraction of the peak.
    """
    warm = step / warmup_steps if step < warmup_steps else 1.0
    remaining = end_step - step
    if remaining >= decay_steps:
        return warm
    if not end_ratio:
        return min(warm, remaining / decay_steps)  # exact, where 1 - (1 - x) is not
    return min(warm, 1 - (1 - end_ratio) * (decay_steps - remaining) / decay_steps)
