"""Settings of the optimisation, as they stand in a recipe."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimSettings(BaseModel):
    """What every method's optimisation has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lr: float = Field(default=1e-6, ge=0)
    """Peak learning rate of the policy. 0 trains nothing: a control run."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps in which the policy's learning rate rises from 0; by default 0.4 of the run's (Writing-RL: 162 of 405)."""
    lr_end_ratio: float = Field(default=1.0, ge=0, le=1)
    """Final learning rate as a fraction of the peak, reached linearly after warm-up (Writing-RL: constant)."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's, as in verl. Set 0 with adapters or very long runs."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of AdamW's two moments. A second one of 0.95 adapts faster where gradients change abruptly."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Larger gradients are scaled down to this norm. Lower it where losses spike."""
    mini_batch: int | None = Field(default=None, ge=1)
    """Rollouts in one update; a step makes several. By default 16 (Writing-RL), or all of a step's where it has fewer."""
    epochs: int = Field(default=1, ge=1)
    """Passes over a step's rollouts; with ppo the critic makes as many."""
    clip: float = Field(default=0.2, gt=0)
    """The ratio of new to old probabilities is trusted between 1 - clip and 1 + clip."""
    entropy_coef: float = Field(default=0.001, ge=0)
    """Weight of the entropy bonus."""


class PpoSettings(OptimSettings):
    """How policy and critic learn from one step's rollouts with PPO. Defaults are those of Writing-RL (appendix A.2)."""

    method: ClassVar[str] = "ppo"

    critic_lr: float = Field(default=1e-5, ge=0)
    """Peak learning rate of the critic."""
    critic_warmup_steps: int | None = Field(default=None, ge=0)
    """The warm-up of the critic; by default 0.05 of the run's steps (paper: 20 of 405)."""
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
    """Coefficient of the per-token KL reward to the frozen start. 0 loads no reference model."""


class GrpoSettings(OptimSettings):
    """How the policy learns from groups of responses with GRPO.

    LongWriter-Zero publishes a clip of 0.2 and no KL; everything else here is our choice.
    """

    method: ClassVar[str] = "grpo"

    entropy_coef: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus."""
    clip_high: float | None = Field(default=None, gt=0)
    """The ratio is trusted up to 1 + clip_high (DAPO: 0.28), which leaves unlikely tokens more room. None: as `clip`."""
    kl_coef: float = Field(default=0.0, ge=0)
    """Coefficient of the KL penalty to the frozen start (paper: 0). 0 loads no reference model."""
    loss: Literal["sequence", "token"] = "sequence"
    """sequence: the mean over responses of their tokens' mean, as in GRPO. token: the mean over all tokens (DAPO), in which
    long responses weigh more."""
    overlong: Literal["learn", "mask"] = "learn"
    """What becomes of responses that were cut off at max_tokens: `mask` leaves them out of the update (DAPO), though not out
    of their group's mean."""
    resample: int = Field(default=0, ge=0)
    """Rounds in which further prompts are drawn in place of groups without any spread, from which nothing can be learned
    (DAPO's dynamic sampling)."""


class LoraSettings(BaseModel):
    """Low-rank adapters in place of full fine-tuning (Hu et al. 2021): one copy of the weights serves all three roles.

    The policy is one adapter, the critic a second one with a value head, and the reference model the weights with both
    switched off. Every matrix inside the model gets adapters, the output head and the embeddings none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=32, ge=1)
    alpha: int | None = Field(default=None, ge=1)
    """The adapters' output is scaled by alpha / rank; by default twice the rank."""


class MemorySettings(BaseModel):
    """How a run fits into its device. None of this changes what is computed, but for the rounding of bfloat16."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["float32", "bfloat16"] = "float32"
    """What matrices are multiplied in. Weights that are trained, and their optimizer, stay in float32; frozen weights are
    held in this precision."""
    gradient_checkpointing: bool = False
    """Keep only each layer's input for the backward pass, and compute the layer again there."""
    max_tokens_per_microbatch: int | None = Field(default=None, ge=1)
    """Most tokens, padding included, that go through a model at once in an update; a mini-batch is cut into as many pieces
    as this needs, and their gradients are summed. None: a mini-batch in one piece, on a CPU 2,048 tokens."""
    limit_gb: float | None = Field(default=None, gt=0)
    """Memory of the card that the plan must fit into, in GiB, also where this machine has no card. By default the plan is
    for this machine's own device, and must fit into what that has."""


CPU_TOKENS_PER_MICROBATCH = 2048
"""Few enough tokens to stay in a CPU's cache from one operation to the next, and enough for matrix products and for threads
that share busy cores. With ten times as many, each token takes two to three times as long."""
REFERENCE_LR = 1e-2
"""Peak learning rate of the critic's single weight on the score of the reference. 0 where `critic_lr` is 0."""
POLICY_WARMUP, CRITIC_WARMUP = 0.4, 0.05
"""Shares of the steps (Writing-RL A.2)."""


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
