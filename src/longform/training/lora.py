"""Policy and critic are LoRA adapters on one shared base; the bare base is the reference model.

The weights stay frozen in the precision of the run; adapters and the value head are trained in float32. Adapters go
through peft itself: the adapter methods of transformers' models require the newest peft.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.forward import Critic
from longform.training.models import PolicyModels, load_reference_weight, prepare_learning, save_reference_weight
from longform.writers.loading import load_model
from longform.writers.paths import ADAPTER

POLICY, CRITIC = "policy", "critic"
_ADAPTERS = "adapter_model.safetensors"
_VALUE_HEAD = "value_head.safetensors"


class AdaptedModels(PolicyModels):
    """Policy and optional critic as adapters on one model; with adapters disabled, it is the reference model.

    Args:
        path: Folder or hub id of the policy.
        device: Device of the model.
        with_reference: Whether the reference model is needed.
        initial_value: The critic's initial prediction. None: no critic.
        lora: Size of the adapters.
        memory: Precision of the frozen weights, and gradient checkpointing.
        seed: Seed of the adapters' initial weights. Their product is 0, so adapters have no effect at first.
        trust_remote_code: Whether code in the model's folder may run.

    Raises:
        BadInputError: `path` is not a model, or the loss does not support its architecture.
    """

    has_adapters = True

    def __init__(
        self,
        path: str,
        *,
        device: str,
        with_reference: bool,
        initial_value: float | None,
        lora: LoraSettings,
        memory: MemorySettings,
        seed: int,
        trust_remote_code: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.has_reference, self.has_critic = with_reference, initial_value is not None
        self._names = (POLICY, CRITIC) if self.has_critic else (POLICY,)
        model: Any
        dtype = getattr(torch, memory.precision)
        self.tokenizer, model = load_model(
            path, device=device, dtype=dtype, trust_remote_code=trust_remote_code, quantize=memory.quantize
        )
        self._model = model
        self._add_adapters(path, lora, seed=seed)
        if initial_value is not None:
            head = nn.Linear(model.config.get_text_config(decoder=True).hidden_size, 1, device=device)
            with torch.no_grad():
                head.weight.zero_()
                head.bias.fill_(initial_value)
            self._critic = Critic(model.get_decoder(), head, nn.Parameter(torch.zeros((), device=device)))
        prepare_learning(self._modules(), gradient_checkpointing=memory.gradient_checkpointing)
        model.eval()

    def _enter_policy(self) -> PreTrainedModel:
        return self._switched_to(POLICY)

    def _enter_critic(self) -> Critic:
        self._switched_to(CRITIC)
        return self._critic

    def _enter_reference(self) -> PreTrainedModel:
        for layer in self._layers:
            layer.enable_adapters(enabled=False)
        return self._model

    def policy_parameters(self) -> list[nn.Parameter]:  # noqa: D102
        return self._adapter_parameters(POLICY)

    def critic_parameters(self) -> list[nn.Parameter]:  # noqa: D102
        return [*self._adapter_parameters(CRITIC), *self._critic.head.parameters()] if self.has_critic else []

    def save_policy(self, folder: Path) -> None:
        """Save the adapters; the base weights are not copied."""
        self._save_adapters(POLICY, folder)
        self.tokenizer.save_pretrained(folder)

    def save(self, folder: Path) -> None:
        """Save the adapters, and any value head; the base weights are not copied."""
        self.save_policy(folder / POLICY)
        if not self.has_critic:
            return
        self._save_adapters(CRITIC, folder / CRITIC)
        head = {name: tensor.contiguous() for name, tensor in self._critic.head.state_dict().items()}
        save_file(head, folder / CRITIC / _VALUE_HEAD)
        save_reference_weight(self._critic, folder / CRITIC)

    def load(self, folder: Path) -> None:  # noqa: D102
        for name in self._names:
            set_peft_model_state_dict(self._model, load_file(folder / name / _ADAPTERS), adapter_name=name)
        if self.has_critic:
            self._critic.head.load_state_dict(load_file(folder / CRITIC / _VALUE_HEAD))
            load_reference_weight(self._critic, folder / CRITIC)

    def _all(self) -> list[PreTrainedModel]:
        return [self._model]

    def _modules(self) -> list[PreTrainedModel]:
        return [self._model]

    def _save_adapters(self, name: str, folder: Path) -> None:
        with warnings.catch_warnings():
            # peft looks up the vocabulary of the base model, and warns if the base is a folder of adapters itself.
            warnings.simplefilter("ignore")
            weights = get_peft_model_state_dict(self._model, adapter_name=name)
        folder.mkdir(parents=True, exist_ok=True)
        named = {f"base_model.model.{key}": tensor.contiguous() for key, tensor in weights.items()}
        save_file(named, folder / _ADAPTERS, metadata={"format": "pt"})
        self._model.peft_config[name].save_pretrained(str(folder))
        sort_targets(folder / ADAPTER)

    def _switched_to(self, name: str) -> PreTrainedModel:
        for layer in self._layers:
            layer.enable_adapters(enabled=True)
            layer.set_adapter(name)
        return self._model

    def _adapter_parameters(self, name: str) -> list[nn.Parameter]:
        return [parameter for key, parameter in self._model.named_parameters() if f".{name}." in key and "lora_" in key]

    def _add_adapters(self, path: str, lora: LoraSettings, *, seed: int) -> None:
        torch.manual_seed(seed)
        # A saved adapter must find its base model from any working directory.
        base = str(Path(path).resolve()) if Path(path).exists() else path
        for name in self._names:
            config = LoraConfig(
                r=lora.rank,
                lora_alpha=lora.alpha or 2 * lora.rank,
                target_modules="all-linear",
                base_model_name_or_path=base,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # peft warns about a second adapter, which is intended here
                inject_adapter_in_model(config, self._model, name)
            for parameter in self._adapter_parameters(name):
                parameter.data = parameter.data.float()
        self._layers = [module for module in self._model.modules() if isinstance(module, BaseTunerLayer)]
        self._switched_to(self._names[-1])


def sort_targets(path: Path) -> None:
    """Sort the lists of an adapter_config.json: peft writes sets, whose order differs from process to process."""
    config = json.loads(path.read_text(encoding="utf-8"))
    ordered = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    path.write_text(json.dumps(ordered, indent=2, sort_keys=True) + "\n", encoding="utf-8")
