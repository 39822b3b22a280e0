"""A batched KV cache with spare capacity, and the next-token logits of its rows.

A prompt shared by several rows is encoded once. New tokens are written into spare capacity of the key and value tensors.
The default cache of transformers copies all keys and values for each token instead, which takes longer than attention itself
if texts are long.

Layers of hybrid models (Qwen3.5, LFM2, Falcon-H1) keep a state of fixed size instead of, or in addition to, keys and values.
Padding would change that state. So their prompts are encoded in groups of equal length, without padding, and the groups are
joined.

Gradients are disabled, but not by inference mode: in that mode autocast would cast all weights again for each token.

Shapes: R rows, T tokens per row, V vocabulary. Prompts are left-padded.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionLayer,
)

from longform.writers.grouped_attention import grouping

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
        self._longest = longest
        self._argument = _cache_argument(model)
        # As an index, since the last state as a slice of a prompt's states is not contiguous: torch would then copy the
        # output head once for each row.
        self._last = torch.tensor([-1], device=model.device)
        self._cache = self._new_cache()
        self._has_states = any(isinstance(layer, LinearAttentionLayer) for layer in self._cache.layers)

    @torch.no_grad()
    def read_prompts(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Encode the prompts; return the logits of the next token, [R, V]. Call once, before other methods."""
        distinct = {tuple(prompt): index for index, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        inputs, self._attention = _left_padded(list(distinct), self._model.device)
        self._positions = (self._attention.cumsum(1) - 1).clamp(min=0)
        logits = self._read_by_length(inputs) if self._has_states else self._read(inputs)
        if len(distinct) == len(prompts):
            return logits
        rows = [distinct[tuple(prompt)] for prompt in prompts]
        self.keep(rows)
        return logits[rows]

    @torch.no_grad()
    def read_tokens(self, tokens: Tensor) -> Tensor:
        """Append one token per row, [R]; return the logits of the next token, [R, V]."""
        self._attention = torch.cat([self._attention, self._attention.new_ones(len(tokens), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1
        with grouping(self._model):
            return self._read(tokens[:, None])

    @torch.no_grad()
    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; a row may be repeated."""
        index = torch.tensor(rows, device=self._model.device)
        for layer in self._cache.layers:
            _select(layer, index)
        self._attention, self._positions = self._attention[index], self._positions[index]

    def _new_cache(self) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        # Layers that do not cache all tokens, such as sliding-window layers, keep the default cache.
        roomy = [_RoomyLayer(self._longest) if type(layer) is DynamicLayer else layer for layer in cache.layers]
        cache.layers = roomy
        return cache

    def _read(self, inputs: Tensor) -> Tensor:
        output = self._model(
            input_ids=inputs,
            attention_mask=self._attention,
            position_ids=self._positions,
            use_cache=True,
            logits_to_keep=self._last,
            **{self._argument: self._cache},
        )
        return output.logits[:, -1]

    def _read_by_length(self, inputs: Tensor) -> Tensor:
        """Encode the padded prompts, [R, T], in groups of equal length; return the logits of the next token, [R, V]."""
        attention, positions, width = self._attention, self._positions, inputs.shape[1]
        lengths = attention.sum(1)
        rows: list[int] = []
        logits, caches = [], []
        for length in lengths.unique().tolist():
            group = (lengths == length).nonzero().flatten()
            self._cache = self._new_cache()
            self._attention, self._positions = attention[group, -length:], positions[group, -length:]
            logits.append(self._read(inputs[group, -length:]))
            caches.append(self._cache)
            rows += group.tolist()
        self._cache = caches[0]
        for layers in zip(*(cache.layers for cache in caches), strict=True):
            _join(layers, width)
        self._attention, self._positions = attention[rows], positions[rows]
        order = torch.tensor(rows, device=inputs.device).argsort()
        self.keep(order.tolist())
        return torch.cat(logits)[order]


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer: views, [R, heads, T, width], of tensors with spare capacity.

    Capacity grows with the texts, up to `longest` tokens after the prompts.
    """

    keys: Any
    values: Any

    def __init__(self, longest: int) -> None:
        super().__init__()
        self._longest = longest

    def fill(self, keys: Tensor, values: Tensor) -> None:
        """Take these keys and values, [R, heads, T, width], of prompts."""
        self.keys, self.values = self._rooms = keys, values
        self._room = keys.shape[-2] + self._longest

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append new tokens; return all cached keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.fill(key_states, value_states)
            return self.keys, self.values
        held = self.keys.shape[-2]
        end = held + key_states.shape[-2]
        if end > self._rooms[0].shape[-2]:
            size = max(end, min(end + end // 8 + _SPARE, self._room))
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


def _select(layer: Any, index: Tensor) -> None:
    """Keep these rows of a layer's cache, possibly repeated."""
    if isinstance(layer, DynamicLayer):
        layer.batch_select_indices(index)
    if isinstance(layer, LinearAttentionLayer):
        for name in ("conv_states", "recurrent_states"):
            if (states := getattr(layer, name, None)) is not None:
                setattr(layer, name, states[index])
        layer.max_batch_size = len(index)


def _join(layers: Sequence[Any], width: int) -> None:
    """Put the rows of the same layer of several caches into the first one, as if prompts were padded to
    `width` on the left.
    """
    first = layers[0]
    if isinstance(first, DynamicLayer):
        window: Any = getattr(first, "sliding_window", None)
        held = min(width, window - 1) if isinstance(first, DynamicSlidingWindowLayer) else width
        first.keys = torch.cat([pad(it.keys, (0, 0, held - it.keys.shape[-2], 0)) for it in layers])
        first.values = torch.cat([pad(it.values, (0, 0, held - it.values.shape[-2], 0)) for it in layers])
        if isinstance(first, DynamicSlidingWindowLayer):
            first.cumulative_length = width
        if isinstance(first, _RoomyLayer):
            first.fill(first.keys, first.values)
    if isinstance(first, LinearAttentionLayer):
        for name in ("conv_states", "recurrent_states"):
            if getattr(first, name, None) is not None:
                setattr(first, name, torch.cat([getattr(it, name) for it in layers]))


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
