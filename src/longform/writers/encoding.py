"""Prompts as token ids: in the tokenizer's chat template, or as plain text for a base model."""

from collections.abc import Sequence
from typing import Any

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow
from longform.text.structure import OPENING_TAG
from longform.wording import Wording
from longform.writers.chat_template import check_turns, render_chat
from longform.writers.settings import GenerationSettings
from longform.writers.think import ThinkPrompt


def encode_prompts(
    tokenizer: Any, prompts: Sequence[PromptRow], *, settings: GenerationSettings, wording: Wording | None = None
) -> list[list[int]]:
    """Tokenize prompts, with the think prompt if the settings ask for one.

    Raises:
        BadInputError: a prompt has no tokens, is longer than `generation.max_prompt_tokens`, has no user message for the
            think prompt, or is refused by the chat template or loses a turn in it; or the think prompt is invalid.
    """
    think_prompt = ThinkPrompt.read(settings.think, settings.think_prompt, wording=wording)
    encoded = [_encode(tokenizer, prompt, think_prompt, settings) for prompt in prompts]
    if tokenizer.chat_template and settings.uses_chat_template:
        _check_turns(tokenizer, prompts, think_prompt, settings)
    for prompt, ids in zip(prompts, encoded, strict=True):
        if not 0 < len(ids) <= settings.max_prompt_tokens:
            limit = f"generation.max_prompt_tokens is {settings.max_prompt_tokens}"
            raise BadInputError(f"prompt {prompt.id}: has {len(ids)} tokens; {limit}")
    return encoded


def _check_turns(
    tokenizer: Any, prompts: Sequence[PromptRow], think_prompt: ThinkPrompt, settings: GenerationSettings
) -> None:
    first = {tuple(turn["role"] for turn in think_prompt.messages(it)): it.id for it in reversed(prompts)}
    for roles, id_ in first.items():
        check_turns(
            tokenizer,
            roles,
            name=f"prompt {id_}",
            kwargs=settings.chat_template_kwargs,
            remedy="change the messages or the template, or set generation.chat_template: off (--chat-template off)",
        )


def _encode(tokenizer: Any, prompt: PromptRow, think_prompt: ThinkPrompt, settings: GenerationSettings) -> list[int]:
    if tokenizer.chat_template and settings.uses_chat_template:
        text = render_chat(
            tokenizer,
            think_prompt.messages(prompt),
            name=f"prompt {prompt.id}",
            kwargs=settings.chat_template_kwargs,
        )
        if think_prompt.thinking != "off" and text.rstrip().endswith(OPENING_TAG):
            # Chat templates of reasoning models add `<think>`; the response must contain it to be well-formed.
            text = text.rstrip().removesuffix(OPENING_TAG)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    ids = list(tokenizer(think_prompt.text(prompt))["input_ids"])
    if tokenizer.eos_token_id is not None and ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    if tokenizer.bos_token_id is not None and ids[:1] != [tokenizer.bos_token_id]:
        ids.insert(0, tokenizer.bos_token_id)
    return ids
