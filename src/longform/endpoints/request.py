"""Requests and their hashes, under which answers are recorded.

The hash includes everything in models.yaml that can change an answer, and `sample` and `attempt`, which request another
answer to the same messages. It does not include how the request is sent (time-out, streaming, the key, the name of the token
parameter), nor the name in models.yaml, so answers are found again after a rename.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from longform.endpoints.models import HeaderValue, ModelSpec, TokenParameter
from longform.text.words import estimate_tokens

_TOKENS_PER_MESSAGE = 8
"""Tokens that a chat template adds to a message."""


@dataclass(frozen=True)
class ChatRequest:
    """All parameters of a chat completion."""

    base_url: str
    model: str
    messages: tuple[dict[str, str], ...]
    temperature: float | None
    """None leaves it out."""
    max_tokens: int
    top_p: float | None
    """None leaves it out."""
    sample: int
    attempt: int
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters of the body."""
    sends_top_p: bool = False
    """Whether `top_p` is sent even at 1, where an endpoint's own default must not apply."""
    token_parameter: TokenParameter = "max_tokens"
    stream: bool = False
    letters: tuple[str, ...] = ()
    """Tokens whose probabilities as the first token are the answer, in place of a text."""
    setting: Mapping[str, Any] = field(default_factory=dict)
    """Query and headers, as far as they can change the answer; values from the environment by the variable's name."""

    @classmethod
    def build(
        cls,
        spec: ModelSpec,
        messages: Iterable[Mapping[str, str]],
        *,
        temperature: float,
        max_tokens: int,
        top_p: float = 1.0,
        sends_top_p: bool = False,
        sample: int = 0,
        attempt: int = 0,
        response_format: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        letters: tuple[str, ...] = (),
    ) -> "ChatRequest":
        """The request to the model of `spec`, whose settings take the place of the other arguments.

        Args:
            spec: the model's entry in models.yaml.
            messages: the conversation; `spec.system` comes first unless it already has a system turn.
            temperature: of sampling.
            max_tokens: longest answer.
            top_p: of nucleus sampling.
            sends_top_p: send `top_p` even at 1.
            sample: distinguishes several answers to the same request.
            attempt: distinguishes repeats after an unusable answer.
            response_format: for an endpoint with structured output.
            extra: further parameters, unless `spec.body` has them.
            letters: ask for the probabilities of these as the first token.
        """
        if letters:
            max_tokens = 1
        conversation = clean_messages(messages)
        if spec.system is not None and not any(it["role"] == "system" for it in conversation):
            conversation = ({"role": "system", "content": clean_text(spec.system)}, *conversation)
        setting: dict[str, Any] = {}
        if spec.query:
            setting["query"] = dict(spec.query)
        if spec.headers:
            setting["headers"] = {
                name: {"env": value.env} if isinstance(value, HeaderValue) else value
                for name, value in spec.headers.items()
            }
        return cls(
            spec.base_url,
            spec.model,
            conversation,
            spec.temperature if spec.is_set("temperature") else temperature,
            1 if letters else spec.longest_answer(max_tokens),
            spec.top_p if spec.is_set("top_p") else top_p,
            sample,
            attempt,
            {
                **(extra or {}),
                **spec.body,
                **({} if response_format is None else {"response_format": dict(response_format)}),
            },
            sends_top_p or (spec.is_set("top_p") and spec.top_p is not None),
            spec.token_parameter,
            spec.stream and not letters,
            letters,
            setting,
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all that can change the answer, in hex."""
        fields: dict[str, Any] = {
            "base_url": self.base_url,
            "model": self.model,
            "messages": self.messages,
            "temperature": None if self.temperature is None else float(self.temperature),
            "max_tokens": self.max_tokens,
            "top_p": None if self.top_p is None else float(self.top_p),
            "sample": self.sample,
            "attempt": self.attempt,
        }
        # Left out where they are not used, so that answers of version 0.1 are found again.
        if self.extra:
            fields["body"] = dict(self.extra)
        if self.sends_top_p:
            fields["sends_top_p"] = True
        if self.letters:
            fields["letters"] = self.letters
        return _hash({**fields, **self.setting})

    @property
    def path(self) -> str:
        """Relative to `base_url`."""
        return "/chat/completions"

    @property
    def tokens(self) -> int:
        """Estimated tokens of the prompt plus the longest answer."""
        return self.prompt_tokens + self.max_tokens

    @cached_property
    def prompt_tokens(self) -> int:
        """Estimated tokens of the prompt."""
        return estimate_prompt_tokens(self.messages)

    @property
    def parameters(self) -> dict[str, Any]:
        """The request body. `top_p` is omitted at 1 unless it is wanted, because some endpoints refuse it together with a
        temperature; `seed` is sent for further samples only, so that a deterministic endpoint gives another answer.
        """
        body: dict[str, Any] = {"model": self.model, "messages": list(self.messages)}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        body[self.token_parameter] = self.max_tokens
        if self.top_p is not None and (self.top_p != 1 or self.sends_top_p):
            body["top_p"] = self.top_p
        if self.sample:
            body["seed"] = self.sample
        if self.letters:
            body |= {"logprobs": True, "top_logprobs": 20}
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        stated = {name: value for name, value in self.extra.items() if value is not None}
        body = {name: value for name, value in body.items() if name not in self.extra} | stated
        if self.sample and isinstance(stated.get("seed"), int):
            body["seed"] = stated["seed"] + self.sample
        return body


@dataclass(frozen=True)
class ScoreRequest:
    """A text in tokens, to be scored by a reward model on a vLLM server."""

    base_url: str
    model: str
    ids: tuple[int, ...]
    max_tokens: int = 0
    """A score has none."""
    stream: bool = False

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all fields, in hex."""
        return _hash({"base_url": self.base_url, "model": self.model, "ids": self.ids})

    @property
    def tokens(self) -> int:
        """Of the text; a score has none."""
        return len(self.ids)

    @property
    def prompt_tokens(self) -> int:
        """Of the text."""
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


def without_user(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


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
