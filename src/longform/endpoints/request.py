"""A chat request and its hash, under which its answer is recorded.

The endpoint's name is not part of the hash, so an answer is found again after a model is renamed in models.yaml. `sample`
and `attempt` are: they ask for another answer to the same words.
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
"""What a chat template adds around a message."""


@dataclass(frozen=True)
class ChatRequest:
    """Everything that decides an answer."""

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
        """Below `base_url`."""
        return "/chat/completions"

    @property
    def tokens(self) -> int:
        """Estimated tokens of the prompt plus the longest answer."""
        return estimate_prompt_tokens(self.messages) + self.max_tokens

    @property
    def parameters(self) -> dict[str, Any]:
        """The body to send. `top_p` is left out at 1, since some endpoints refuse it beside a temperature; `seed` is sent
        for further samples alone, so that an endpoint with fixed draws gives another one.
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
    """A text that a reward model is to score, as it reads it; to a server of vLLM."""

    base_url: str
    model: str
    ids: tuple[int, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all fields, in hex."""
        return _hash({"base_url": self.base_url, "model": self.model, "ids": self.ids})

    @property
    def tokens(self) -> int:
        """Of the text; a score takes none."""
        return len(self.ids)

    @property
    def path(self) -> str:
        """A whole address: it stands beside the versioned paths, not below them."""
        return f"{without_user(self.base_url).removesuffix('/v1')}/classify"

    @property
    def parameters(self) -> dict[str, Any]:
        """The body to send: the score is wanted as the head gives it."""
        return {"model": self.model, "input": list(self.ids), "use_activation": False}


Request = ChatRequest | ScoreRequest


def _hash(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def estimate_prompt_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """Estimated tokens of a conversation with its chat template."""
    return sum(estimate_tokens(message["content"]) + _TOKENS_PER_MESSAGE for message in messages)


def clean_messages(messages: Iterable[Mapping[str, str]]) -> tuple[dict[str, str], ...]:
    """The messages as plain dictionaries that can be encoded: lone surrogates become "?"."""
    return tuple({key: clean_text(value) for key, value in message.items()} for message in messages)


def clean_text(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
