"""Tiny random models of the families that people train, each with what sets its family apart."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from toy import build_tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 16
"""Twice the tokens of the toy tokenizer: transformers adds some of its own for some families."""
_HYBRID = ["linear_attention", "full_attention", "linear_attention"]
_LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": _HYBRID,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LONG_ROPE = {
    "rope_type": "longrope",
    "long_factor": [1.0, 1.9, 2.8, 3.7],
    "short_factor": [1.0, 1.0, 1.05, 1.1],
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 24,
}
LLAMA_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 10000.0,
}

FAMILIES = {
    "Llama 3": ("LlamaConfig", {"rope_parameters": LLAMA_ROPE}),
    "Qwen2.5": ("Qwen2Config", {"tie_word_embeddings": True}),
    "Qwen3": ("Qwen3Config", {"head_dim": 16}),
    "Qwen3.5": ("Qwen3_5TextConfig", {"head_dim": 8, **_LINEAR}),
    "LFM2": ("Lfm2Config", {"layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3}),
    "Qwen3-MoE": ("Qwen3MoeConfig", {"head_dim": 8, **_EXPERTS}),
    "Gemma 2": ("Gemma2Config", {"head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 5.0}),
    "Gemma 3": (
        "Gemma3TextConfig",
        {"head_dim": 8, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2, "layers": 4},
    ),
    "SmolLM3": ("SmolLM3Config", {"no_rope_layer_interval": 2}),
    "Mistral": ("MistralConfig", {"sliding_window": 8}),
    "Phi-3.5": (
        "Phi3Config",
        {"sliding_window": None, "original_max_position_embeddings": 24, "rope_parameters": LONG_ROPE},
    ),
    "OLMo 2": ("Olmo2Config", {}),
    "GLM-4": ("Glm4Config", {"head_dim": 8}),
    "gpt-oss": (
        "GptOssConfig",
        {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    ),
}
"""What the documentation says is supported: by name, configuration class and settings."""

OTHERS = {
    "Gemma": ("GemmaConfig", {"head_dim": 8}),
    "Granite": ("GraniteConfig", {"logits_scaling": 4.0}),
    "Cohere": ("CohereConfig", {"logit_scale": 0.25}),
    "Cohere 2": ("Cohere2Config", {"sliding_window": 8}),
    "Phi": ("PhiConfig", {}),
    "StarCoder 2": ("Starcoder2Config", {"residual_dropout": 0.1, "embedding_dropout": 0.1, "attention_dropout": 0.1}),
    "GPT-NeoX": ("GPTNeoXConfig", {"hidden_dropout": 0.1, "attention_dropout": 0.1}),
    "StableLM": ("StableLmConfig", {}),
    "Mixtral": ("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "OLMoE": ("OlmoeConfig", {"num_experts": 4, "num_experts_per_tok": 2}),
    "EXAONE 4": ("Exaone4Config", {"sliding_window": 8, "sliding_window_pattern": 3}),
    "nanochat": ("NanoChatConfig", {}),
    "Qwen3-Next": (
        "Qwen3NextConfig",
        {"head_dim": 8, "shared_expert_intermediate_size": 16, **_EXPERTS, **_LINEAR},
    ),
    "DeepSeek V3": (
        "DeepseekV3Config",
        {
            "num_key_value_heads": 4,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 8,
            "qk_nope_head_dim": 8,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "moe_intermediate_size": 16,
        },
    ),
}
"""More that pass the self-check."""


def build_family(name, *, vocabulary=VOCABULARY):
    """A model whose parameters are all away from 0 and 1, so that none of them hides what it does."""
    cls, settings = (FAMILIES | OTHERS)[name]
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": settings.get("layers", 3),
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    config = getattr(transformers, cls)(**sizes | {key: it for key, it in settings.items() if key != "layers"})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.15 if parameter.ndim > 1 else 0.1))
    return model.eval()


def save_family(name, folder):
    """A model folder; transformers reads any tokenizer of Qwen2.5 as one of bytes."""
    tokenizer = _byte_tokenizer() if name == "Qwen2.5" else build_tokenizer()
    build_family(name, vocabulary=max(len(tokenizer), VOCABULARY)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({it: n for n, it in enumerate(["<|endoftext|>", *alphabet])}, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
