"""A local transformers model as a writer. Prompts use the tokenizer's chat template if it has one, else plain text."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow, Response
from longform.wording import Wording
from longform.writers.decoding import decode_in_batches, find_stops
from longform.writers.paths import base_of_adapters, check_model_path, holds_adapters, model_below
from longform.writers.settings import GenerationSettings
from longform.writers.think import ThinkPrompt, build_response

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()

_OPENING_TAG = "<think>"


class LocalWriter:
    """Generates responses with a model folder or hub id. `tokenizer` and `model` are the transformers objects."""

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
        """Generate one response per prompt, in order, in batches of `settings.batch`.

        A response is a function of the model, the seed, the sample and its row.

        Args:
            prompts: The prompts.
            settings: Generation settings.
            seed: Sampling seed.
            name: Model name of the responses.
            sample: Numbers several responses to the same prompt.
            first_row: Row of the first prompt.
        """
        stops = find_stops(self.model, self.tokenizer, settings)
        finished = decode_in_batches(
            self.model,
            encode_prompts(self.tokenizer, prompts, settings=settings),
            seed=seed,
            step=-1 - sample,
            first_row=first_row,
            stops=stops,
            settings=settings,
        )
        return [
            build_response(
                prompt,
                stops.response_text(written.tokens),
                thinking=settings.think,
                model=name,
                sample=sample,
                finish_reason=written.finish_reason,
            )
            for prompt, written in zip(prompts, finished, strict=True)
        ]


def load_model(path: str, *, device: str, dtype: torch.dtype = torch.float32) -> tuple[Any, PreTrainedModel]:
    """Load the tokenizer and the causal language model of a folder or hub id, in evaluation mode.

    For a folder of LoRA adapters, the base model is loaded and the adapters are merged into its weights.

    Raises:
        BadInputError: the model does not exist or cannot be loaded.
    """
    tokenizer = load_tokenizer(path)
    try:
        model: Any = _load_weights(path, dtype=dtype)
    except BadInputError:
        raise
    except Exception as error:  # transformers and peft raise exceptions of any type for a broken folder
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: cannot be loaded as a model: {reason}") from error
    return tokenizer, model.to(device).eval()


def load_tokenizer(path: str) -> Any:
    """Load the tokenizer of a folder or hub id.

    Raises:
        BadInputError: the model does not exist, or its tokenizer cannot be loaded.
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

    model_below(path)  # refuses adapters whose base is themselves
    below = _load_weights(base_of_adapters(path), dtype=dtype)
    adapted: Any = PeftModel.from_pretrained(below, path)
    return adapted.merge_and_unload().requires_grad_(True)  # loading adapters freezes the base model


def encode_prompts(
    tokenizer: Any, prompts: Sequence[PromptRow], *, settings: GenerationSettings, wording: Wording | None = None
) -> list[list[int]]:
    """Tokenize prompts, with the think prompt if the settings ask for one.

    Raises:
        BadInputError: a prompt has no tokens, is longer than `generation.max_prompt_tokens`, or has no user message for the
            think prompt; or the think prompt is invalid.
    """
    think_prompt = ThinkPrompt.read(settings.think, settings.think_prompt, wording=wording)
    encoded = [_encode(tokenizer, prompt, think_prompt) for prompt in prompts]
    for prompt, ids in zip(prompts, encoded, strict=True):
        if not 0 < len(ids) <= settings.max_prompt_tokens:
            limit = f"generation.max_prompt_tokens is {settings.max_prompt_tokens}"
            raise BadInputError(f"prompt {prompt.id}: has {len(ids)} tokens; {limit}")
    return encoded


def _encode(tokenizer: Any, prompt: PromptRow, think_prompt: ThinkPrompt) -> list[int]:
    if tokenizer.chat_template:
        messages = think_prompt.messages(prompt)
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        if think_prompt.thinking != "off" and text.rstrip().endswith(_OPENING_TAG):
            # Chat templates of reasoning models add `<think>`; the response must contain it to be well-formed.
            text = text.rstrip().removesuffix(_OPENING_TAG)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    ids = list(tokenizer(think_prompt.text(prompt))["input_ids"])
    if tokenizer.eos_token_id is not None and ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    if tokenizer.bos_token_id is not None and ids[:1] != [tokenizer.bos_token_id]:
        ids.insert(0, tokenizer.bos_token_id)
    return ids
