"""The roles of a run, policy, critic (PPO alone) and reference model, and where their weights are.

`FullModels` holds a copy of the weights for each role. With LoRA one copy serves all three (training/lora.py): entering
a role switches the adapters. A backward pass belongs inside the block of its role, since gradient checkpointing
computes layers again under whichever adapter is active.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from longform.records.errors import BadInputError
from longform.rl.settings import MemorySettings
from longform.training.forward import (
    Batch,
    Critic,
    measure_in_pieces,
    response_log_probs,
    response_values,
)
from longform.training.offload import offloaded
from longform.training.token_classifier import load_token_classifier
from longform.writers.loading import load_model
from longform.writers.rope import settle_rope

_REFERENCE_WEIGHT = "reference_weight.safetensors"
_CHECKPOINTED = ("gradient_checkpointing", "activation_checkpointing")
"""What transformers sets on a layer that is to be checkpointed; 5.2x renamed it."""


class PolicyModels(ABC):
    """The models of a run. They are in evaluation mode except within `learning`."""

    tokenizer: Any
    device: torch.device
    has_reference: bool
    """Whether there is a frozen reference model, which a KL term needs."""
    has_critic: bool
    has_adapters: bool
    """Whether the policy is adapters on frozen weights."""
    _precision: torch.dtype | None = None
    """Of autocast; None where it is off."""
    _offloads = False
    """Whether activations are kept in the memory of the machine."""

    _role: str | None = None
    """The role that is active."""

    @contextmanager
    def as_policy(self) -> Iterator[PreTrainedModel]:
        """A context in which the model is the policy in training."""
        with self._exclusive("policy"):
            yield self._enter_policy()

    @contextmanager
    def as_critic(self) -> Iterator[Critic]:
        """A context in which the model is the critic; only if `has_critic`."""
        assert self.has_critic, "this method has no critic"
        with self._exclusive("critic"):
            yield self._enter_critic()

    @contextmanager
    def as_reference(self) -> Iterator[PreTrainedModel]:
        """A context in which the model is the frozen reference model; only if `has_reference`."""
        assert self.has_reference, "a run without KL has no reference model"
        with self._exclusive("reference"):
            yield self._enter_reference()

    @contextmanager
    def _exclusive(self, role: str) -> Iterator[None]:
        """Roles may share weights, so one is active at a time."""
        assert self._role is None, f"{role} is entered while {self._role} is active"
        self._role = role
        try:
            yield
        finally:
            self._role = None

    @abstractmethod
    def _enter_policy(self) -> PreTrainedModel:
        """Switch to the policy."""

    @abstractmethod
    def _enter_critic(self) -> Critic:
        """Switch to the critic."""

    @abstractmethod
    def _enter_reference(self) -> PreTrainedModel:
        """Switch to the reference model."""

    @abstractmethod
    def policy_parameters(self) -> list[nn.Parameter]:
        """What an update of the policy moves."""

    @abstractmethod
    def critic_parameters(self) -> list[nn.Parameter]:
        """What an update of the critic moves, but for its weight on the reference; nothing where there is none."""

    @abstractmethod
    def save_policy(self, folder: Path) -> None:
        """Write the policy with its tokenizer in Hugging Face format into a folder; adapters without the weights below."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `policy` (with the tokenizer) and any `critic` in Hugging Face format into a folder."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Take what `save` wrote, in place."""

    def settle_rope(self, longest: int) -> None:
        """Prepare for texts of `longest` tokens, prompt and response together; see `writers.rope`."""
        for model in self._all():
            settle_rope(model, longest=longest)

    def set_attention(self, implementation: str | None) -> None:
        """See `set_attention`."""
        set_attention(self._all(), implementation)

    def offload_activations(self, *, offloads: bool) -> None:
        """Keep activations in the memory of the machine during an update, or on the device."""
        self._offloads = offloads

    @abstractmethod
    def _all(self) -> list[PreTrainedModel]:
        """Every model that is held, in whatever role."""

    @abstractmethod
    def _modules(self) -> list[PreTrainedModel]:
        """The models that learn."""

    def autocast(self) -> Any:
        """A context in which matrices are multiplied in the precision that was asked for."""
        return nullcontext() if self._precision is None else torch.autocast(self.device.type, dtype=self._precision)

    def values(self, batch: Batch, *, max_tokens: int | None) -> Tensor:
        """[B, T] the critic's values before each response token, without gradients; at most `max_tokens` at a time."""
        with self.as_critic() as critic, self.autocast():
            return measure_in_pieces(partial(response_values, critic), batch, max_tokens=max_tokens)

    def policy_log_probs(self, batch: Batch, *, temperature: float, max_tokens: int | None) -> Tensor:
        """[B, T] log-probabilities of the response tokens under the present policy, without gradients."""
        with self.as_policy() as policy, self.autocast():
            return measure_in_pieces(
                partial(response_log_probs, policy, temperature=temperature), batch, max_tokens=max_tokens
            )

    def reference_log_probs(self, batch: Batch, *, temperature: float, max_tokens: int | None) -> Tensor | None:
        """[B, T] log-probabilities of the response tokens under the reference model, without gradients; None if there
        is none.
        """
        if not self.has_reference:
            return None
        with self.as_reference() as reference, self.autocast():
            log_probs = partial(response_log_probs, reference, temperature=temperature)
            return measure_in_pieces(log_probs, batch, max_tokens=max_tokens)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """A context for updates; see `learning_mode`. Activations are kept where the settings say."""
        with learning_mode(self._modules()), offloaded(self._all()) if self._offloads else nullcontext():
            yield


