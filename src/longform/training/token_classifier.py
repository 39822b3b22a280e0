"""The critic's backbone and head: a token classifier with one output, in Hugging Face format.

transformers has such a class for many families. For the others (Gemma 3, OLMo 2, LFM2, Qwen3.5) a class is built from
transformers' generic parts; its files have the same format.
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
    """A token classifier with the policy's backbone and a head that predicts `initial_value` everywhere.

    Raises:
        BadInputError: transformers cannot make one for this family.
    """
    below, made = model_below(path), _class_for(policy)
    try:
        classifier: Any = made.from_pretrained(
            below, num_labels=1, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    except (ValueError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(
            f"{path}: transformers cannot make a token classifier of it, which the critic needs: {reason}; use method: grpo"
        ) from error
    if below != path:
        classifier.base_model.load_state_dict(policy.get_decoder().state_dict())
    with torch.no_grad():
        classifier.score.weight.zero_()
        classifier.score.bias.fill_(initial_value)
    return classifier


def _class_for(policy: PreTrainedModel) -> Any:
    """The token classifier of the policy's family, made and registered where transformers has none with a `score` head."""
    config = type(policy.config)
    known: Any = MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING.get(config, None)
    if known is not None and issubclass(known, GenericForTokenClassification):
        return known
    family = next((it for it in type(policy).__mro__ if it.__name__.endswith("PreTrainedModel")), PreTrainedModel)
    name = type(policy).__name__.removesuffix("ForCausalLM") + "ForTokenClassification"
    content = {"config_class": config, "base_model_prefix": policy.base_model_prefix}
    made = type(name, (GenericForTokenClassification, family), content)
    if known is None:
        AutoModelForTokenClassification.register(config, made, exist_ok=True)
    return made
