"""What ends a response: closing tokens, and the closing tag of the answer where it is written in tags.

Tokenizers cut `</answer>` into several tokens and may glue its end to other characters, so it is looked for in text. Most
tokens cannot complete it: the end of a row is read only where its last token holds the tag's last character.
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
"""Tokens that are read in search of the tag: one for each character, and as many that show as nothing."""


@dataclass(frozen=True, slots=True)
class Stops:
    """What ends a response.

    Args:
        tokens: ids that end a response.
        read: the text of token ids, special ones left out but for tags.
        completing: ids of the tokens that can complete the closing tag; empty where responses have no tags.
    """

    tokens: frozenset[int]
    read: Callable[[Sequence[int]], str]
    completing: frozenset[int] = frozenset()

    def may_end(self, token: int) -> bool:
        """Whether a response may be at its end with this token; `are_reached` decides."""
        return token in self.tokens or token in self.completing

    def are_reached(self, tokens: "Tensor") -> bool:
        """Whether a response ends with the last of its tokens, [T]."""
        tail = tokens[-_TAIL:].tolist()
        return tail[-1] in self.tokens or (tail[-1] in self.completing and CLOSING_TAG in self.read(tail))

    def response_text(self, tokens: "Tensor") -> str:
        """The text of a response, [T] tokens, without its end token and what follows the closing tag in its last token."""
        ids = tokens.tolist()
        if ids and ids[-1] in self.tokens:
            ids.pop()
        text = self.read(ids).strip()
        return end_at_closing_tag(text) if self.completing else text


def find_stops(model: Any, tokenizer: Any, settings: GenerationSettings) -> Stops:
    """What ends the responses of a model.

    Closing tokens are what its generation config and its tokenizer name, and the token that would begin the next document,
    which a model without a chat template writes when it is done.
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
    """What token ids say: special tokens are left out, but for tags that responses are asked to have."""
    if thinking == "off":
        return lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    hidden = {
        id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special and token.content not in _TAGS
    }
    return lambda ids: tokenizer.decode([id_ for id_ in ids if id_ not in hidden])
