"""A local transformers model as a writer: its tokenizer's chat template where it has one, the plain text where not."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow, Response
from longform.writers.decoding import Written, decode_in_batches
from longform.writers.paths import base_of_adapters, check_model_path, holds_adapters, model_below
from longform.writers.settings import GenerationSettings

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


class LocalWriter:
    """A model folder or hub id that writes responses. `tokenizer` and `model` are the transformers objects."""

    def __init__(self, path: str, *, device: str | None = None) -> None:
        self.path = path
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.model = load_model(path, device=self.device)

    def write(
        self,
        prompts: Sequence[PromptRow],
        *,
        settings: GenerationSettings,
        seed: int,
        name: str,
        sample: int = 0,
        first_row: int = 0,
    ) -> list[Response]:
        """One response to each prompt, in order; `name` is the model name that they carry.

        A response is a function of the model, the seed, the sample and its row: `first_row` is the row of the first
        prompt. Prompts go through the model in batches of `settings.batch`.
        """
        stops = stop_tokens(self.model, self.tokenizer)
        encoded = [encode_prompt(self.tokenizer, prompt, limit=settings.max_prompt_tokens) for prompt in prompts]
        finished = decode_in_batches(
            self.model,
            encoded,
            seed=seed,
            step=-1 - sample,
            first_row=first_row,
            stop_tokens=stops,
            settings=settings,
        )
        return [
            Response(
                prompt_id=prompt.id,
                model=name,
                sample=sample,
                text=response_text(self.tokenizer, written, stops),
                finish_reason=written.finish_reason,
            )
            for prompt, written in zip(prompts, finished, strict=True)
        ]


def load_model(path: str, *, device: str, dtype: torch.dtype = torch.float32) -> tuple[Any, PreTrainedModel]:
    """Tokenizer and causal language model of a folder or hub id, in evaluation mode.

    In a folder with adapters (LoRA) the model they belong to is loaded too, and the adapters are folded into its weights.

    Raises:
        BadInputError: there is no such model, or it cannot be loaded.
    """
    tokenizer = load_tokenizer(path)
    try:
        model: Any = _load_weights(path, dtype=dtype)
    except BadInputError:
        raise
    except Exception as error:  # what a broken folder makes transformers and peft raise has no bounds
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: cannot be loaded as a model: {reason}") from error
    return tokenizer, model.to(device).eval()


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a folder or hub id.

    Raises:
        BadInputError: there is no such model, or it has no tokenizer that can be loaded.
    """
    check_model_path(path)
    try:
        return AutoTokenizer.from_pretrained(path)
    except Exception as error:  # as below
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: its tokenizer cannot be loaded: {reason}") from error


def _load_weights(path: str, *, dtype: torch.dtype) -> Any:
    if not holds_adapters(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    from peft import PeftModel

    model_below(path)  # adapters that belong to themselves would never end
    below = _load_weights(base_of_adapters(path), dtype=dtype)
    adapted: Any = PeftModel.from_pretrained(below, path)
    return adapted.merge_and_unload().requires_grad_(True)  # loading adapters freezes what is below them


def encode_prompt(tokenizer: Any, prompt: PromptRow, *, limit: int) -> list[int]:
    """Token ids that a response continues.

    Raises:
        BadInputError: the prompt is empty in tokens, or longer than `limit` (generation.max_prompt_tokens).
    """
    if tokenizer.chat_template:
        encoded = tokenizer.apply_chat_template(prompt.messages, add_generation_prompt=True, return_dict=True)
        ids = list(encoded["input_ids"])
    else:
        ids = list(tokenizer(prompt.request)["input_ids"])
        if tokenizer.eos_token_id is not None and ids and ids[-1] == tokenizer.eos_token_id:
            ids.pop()
        if tokenizer.bos_token_id is not None and ids[:1] != [tokenizer.bos_token_id]:
            ids.insert(0, tokenizer.bos_token_id)
    if not 0 < len(ids) <= limit:
        raise BadInputError(f"prompt {prompt.id}: has {len(ids)} tokens; generation.max_prompt_tokens is {limit}")
    return ids


def stop_tokens(model: PreTrainedModel, tokenizer: Any) -> list[int]:
    """Ids that end a response: what the model's generation config and the tokenizer name, and the token that would begin
    the next document, which a model without a chat template writes when it is done.
    """
    configured = model.generation_config.eos_token_id if model.generation_config else None
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({id_ for id_ in [*ids, tokenizer.eos_token_id, tokenizer.bos_token_id] if id_ is not None})


def response_text(tokenizer: Any, written: Written, stops: Sequence[int]) -> str:
    """The response as text, without its closing token."""
    ids = written.tokens.tolist()
    if ids and ids[-1] in stops:
        ids.pop()
    return tokenizer.decode(ids, skip_special_tokens=True).strip()
