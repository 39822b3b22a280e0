"""When a response ends: at an end token, at the closing tag of an answer, or at a stop string.

Tokenizers split `</answer>` into several tokens and may merge its end with other characters, so strings are searched
for in decoded text. Most tokens cannot complete one: a row is decoded only if its last token contains the last
character of a string.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from longform.records.errors import BadInputError
from longform.text import thoughts
from longform.text.structure import CLOSING_TAG, OPENING_TAG, Thinking
from longform.writers.chat_template import render_chat
from longform.writers.settings import GenerationSettings
from longform.writers.think import end_at_closing_tag

_STRUCTURE = (OPENING_TAG, "</think>", "<answer>", CLOSING_TAG)
_THOUGHTS = (
    *thoughts.TAGS,
    "<|start|>",
    "<|channel|>",
    "<|constrain|>",
    "<|message|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
)
"""Special tokens that mark a reasoning model's own thoughts; the last ones are those of harmony channels."""
_HELLO = {"role": "user", "content": "Hello"}
_MARK = "longform-end-of-turn"
"""Placeholder content of an assistant turn, to find out what the chat template writes after it."""


@dataclass(frozen=True, slots=True)
class Stops:
    """Stop conditions of a response.

    Args:
        tokens: Ids of end tokens.
        read: Decodes token ids without special tokens, except for tags.
        has_closing_tag: Whether `</answer>` ends a response; it stays part of the text.
        strings: Further strings that end a response; they and what follows them are left out of the text.
        completing: Ids of tokens that can complete the tag or a string.
        begun: The beginning of each response that the chat template has written: an opening tag of thoughts, or nothing.
    """

    tokens: frozenset[int]
    read: Callable[[Sequence[int]], str]
    has_closing_tag: bool = False
    strings: tuple[str, ...] = ()
    completing: frozenset[int] = frozenset()
    begun: str = ""

    def may_end(self, token: int) -> bool:
        """Whether a response may end with this token; `are_reached` decides."""
        return token in self.tokens or token in self.completing

    def are_reached(self, tokens: Tensor) -> bool:
        """Whether a response of the tokens [T] ends with its last token."""
        searched = self.searched
        # A string may take one token per byte, and as many tokens that decode to nothing may be in between.
        longest = max((len(it.encode("utf-8", "surrogatepass")) for it in searched), default=1)
        tail = tokens[-2 * longest :].tolist()
        if tail[-1] in self.tokens:
            return True
        if tail[-1] not in self.completing:
            return False
        text = self.read(tail)
        return any(string in text for string in searched)

    def find_end(self, tokens: Tensor) -> int:
        """Return the number of tokens of a response, given [T] tokens that may continue after its end."""
        for position, token in enumerate(tokens.tolist()):
            if self.may_end(token) and self.are_reached(tokens[: position + 1]):
                return position + 1
        return len(tokens)

    def response_text(self, tokens: Tensor) -> str:
        """Decode a response, [T] tokens, without its end token, and without a stop string or anything after
        the closing tag.
        """
        ids = tokens.tolist()
        if ids and ids[-1] in self.tokens:
            ids.pop()
        text = self.begun + self.read(ids)
        for string in self.strings:
            text = text.partition(string)[0]
        text = text.strip()
        return end_at_closing_tag(text) if self.has_closing_tag else text

    @property
    def searched(self) -> tuple[str, ...]:
        """The strings that end a response, with the closing tag if it does."""
        return (*self.strings, CLOSING_TAG) if self.has_closing_tag else self.strings


def find_stops(tokenizer: Any, settings: GenerationSettings, *, generation_config: Any = None) -> Stops:
    """Return the stop conditions of a model.

    End tokens are those of its generation config and tokenizer, the token that its chat template writes after an
    assistant turn, and the beginning-of-sequence token, which a model without a chat template generates when a text is
    finished.
    """
    configured = generation_config.eos_token_id if generation_config else None
    ids = [
        *(configured if isinstance(configured, list) else [configured]),
        tokenizer.eos_token_id,
        tokenizer.bos_token_id,
        find_turn_end(tokenizer) if settings.uses_chat_template else None,
    ]
    has_tags = settings.think != "off"
    last = {string[-1] for string in (*settings.stop, *([CLOSING_TAG] if has_tags else []))}
    return Stops(
        tokens=frozenset(id_ for id_ in ids if id_ is not None),
        read=find_reader(tokenizer, settings.think),
        has_closing_tag=has_tags,
        strings=tuple(settings.stop),
        completing=_tokens_with(last, tokenizer),
        begun=_begun_by_template(tokenizer, settings),
    )


def find_reader(tokenizer: Any, thinking: Thinking) -> Callable[[Sequence[int]], str]:
    """Return a decoder of token ids that skips special tokens, except for tags: of the requested format, or
    else of thoughts.
    """
    kept = _THOUGHTS if thinking == "off" else _STRUCTURE
    hidden = {
        id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special and token.content not in kept
    }
    return lambda ids: tokenizer.decode([id_ for id_ in ids if id_ not in hidden])


def _tokens_with(characters: set[str], tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that contain one of the characters. Tokens may contain single bytes of a character outside ASCII,
    so for these all ids are returned.
    """
    if not all(it.isascii() and it.isprintable() and it != " " for it in characters):
        return frozenset(tokenizer.get_vocab().values())
    return frozenset(id_ for token, id_ in tokenizer.get_vocab().items() if characters & set(token))


def _begun_by_template(tokenizer: Any, settings: GenerationSettings) -> str:
    """`<think>` if the chat template writes it before each response, so that a response begins inside its thoughts.

    Where `think` asks for a plan in these tags, the prompt leaves the tag to the response.
    """
    if settings.think != "off" or not tokenizer.chat_template or not settings.uses_chat_template:
        return ""
    try:
        text = render_chat(tokenizer, [_HELLO], name="a greeting", kwargs=settings.chat_template_kwargs)
    except BadInputError:  # reported for the real prompts
        return ""
    return OPENING_TAG if text.rstrip().endswith(OPENING_TAG) else ""


def find_turn_end(tokenizer: Any) -> int | None:
    """The token that the chat template writes after an assistant turn, such as `<|im_end|>`; None if there is none.

    Base models often have the template and know this token from their training data, while their end-of-sequence token is
    another one, such as `<|endoftext|>`. Some templates write no token after a turn, but one before the next turn (GLM-4).
    A model ends its turn with that token.
    """
    if not tokenizer.chat_template:
        return None
    turns = [_HELLO, {"role": "assistant", "content": _MARK}]
    for messages in (turns, [*turns, _HELLO]):
        try:
            rendered = render_chat(tokenizer, messages, name="a greeting", generation_prompt=False)
        except BadInputError:  # reported for the real prompts
            continue
        after = rendered.rpartition(_MARK)[2].lstrip() if _MARK in rendered else ""
        for id_, token in tokenizer.added_tokens_decoder.items():
            if token.content.strip() and after.startswith(token.content):
                return id_
    return None
