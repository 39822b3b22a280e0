"""Load causal language models and their tokenizers from a folder or the hub.

Code from a model folder runs only if the caller sets `trust_remote_code`; transformers would ask on standard input. A
generation config that transformers loads but would refuse to save is repaired when the model is loaded.
"""

import json
import warnings
from copy import copy
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import GENERATION_CONFIG_NAME
from transformers.utils import logging as transformers_logging

from longform.records.errors import BadInputError
from longform.writers.paths import (
    ADAPTER,
    base_of_adapters,
    check_model_path,
    holds_adapters,
    load_failure,
    model_below,
)
from longform.writers.quantization import DEQUANTIZED, Quantization, quantization_config, quantization_method
from longform.writers.stops import find_turn_end
from longform.writers.weights import describe_damage, has_weights

_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification", "RewardModel")

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()
huggingface_hub.logging.set_verbosity_error()  # without a network: a line for each of many attempts


def load_model(
    path: str,
    *,
    device: str,
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
    quantize: Quantization | None = None,
) -> tuple[Any, PreTrainedModel]:
    """Load the tokenizer and the causal language model of a folder or hub id, in evaluation mode.

    For a folder of LoRA adapters, the base model is loaded and the adapters are merged into its weights. The token that
    ends an assistant turn in the chat template becomes one of the end tokens of the generation config, so that whatever
    reads a saved copy stops there. With `quantize`, the weights of its layers are loaded in 4 bits and stay frozen.

    Raises:
        BadInputError: the model does not exist or cannot be loaded, weights are missing, or its tokenizer has ids beyond the
            rows of its embeddings.
    """
    check_generation_config(path)
    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    try:
        model: Any = (
            _load_weights(path, dtype=dtype, trust_remote_code=trust_remote_code)
            if quantize is None
            else _load_quantized(path, quantize, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
        )
    except BadInputError:
        raise
    except Exception as error:  # transformers and peft raise exceptions of any type for a broken folder
        raise _not_loaded(path, "cannot be loaded as a model", error) from error
    check_vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0], path=path)
    repair_generation_config(model, tokenizer)
    return tokenizer, (model.to(device) if quantize is None else model).eval()


def check_weights(
    path: str, *, trust_remote_code: bool = False, has_head: bool = True, may_be_elsewhere: bool = False
) -> None:
    """Check, by the headers of its files, that the weights of a folder can be trained.

    They must be complete, undamaged and not quantized, and match the configuration and the tokenizer. A hub id is not
    checked, because its weights may not be downloaded yet.

    Args:
        path: Folder or hub id of the model, or folder of adapters.
        trust_remote_code: Whether code in the folder may run.
        has_head: Whether the output head of a language model is needed; a reward model gets a new head.
        may_be_elsewhere: Whether a folder may have no weights at all: a plan for another machine does not need them.

    Raises:
        BadInputError: a check failed.
    """
    below = Path(model_below(path))
    if not below.is_dir() or (may_be_elsewhere and not has_weights(below)):
        return
    check_generation_config(path)
    method = quantization_method(load_config(path, trust_remote_code=trust_remote_code))
    if method is not None and method not in DEQUANTIZED:
        raise BadInputError(
            f"{path}: its weights are quantized ({method}), and quantized weights cannot be trained; use the model before "
            "quantization (memory.quantize trains adapters on 4-bit weights)"
        )
    try:
        model = _load_weights(path, trust_remote_code=trust_remote_code, has_head=has_head, only_headers=True)
    except BadInputError:
        raise
    except Exception as error:  # as in load_model
        raise _not_loaded(path, "cannot be loaded as a model", error) from error
    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    check_vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0], path=path)


