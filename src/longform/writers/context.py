"""A batched KV cache with spare capacity, and the next-token logits of its rows.

A prompt shared by several rows is encoded once. The tensors of keys and values have spare capacity into which new tokens are
written: the default cache of transformers copies all keys and values for each token, which for long texts takes longer than
attention itself.

Shapes: R rows, T tokens per row, V vocabulary. Prompts are left-padded.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

_SPARE = 64
"""Spare capacity in tokens, in addition to an eighth of the cached tokens."""


class Context:
    """The model state of R rows: their cached keys and values.

    Args:
        model: A causal language model in evaluation mode.
        longest: Maximum number of tokens after a prompt.
    """

    def __init__(self, model: PreTrainedModel, *, longest: int) -> None:
        self._model: Any = model
        self._cache = DynamicCache(config=model.config)
        self._argument = _cache_argument(model)
        # Layers that do not cache all tokens, such as sliding-window layers, keep the default cache.
        roomy = [_RoomyLayer(longest) if type(layer) is DynamicLayer else layer for layer in self._cache.layers]
        self._cache.layers = roomy

    @torch.inference_mode()
    def read_prompts(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Encode the prompts; return the logits of the next token, [R, V]. Call once, before other methods."""
        distinct = {tuple(prompt): index for index, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        inputs, self._attention = _left_padded(list(distinct), self._model.device)
        self._positions = (self._attention.cumsum(1) - 1).clamp(min=0)
        logits = self._read(inputs)
        if len(distinct) == len(prompts):
            return logits
        rows = [distinct[tuple(prompt)] for prompt in prompts]
        self.keep(rows)
        return logits[rows]

    @torch.inference_mode()
    def read_tokens(self, tokens: Tensor) -> Tensor:
        """Append one token per row, [R]; return the logits of the next token, [R, V]."""
        self._attention = torch.cat([self._attention, self._attention.new_ones(len(tokens), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1
        return self._read(tokens[:, None])

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; a row may be repeated."""
        index = torch.tensor(rows, device=self._model.device)
        self._cache.batch_select_indices(index)
        self._attention, self._positions = self._attention[index], self._positions[index]

    def _read(self, inputs: Tensor) -> Tensor:
        output = self._model(
            input_ids=inputs,
            attention_mask=self._attention,
            position_ids=self._positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._argument: self._cache},
        )
        return output.logits[:, -1]


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer: views, [R, heads, T, width], of tensors with spare capacity.

    Capacity grows with the texts, up to `longest` tokens after the prompts.
    """

    keys: Any
    values: Any

    def __init__(self, longest: int) -> None:
        super().__init__()
        self._longest = longest

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append new tokens; return all cached keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = self._rooms = key_states, value_states
            self._longest += key_states.shape[-2]
            return self.keys, self.values
        held = self.keys.shape[-2]
        end = held + key_states.shape[-2]
        if end > self._rooms[0].shape[-2]:
            size = max(end, min(end + end // 8 + _SPARE, self._longest))
            self._rooms = _enlarged(self.keys, size), _enlarged(self.values, size)
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, held:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self._rooms)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows, possibly repeated. Rows that keep their index are not copied."""
        if len(indices) > len(self.keys):
            super().batch_select_indices(indices)
            self._rooms = self.keys, self.values
            return
        held = self.keys.shape[-2]
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero().flatten()
        self._rooms = self._rooms[0][: len(indices)], self._rooms[1][: len(indices)]
        for room, states in zip(self._rooms, (self.keys, self.values), strict=True):
            room[moved, :, :held] = states[indices[moved]]
        self.keys, self.values = (room[:, :, :held] for room in self._rooms)


def _cache_argument(model: PreTrainedModel) -> str:
    """The name of a model's cache argument: transformers 5.2x renamed it and warns about the old name."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"


def _enlarged(held: Tensor, size: int) -> Tensor:
    rows, heads, length, width = held.shape
    room = held.new_empty(rows, heads, size, width)
    room[:, :, :length] = held
    return room


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    attention = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        attention[row, width - len(prompt) :] = 1
    return ids.to(device), attention.to(device)