class FullModels(PolicyModels):
    """A copy of the weights for each role; all weights of policy and critic are trained.

    Args:
        path: folder or hub id of the policy.
        device: where the models live.
        with_reference: whether a frozen copy is kept.
        initial_value: what the critic predicts everywhere at first: near the mean reward, so that the first
            advantages are about right. None: there is no critic.
        memory: precision and gradient checkpointing.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        BadInputError: `path` is no model, or one that the critic cannot be built on.
    """

    has_adapters = False

    def __init__(
        self,
        path: str,
        *,
        device: str,
        with_reference: bool,
        initial_value: float | None,
        memory: MemorySettings,
        trust_remote_code: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self._trust_remote_code = trust_remote_code
        self.has_reference, self.has_critic = with_reference, initial_value is not None
        self._precision = None if memory.precision == "float32" else getattr(torch, memory.precision)
        self.tokenizer, self.policy = load_model(path, device=device, trust_remote_code=trust_remote_code)
        self._classifier: Any = None
        if initial_value is not None:
            self._classifier = load_token_classifier(
                path, self.policy, initial_value=initial_value, trust_remote_code=trust_remote_code
            )
            self._classifier.to(device).eval()
            weight = nn.Parameter(torch.zeros((), device=device))
            self.critic = Critic(self._classifier.base_model, self._classifier.score, weight)
        self._reference: PreTrainedModel | None = None
        if with_reference:
            dtype = getattr(torch, memory.precision)
            reference = load_model(path, device=device, dtype=dtype, trust_remote_code=trust_remote_code)[1]
            self._reference = reference.requires_grad_(False)
        prepare_learning(self._modules(), gradient_checkpointing=memory.gradient_checkpointing)

    def _enter_policy(self) -> PreTrainedModel:
        return self.policy

    def _enter_critic(self) -> Critic:
        return self.critic

    def _enter_reference(self) -> PreTrainedModel:
        assert self._reference is not None
        return self._reference

    def policy_parameters(self) -> list[nn.Parameter]:  # noqa: D102
        return list(self.policy.parameters())

    def critic_parameters(self) -> list[nn.Parameter]:  # noqa: D102
        return list(self._classifier.parameters()) if self.has_critic else []

    def save_policy(self, folder: Path) -> None:  # noqa: D102
        self.policy.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def save(self, folder: Path) -> None:  # noqa: D102
        self.save_policy(folder / "policy")
        if self.has_critic:
            self._classifier.save_pretrained(folder / "critic")
            save_reference_weight(self.critic, folder / "critic")

    def load(self, folder: Path) -> None:  # noqa: D102
        policy: Any = AutoModelForCausalLM.from_pretrained(
            folder / "policy", dtype=torch.float32, trust_remote_code=self._trust_remote_code
        )
        self.policy.load_state_dict(policy.state_dict())
        if self.has_critic:
            critic: Any = type(self._classifier).from_pretrained(
                folder / "critic", dtype=torch.float32, trust_remote_code=self._trust_remote_code
            )
            self._classifier.load_state_dict(critic.state_dict())
            load_reference_weight(self.critic, folder / "critic")

    def _all(self) -> list[PreTrainedModel]:
        return [*self._modules(), *([self._reference] if self._reference is not None else [])]

    def _modules(self) -> list[PreTrainedModel]:
        return [self.policy, self._classifier] if self.has_critic else [self.policy]


def set_attention(models: Sequence[PreTrainedModel], implementation: str | None) -> None:
    """Let models compute attention with an implementation of transformers; None: as they are.

    Raises:
        BadInputError: it is not installed, or the architecture or the device does not support it.
    """
    if implementation is None:
        return
    for model in models:
        try:
            model.set_attn_implementation(implementation)
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadInputError(f"memory.attention: {implementation}: {reason}") from error


def prepare_learning(models: list[PreTrainedModel], *, gradient_checkpointing: bool) -> None:
    """Take dropout out of models, so that a response has one log-probability, and switch checkpointing on if asked for.

    Evaluation mode alone would do, but for layers that are checkpointed: they count as training (see `learning_mode`),
    and some apply dropout as a function, at a rate of their own (OPT, StarCoder2).
    """
    for model in models:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            for name, value in vars(module).items():
                if "drop" in name and isinstance(value, float):
                    vars(module)[name] = 0.0
        if gradient_checkpointing:
            # transformers 5.2x renamed the method and warns of the old name.
            enable: Any = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable({"use_reentrant": False})


@contextmanager
def learning_mode(models: Sequence[PreTrainedModel]) -> Iterator[None]:
    """A context for updates, in which gradient checkpointing is on if it was asked for.

    The models stay in evaluation mode, where no dropout of any kind is applied; transformers checkpoints the layers
    whose own `training` flag is set.
    """
    checkpointed = [
        module
        for model in models
        for module in model.modules()
        if any(getattr(module, name, False) for name in _CHECKPOINTED)
    ]
    for module in checkpointed:
        module.training = True
    try:
        yield
    finally:
        for module in checkpointed:
            module.training = False


def save_reference_weight(critic: Critic, folder: Path) -> None:
    """Write the critic's weight on the reference beside its other weights."""
    save_file({"reference_weight": critic.reference_weight.detach()}, folder / _REFERENCE_WEIGHT)


@torch.no_grad()
def load_reference_weight(critic: Critic, folder: Path) -> None:
    """Take what `save_reference_weight` wrote, in place."""
    critic.reference_weight.copy_(load_file(folder / _REFERENCE_WEIGHT)["reference_weight"])
