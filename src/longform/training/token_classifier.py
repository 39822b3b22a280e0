"""The critic's backbone and head: a token classifier with one output, in Hugging Face format.

transformers has a class of this kind for many families. For the others (Gemma 3, OLMo 2, LFM2, Qwen3.5) one is made of
its generic parts and registered under this process's Auto classes; its files have the same format.
"""

from typing import Any

import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel
from transformers.modeling_layers import GenericForTokenClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING

from longform.records.errors import BadInputError
from longform.writers.paths import model_below


def load_token_classifier(
    path: str, policy: PreTrainedModel, *, initial_value: float, trust_remote_code: bool = False
) -> Any:
    """A token classifier with the policy's backbone and a head that says `initial_value` everywhere.

    Raises:
        BadInputError: transformers cannot make one for this family.
    """
    register_token_classifier(policy)
    try:
        below = model_below(path)
        classifier: Any = AutoModelForTokenClassification.from_pretrained(
            below, num_labels=1, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
        if below != path:
            classifier.base_model.load_state_dict(policy.get_decoder().state_dict())
        with torch.no_grad():
            classifier.score.weight.zero_()
            classifier.score.bias.fill_(initial_value)
    except (ValueError, AttributeError, TypeError):
        raise BadInputError(
            f"{path}: transformers has no token classifier with a `score` head for it, which the critic needs; "
            f"use method: grpo"
        ) from None
    return classifier


def register_token_classifier(policy: PreTrainedModel) -> None:
    """Make and register a token classifier for the policy's family, where transformers has none."""
    config = type(policy.config)
    if config in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
        return
    family = next((it for it in type(policy).__mro__ if it.__name__.endswith("PreTrainedModel")), PreTrainedModel)
    name = type(policy).__name__.removesuffix("ForCausalLM") + "ForTokenClassification"
    made = type(name, (GenericForTokenClassification, family), {"config_class": config})
    AutoModelForTokenClassification.register(config, made, exist_ok=True)