def load_tokenizer(path: str, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a folder or hub id. Adapters that were saved without one use that of their base model.

    Raises:
        BadInputError: the model does not exist, or its tokenizer cannot be loaded.
    """
    check_model_path(path)
    while holds_adapters(path) and not any(Path(path).glob("*token*")):
        path = base_of_adapters(path)
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except Exception as error:  # as above
        if Path(path).is_dir():
            load_config(
                path, trust_remote_code=trust_remote_code
            )  # it names the tokenizer's class, and may be at fault
        raise _not_loaded(path, "its tokenizer cannot be loaded", error) from error


def load_config(path: str, *, trust_remote_code: bool = False) -> Any:
    """Load the configuration of a folder or hub id; for adapters, that of their base model.

    Raises:
        BadInputError: there is none, or it cannot be read.
    """
    check_model_path(path)
    try:
        return AutoConfig.from_pretrained(model_below(path), trust_remote_code=trust_remote_code)
    except Exception as error:  # as above
        raise _not_loaded(path, "its config.json cannot be read", error) from error


def context_length(config: Any) -> int | None:
    """Maximum number of tokens of prompt and response together; None if the configuration does not state it."""
    return getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)


def check_vocabulary(tokenizer: Any, rows: int, *, path: str) -> None:
    """Check that every id of a tokenizer has a row in the embeddings.

    Args:
        tokenizer: The tokenizer.
        rows: Number of rows of the embeddings.
        path: Folder or hub id of the model, for the error.

    Raises:
        BadInputError: an id has no row.
    """
    last = max(tokenizer.get_vocab().values())
    if last >= rows:
        raise BadInputError(
            f"{path}: its tokenizer has ids up to {last}, but its embeddings have {rows} rows; use the tokenizer that "
            "belongs to the model, or resize the embeddings (resize_token_embeddings) and save the model"
        )


def check_generation_config(path: str) -> None:
    """Check that the generation config of a folder can be read: transformers ignores a damaged one, with its end tokens.

    Raises:
        BadInputError: it is no JSON mapping, or its end tokens are not ids.
    """
    file = Path(model_below(path)) / GENERATION_CONFIG_NAME
    if not file.is_file():
        return
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        ends = content.get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        raise BadInputError(
            f"{file}: damaged (not a JSON mapping); download it again, or remove it: it only has defaults for sampling, and "
            "end tokens if the tokenizer's is not the only one"
        ) from None
    if not all(isinstance(it, int) for it in (ends if isinstance(ends, list) else [0 if ends is None else ends])):
        raise BadInputError(f"{file}: eos_token_id: {ends!r} is neither a token id nor a list of them; correct it")


def repair_generation_config(model: Any, tokenizer: Any) -> None:
    """Make a generation config savable, and add the token that ends an assistant turn to its end tokens.

    transformers loads, but refuses to save, sampling settings without `do_sample` (Llama 2 chat, Vicuna); here `do_sample`
    is set. If a config is invalid in another way, only its token ids are kept, since longform uses nothing else of it.
    """
    config = model.generation_config
    if config is None:
        return
    ends = config.eos_token_id
    ends = list(ends) if isinstance(ends, (list, tuple)) else [] if ends is None else [ends]
    turn_end = find_turn_end(tokenizer)
    if turn_end is not None and turn_end not in ends:
        config.eos_token_id = [*ends, turn_end] if ends else turn_end
    ids = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    sampling = copy(config)
    sampling.do_sample = True
    model.generation_config = next(it for it in (config, sampling, GenerationConfig(**ids)) if _is_valid(it))


def _is_valid(config: GenerationConfig) -> bool:
    try:
        config.validate(strict=True)
    except ValueError:
        return False
    return True


def _load_weights(
    path: str,
    *,
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool,
    has_head: bool = True,
    only_headers: bool = False,
) -> Any:
    """The model with its weights; with `only_headers`, a model on the meta device, whose weights have only shapes."""
    device = "meta" if only_headers else None
    if not holds_adapters(path):
        if has_head:
            _check_writes(path, trust_remote_code=trust_remote_code)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, trust_remote_code=trust_remote_code, device_map=device, output_loading_info=True
        )
        model, found = loaded
        check_complete(path, model, found, has_head=has_head)
        return model
    from peft import PeftModel

    model_below(path)  # raises if the adapters name themselves as their base model
    if not has_weights(Path(path)):
        raise BadInputError(f"{path}: has no weights of its adapters (adapter_model.safetensors); save them again")
    below = _load_weights(
        base_of_adapters(path),
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        has_head=has_head,
        only_headers=only_headers,
    )
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        adapted: Any = PeftModel.from_pretrained(below, path, torch_device="cpu")
    if any("missing adapter keys" in str(it.message) for it in warned):
        raise BadInputError(
            f"{path}: its adapter weights do not match its {ADAPTER} and base model, so some adapters would have no effect; "
            "use the base model that they were trained on, or save them again"
        )
    if not hasattr(adapted, "merge_and_unload"):
        kind = adapted.peft_config["default"].peft_type.value
        raise BadInputError(f"{path}: its adapters ({kind}) cannot be merged into weights; longform reads LoRA")
    if only_headers:
        return adapted.unload()
    return adapted.merge_and_unload().requires_grad_(True)  # loading adapters freezes the base model


def _check_writes(path: str, *, trust_remote_code: bool) -> None:
    """Refuse classifiers and embedding models. With tied embeddings no weight of a language model is missing from them."""
    config = load_config(path, trust_remote_code=trust_remote_code)
    names = [str(it) for it in getattr(config, "architectures", None) or []]
    if any(it.endswith(_CLASSIFIERS) for it in names):
        raise BadInputError(
            f"{path}: is a classifier or reward model ({names[0]} in its config.json), which does not write; use a language "
            "model, such as the one that it was trained from"
        )
    backbone = MODEL_MAPPING.get(type(config), None)
    if (isinstance(backbone, type) and backbone.__name__ in names) or (Path(path) / "modules.json").is_file():
        raise BadInputError(
            f"{path}: is an embedding model or lacks its output head ({', '.join(names) or 'modules.json'}); use a "
            "language model"
        )


def check_complete(path: str, model: Any, found: dict[str, Any], *, has_head: bool = True) -> None:
    """Check that a model's files have all weights that its configuration describes.

    transformers initializes missing weights at random, without an error.

    Args:
        path: Folder or hub id of the model, for the error.
        model: The model as transformers loaded it.
        found: Report of transformers with `output_loading_info`.
        has_head: Whether weights outside the backbone are needed, such as the output head.

    Raises:
        BadInputError: weights are missing.
    """
    backbone = f"{model.base_model_prefix}."
    missing = sorted(it for it in found["missing_keys"] if has_head or it.startswith(backbone))
    if missing:
        raise BadInputError(
            f"{path}: its files lack {len(missing)} of the weights that its config.json describes, such as {missing[0]}; "
            "use a complete language model, with the config.json that belongs to it"
        )


def _load_quantized(
    path: str, quantize: Quantization, *, device: str, dtype: torch.dtype, trust_remote_code: bool
) -> Any:
    if holds_adapters(path):
        raise BadInputError(
            f"{path}: contains adapters, which memory.quantize cannot merge into 4-bit weights; merge and save them first"
        )
    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        quantization_config=quantization_config(quantize, compute=dtype),
        device_map={"": device},
    )
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            vars(module)["support_avx512bf16_for_cpu"] = False  # weights in this packed format have no gradient
    return model


def _not_loaded(path: str, what: str, error: Exception) -> BadInputError:
    folders = [Path(it) for it in (path, model_below(path)) if Path(it).is_dir()]
    reason = next(filter(None, map(describe_damage, folders)), None) or load_failure(path, error)
    if "Unrecognized configuration class" in str(error):
        reason = "its architecture is not that of a causal language model; use a model that generates text"
    if "trust_remote_code" in str(error):
        reason = (
            "it needs code from its folder, which is not run by default; read that code and, if you trust it, set "
            "trust_remote_code: true in the recipe (--trust-remote-code)"
        )
    return BadInputError(f"{path}: {what}: {reason}")
