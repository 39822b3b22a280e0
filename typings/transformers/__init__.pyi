"""What longform imports from `transformers`, and the base classes of TRL's trainers, for pyright alone.

The package's own module imports the modules of all its models for type checkers, and pyright would read them all.
"""

import transformers.tokenization_utils_base
from transformers.cache_utils import DynamicCache
from transformers.generation.configuration_utils import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.logits_process import LogitsProcessor
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface, PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertLMHeadModel
from transformers.models.falcon.configuration_falcon import FalconConfig
from transformers.models.falcon.modeling_falcon import FalconForCausalLM
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from transformers.models.mamba.configuration_mamba import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaForCausalLM
from transformers.models.mamba2.configuration_mamba2 import Mamba2Config
from transformers.models.mistral.configuration_mistral import MistralConfig
from transformers.models.mistral.modeling_mistral import MistralForCausalLM
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.recurrent_gemma.configuration_recurrent_gemma import RecurrentGemmaConfig
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast
from transformers.trainer import Trainer
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from transformers.training_args import TrainingArguments
from transformers.utils.quantization_config import BitsAndBytesConfig

__all__ = [
    "AddedToken",
    "AttentionInterface",
    "AttentionMaskInterface",
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
    "BertConfig",
    "BertLMHeadModel",
    "BitsAndBytesConfig",
    "ContinuousBatchingConfig",
    "DynamicCache",
    "FalconConfig",
    "FalconForCausalLM",
    "GenerationConfig",
    "LlamaConfig",
    "LlamaForCausalLM",
    "LlamaForSequenceClassification",
    "LlamaForTokenClassification",
    "LlamaModel",
    "LogitsProcessor",
    "Mamba2Config",
    "MambaConfig",
    "MambaForCausalLM",
    "MistralConfig",
    "MistralForCausalLM",
    "PreTrainedModel",
    "PreTrainedTokenizerBase",
    "PreTrainedTokenizerFast",
    "PrinterCallback",
    "Qwen2Config",
    "Qwen3Config",
    "RecurrentGemmaConfig",
    "Trainer",
    "TrainerCallback",
    "TrainingArguments",
]

AddedToken = transformers.tokenization_utils_base.AddedToken
