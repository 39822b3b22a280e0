"""Requests and their hashes, under which answers are recorded.

The hash does not include the name in models.yaml, so answers are found again after a rename. It includes `sample` and
`attempt`, which request another answer to the same messages.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from longform.endpoints.connection import without_user
from longform.text.words import estimate_tokens

_TOKENS_PER_MESSAGE = 8
"""Tokens that a chat template adds to a message."""


@dataclass(frozen=True)
class ChatRequest:
    """All parameters of a chat completion."""

    base_url: str
    model: str
    messages: tuple[dict[str, str], ...]
    temperature: float
    max_tokens: int
    top_p: float
    sample: int
    attempt: int

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all fields, in hex."""
        fields = {
            "base_url": self.base_url,
            "model": self.model,
            "messages": self.messages,
            "temperature": float(self.temperature),
            "max_tokens": self.max_tokens,
            "top_p": float(self.top_p),
            "sample": self.sample,
            "attempt": self.attempt,
        }
        return _hash(fields)

    @property
    def path(self) -> str:
        """Relative to `base_url`."""
        return "/chat/completions"

    @property
    def tokens(self) -> int:
        """Estimated tokens of the prompt plus the longest answer."""
        return estimate_prompt_tokens(self.messages) + self.max_tokens

    @property
    def parameters(self) -> dict[str, Any]:
        """The request body. `top_p` is omitted at 1, because some endpoints refuse it together with a temperature; `seed` is
        sent for further samples only, so that a deterministic endpoint gives another answer.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(self.messages),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if self.top_p != 1:
            body["top_p"] = self.top_p
        if self.sample:
            body["seed"] = self.sample
        return body


@dataclass(frozen=True)
class ScoreRequest:
    """A text in tokens, to be scored by a reward model on a vLLM server."""

    base_url: str
    model: str
    ids: tuple[int, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all fields, in hex."""
        return _hash({"base_url": self.base_url, "model": self.model, "ids": self.ids})

    @property
    def tokens(self) -> int:
        """Of the text; a score has none."""
        return len(self.ids)

    @property
    def path(self) -> str:
        """An absolute address, because the path is not below the version."""
        return f"{without_user(self.base_url).removesuffix('/v1')}/classify"

    @property
    def parameters(self) -> dict[str, Any]:
        """The request body, for the raw score of the head."""
        return {"model": self.model, "input": list(self.ids), "use_activation": False}


Request = ChatRequest | ScoreRequest


def _hash(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def estimate_prompt_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """Estimated tokens of a conversation with its chat template."""
    return sum(estimate_tokens(message["content"]) + _TOKENS_PER_MESSAGE for message in messages)


def clean_messages(messages: Iterable[Mapping[str, str]]) -> tuple[dict[str, str], ...]:
    """The messages as plain dictionaries, with lone surrogates replaced by "?"."""
    return tuple({key: clean_text(value) for key, value in message.items()} for message in messages)


def clean_text(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
