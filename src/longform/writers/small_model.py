"""A small random model of the same architecture, on which a configuration is tested in a second, without the weights.

It has one layer of each kind (at least two in all), few heads and experts, and a small vocabulary. Windows and RoPE switches
that the texts of a run can cross are moved to positions that a short text crosses.
"""

from copy import deepcopy
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 256
SWITCH = 20
"""Position of windows and RoPE switches that can be crossed."""
_HEADS, _EXPERTS = 2, 4
_MAX_KINDS = 4
_LAYER_INDICES = ("attn_layer_indices", "mlp_only_layers", "full_attn_idxs", "no_rope_layer_indices")
"""Lists of numbers of layers, where other lists have an entry for each layer."""
_WINDOWS = ("sliding_window", "attention_window_size", "attention_chunk_size")


def small_model(config: Any, *, longest: int, seed: int = 0) -> PreTrainedModel:
    """A random model, in float32 and evaluation mode, that differs from one with `config` only in size.

    Args:
        config: configuration of the model.
        longest: tokens of prompt and response together; windows and switches below this position are moved to `SWITCH`.
        seed: seed of the weights.

    Raises:
        Exception: transformers cannot build it; the type is open-ended.
    """
    small = _shrunk(deepcopy(config.get_text_config(decoder=True)), longest=longest)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AutoModelForCausalLM.from_config(small, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():  # what starts at 0 or 1 would hide what it does
                parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.1))
    return model.eval()


def switch_positions(config: Any) -> dict[str, int]:
    """The positions at which a sliding window or a RoPE switch of a configuration takes effect, by name."""
    config = config.get_text_config(decoder=True)
    positions = {}
    for name in _WINDOWS:
        is_used = name != "sliding_window" or getattr(config, "use_sliding_window", True)
        if isinstance(position := getattr(config, name, None), int) and is_used:
            positions[name] = position
    rope = getattr(config, "rope_parameters", None) or {}
    for it in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        kind = it.get("rope_type")
        if kind == "longrope":
            positions["longrope"] = int(it["original_max_position_embeddings"])
        elif kind == "dynamic":
            positions["dynamic RoPE"] = int(
                it.get("original_max_position_embeddings") or config.max_position_embeddings
            )
    return positions


def _shrunk(config: Any, *, longest: int) -> Any:
    crossed = {name for name, position in switch_positions(config).items() if position < longest}
    _keep_layers(config)
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    has_fewer_key_heads = getattr(config, "num_key_value_heads", None) not in (None, config.num_attention_heads)
    sizes = {
        "vocab_size": VOCABULARY,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1 if has_fewer_key_heads else _HEADS,
        "hidden_size": _HEADS * head_width,
        "intermediate_size": 2 * head_width,
        **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), head_width),
        **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), _EXPERTS),
        **dict.fromkeys(("num_experts_per_tok", "top_k_experts"), 2),
        **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
        **{name: SWITCH for name in _WINDOWS if name in crossed},
    }
    for name, value in sizes.items():
        if getattr(config, name, None) is not None:
            setattr(config, name, value)
    rope = getattr(config, "rope_parameters", None) or {}
    for it in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        if it.get("rope_type") == "longrope" and "longrope" in crossed:
            it["original_max_position_embeddings"] = config.original_max_position_embeddings = SWITCH
        if it.get("rope_type") == "dynamic" and "dynamic RoPE" in crossed:
            config.max_position_embeddings = SWITCH
            if it.get("original_max_position_embeddings"):
                it["original_max_position_embeddings"] = SWITCH
    return config


def _keep_layers(config: Any) -> None:
    """Keep one layer of each kind, two at least."""
    count = config.num_hidden_layers
    content = config.to_dict()
    lists = {
        name: value
        for name, value in content.items()
        if isinstance(value, list) and len(value) == count and name not in _LAYER_INDICES
    }
    indices = {name: value for name in _LAYER_INDICES if isinstance(value := content.get(name), list)}
    first: dict[tuple[Any, ...], int] = {}
    for layer in range(count):
        kind = (*(it[layer] for it in lists.values()), *(layer in it for it in indices.values()))
        first.setdefault(kind, layer)
    kept = sorted(first.values())[:_MAX_KINDS]
    if len(kept) == 1:
        kept = [0, min(1, count - 1)]
    config.num_hidden_layers = len(kept)
    for name, value in lists.items():
        setattr(config, name, [value[layer] for layer in kept])
    for name, value in indices.items():
        setattr(config, name, [new for new, layer in enumerate(kept) if layer in value])
