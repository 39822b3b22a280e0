"""Stop conditions of generation: end tokens, and the closing tag of an answer in tags.

Tokenizers split `</answer>` into several tokens and may merge its end with other characters, so the tag is searched for in
decoded text. Most tokens cannot complete it: a row is decoded only if its last token contains the last character of the tag.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longform.text.structure import CLOSING_TAG, Thinking
from longform.writers.settings import GenerationSettings
from longform.writers.think import end_at_closing_tag

if TYPE_CHECKING:
    from torch import Tensor

_TAGS = ("<think>", "</think>", "<answer>", CLOSING_TAG)
_TAIL = 2 * len(CLOSING_TAG)
"""Tokens decoded to find the tag: one per character, and as many that decode to nothing."""


@dataclass(frozen=True, slots=True)
class Stops:
    """Stop conditions of a response.

    Args:
        tokens: Ids of end tokens.
        read: Decodes token ids without special tokens, except for tags.
        completing: Ids of tokens that can complete the closing tag; empty if responses have no tags.
    """

    tokens: frozenset[int]
    read: Callable[[Sequence[int]], str]
    completing: frozenset[int] = frozenset()

    def may_end(self, token: int) -> bool:
        """Whether a response may end with this token; `are_reached` decides."""
        return token in self.tokens or token in self.completing

    def are_reached(self, tokens: "Tensor") -> bool:
        """Whether a response of the tokens [T] ends with its last token."""
        tail = tokens[-_TAIL:].tolist()
        return tail[-1] in self.tokens or (tail[-1] in self.completing and CLOSING_TAG in self.read(tail))

    def response_text(self, tokens: "Tensor") -> str:
        """Decode a response, [T] tokens, without its end token and anything after the closing tag."""
        ids = tokens.tolist()
        if ids and ids[-1] in self.tokens:
            ids.pop()
        text = self.read(ids).strip()
        return end_at_closing_tag(text) if self.completing else text


def find_stops(model: Any, tokenizer: Any, settings: GenerationSettings) -> Stops:
    """Return the stop conditions of a model.

    End tokens are the ones of its generation config and tokenizer, and the beginning-of-sequence token, which a model
    without a chat template generates when a text is finished.
    """
    configured = model.generation_config.eos_token_id if model.generation_config else None
    ids = [
        *(configured if isinstance(configured, list) else [configured]),
        tokenizer.eos_token_id,
        tokenizer.bos_token_id,
    ]
    tokens = frozenset(id_ for id_ in ids if id_ is not None)
    read = find_reader(tokenizer, settings.think)
    if settings.think == "off":
        return Stops(tokens, read)
    completing = frozenset(id_ for token, id_ in tokenizer.get_vocab().items() if CLOSING_TAG[-1] in token)
    return Stops(tokens, read, completing)


def find_reader(tokenizer: Any, thinking: Thinking) -> Callable[[Sequence[int]], str]:
    """Return a decoder of token ids that skips special tokens, except for the tags of the requested format."""
    if thinking == "off":
        return lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    hidden = {
        id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special and token.content not in _TAGS
    }
    return lambda ids: tokenizer.decode([id_ for id_ in ids if id_ not in hidden])
