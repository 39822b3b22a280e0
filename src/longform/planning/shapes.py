"""The dimensions of a model from its config.json, without torch or weights.

Parameters are counted arithmetically, which is exact for decoders of the Llama family (rotary attention, gated MLP, RMS
norms) and within a few percent for others; `with_exact_parameters` asks transformers. Of a mixture of experts all experts
are weights, and those that a token passes are computed; hybrids cache keys and values in some layers only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longform.records.errors import BadInputError
from longform.writers.paths import check_model_path, load_failure, model_below

_NEEDED = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_TIED_BY_DEFAULT = ("gemma", "gemma2", "gemma3_text", "cohere", "cohere2")
"""Families whose config.json omits `tie_word_embeddings` if it is true."""
_SIZE_IN_NAME = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bBmM])(?![a-zA-Z])")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions of a decoder."""

    parameters: int
    head_parameters: int
    """Parameters of an output head that is not tied to the embeddings; a critic has none."""
    layers: int
    hidden: int
    intermediate: int
    """Width of the MLP that a token passes: of a mixture, of its experts together."""
    heads: int
    query_width: int
    """Heads times their width."""
    key_width: int
    """Key-value heads times their width."""
    vocabulary: int
    cached_layers: int | None = None
    """Layers that cache keys and values; None: all of them."""

    @property
    def layer_parameters(self) -> int:
        """Parameters of the matrices of one layer."""
        return self.hidden * (2 * self.query_width + 2 * self.key_width + 3 * self.intermediate)

    @property
    def key_heads(self) -> int:
        """Key-value heads."""
        return self.heads * self.key_width // self.query_width

    def cache_bytes(self, *, width: int = 2) -> int:
        """Return the KV cache of one token in bytes, at `width` bytes per number."""
        cached = self.layers if self.cached_layers is None else self.cached_layers
        return cached * 2 * self.key_width * width


def find_shape(model: str) -> ModelShape | None:
    """Return the shape of a model whose configuration is on this machine (a folder, or a hub id in the cache), else None.

    Raises:
        BadInputError: the configuration cannot be read, or its family is not supported.
    """
    from huggingface_hub import try_to_load_from_cache

    model = model_below(model)
    path: Any = Path(model) / "config.json"
    if not path.is_file():
        try:
            path = try_to_load_from_cache(model, "config.json")
        except ValueError:  # not a hub id
            return None
    return _read_config(Path(path), model) if isinstance(path, (str, Path)) else None


def fetch_shape(model: str) -> ModelShape:
    """Return the shape of a model at a folder or hub id; downloads its config.json if necessary.

    Raises:
        BadInputError: there is no configuration, or its family is not supported.
    """
    found = find_shape(model)
    if found is not None:
        return found
    check_model_path(model_below(model))
    from huggingface_hub import hf_hub_download, logging

    logging.set_verbosity_error()  # without a network: a line for each of many attempts

    try:
        path = hf_hub_download(model_below(model), "config.json")
    except Exception as error:  # network, hub, name or disk
        reason = load_failure(model_below(model), error)
        raise BadInputError(f"{model}: its config.json cannot be downloaded: {reason}") from error
    return _read_config(Path(path), model)


def parameters_in_name(model: str) -> float | None:
    """Return the size stated in a model's name: 7e9 for Qwen/Qwen2.5-7B-Instruct; None if there is none."""
    found = _SIZE_IN_NAME.search(Path(model).name)
    return float(found[1]) * (1e9 if found[2] in "bB" else 1e6) if found else None


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """Return the shape described by the content of a config.json.

    Raises:
        KeyError: a required size is missing.
    """
    layers, hidden, intermediate, heads, vocabulary = (int(config[name]) for name in _NEEDED)
    head_width = config.get("head_dim") or hidden // heads
    query_width = heads * head_width
    key_width = (config.get("num_key_value_heads") or heads) * head_width
    family = config.get("model_type")
    biases = query_width + 2 * key_width if family == "qwen2" else 0
    if family != "qwen2" and config.get("attention_bias"):
        biases = query_width + 2 * key_width + hidden
    if config.get("mlp_bias"):
        biases += 2 * intermediate + hidden
    norms = 2 * hidden + (2 * head_width if family == "qwen3" else 0)
    matrices = hidden * (2 * query_width + 2 * key_width + 3 * intermediate)
    if experts := next((int(config[name]) for name in _EXPERTS if config.get(name)), 0):
        expert_width = int(config.get("moe_intermediate_size") or intermediate)
        shared = int(config.get("shared_expert_intermediate_size") or 0)
        shared += int(config.get("n_shared_experts") or 0) * expert_width
        matrices += hidden * (3 * (experts * expert_width + shared - intermediate) + experts)
        intermediate = int(config.get("num_experts_per_tok") or 1) * expert_width + shared
    kinds = config.get("layer_types")
    cached = sum("attention" in kind and "linear" not in kind for kind in kinds) if kinds else None
    head = 0 if config.get("tie_word_embeddings", family in _TIED_BY_DEFAULT) else vocabulary * hidden
    parameters = layers * (matrices + biases + norms) + hidden + vocabulary * hidden + head
    return ModelShape(parameters, head, layers, hidden, intermediate, heads, query_width, key_width, vocabulary, cached)


def with_exact_parameters(shape: ModelShape, model: str) -> ModelShape:
    """The shape with its parameters counted by transformers, on torch's meta device, where transformers knows the family."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(model_below(model), trust_remote_code=False)
        with torch.device("meta"):
            counted: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception:  # whatever is wrong with the model is said when it is loaded
        return shape
    return replace(shape, parameters=sum(it.numel() for it in counted.parameters()))


def count_scoring_parameters(path: str) -> int:
    """Count the parameters of the reward model at a folder or hub id, of any family, on torch's meta device.

    Raises:
        BadInputError: there is no configuration, or it is not one of a classifier.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
        with torch.device("meta"):
            model: Any = AutoModelForSequenceClassification.from_config(config)
    except Exception as error:  # what a broken configuration makes transformers raise is open-ended
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"rewards.writing.model: {path}: its configuration cannot be read: {reason}") from error
    return sum(parameter.numel() for parameter in model.parameters())


def _read_config(path: Path, model: str) -> ModelShape:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("text_config") or config  # of models that also see
        family = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInputError(f"{path}: cannot be read as a model's configuration: {error}") from error
    try:
        shape = shape_of(config)
        if min(shape.parameters, shape.layers, shape.query_width, shape.key_width, shape.vocabulary) <= 0:
            raise ValueError("a size is not positive")
        return shape
    except KeyError as error:
        raise BadInputError(
            f"{model}: longform cannot plan for its family ({family}): its config.json has no {error}"
        ) from None
    except (ValueError, TypeError, ArithmeticError) as error:
        raise BadInputError(f"{path}: cannot be read as a model's configuration: {error}") from error
