"""Rows of supervised fine-tuning as token ids with labels: what of a row is learned, and which rows are cut or left out.

Of a conversation every assistant turn is learned, with the token that the chat template writes behind it. This works with
any template: the conversation is rendered up to each turn, and the turn is what the rendering grew by. Some templates render
a turn otherwise once others follow it (those of reasoning models drop earlier thoughts); then each turn becomes a row of its
own, with what the model would see before it writes that turn.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, concatenate_datasets
from trl.data_utils import pack_dataset

from longform.records.errors import BadInputError
from longform.training.supervised.sft_recipe import Packing
from longform.training.supervised.stage import IGNORED
from longform.writers.chat_template import check_turns, render_chat

Turns = Sequence[Mapping[str, str]]
_REMEDY = "change the messages, or the tokenizer's chat_template"
BLANK: Mapping[str, Any] = {"input_ids": [0], "labels": [IGNORED]}
"""A row without anything to learn."""


@dataclass(slots=True)
class EncodedRows:
    """Rows as token ids."""

    ids: list[np.ndarray] = field(default_factory=list)
    """[tokens] int32 of each row."""
    labels: list[np.ndarray] = field(default_factory=list)
    """[tokens] int32; `IGNORED` where a token is not learned."""
    cut: int = 0
    """Rows whose end was cut off at `max_tokens`."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows left out, by cause."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, self.ids), default=0)

    def dataset(self) -> Dataset:
        """The rows for TRL, and a blank row at the end."""
        columns = {
            name: pa.array([*rows, np.array(BLANK[name], dtype=np.int32)], pa.list_(pa.int32()))
            for name, rows in (("input_ids", self.ids), ("labels", self.labels))
        }
        return Dataset(pa.table(columns))


def encode_rows(
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    locations: Sequence[str] = (),
    template_options: Mapping[str, Any] | None = None,
) -> EncodedRows:
    """Tokenize rows.

    Args:
        tokenizer: The model's; conversations need its chat template.
        rows: With `messages` (a conversation), `prompt` and `completion` (both turns, or both text), or `text`.
        max_tokens: Longer rows are cut; a row of which nothing to learn is left is left out.
        locations: FILE:LINE of each row, for errors.
        template_options: Further variables of the chat template, such as enable_thinking.

    Raises:
        BadInputError: the chat template refuses a conversation or drops a part of what is to be learned, or the tokenizer
            has no chat template or no end-of-text token where it is needed; names the row.
    """
    encoded = EncodedRows()
    options = template_options or {}
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows):
        location = locations[number] if locations else f"row {number + 1}"
        roles = tuple(turn["role"] for turn in _turns_of(row))
        if roles and roles not in seen:
            seen.add(roles)
            check_turns(tokenizer, roles, name=location, kwargs=options, remedy=_REMEDY)
        learned = 0
        for ids, start, end in _encode(tokenizer, row, location, options):
            labels = np.full(len(ids), IGNORED, dtype=np.int32)
            for first, last in zip(start, end, strict=True):
                labels[first:last] = ids[first:last]
            if (labels[1:max_tokens] == IGNORED).all():  # nothing precedes the first token
                encoded.left_out["longer than settings.max_tokens before anything to learn"] += 1
                continue
            learned += 1
            encoded.cut += len(ids) > max_tokens
            encoded.ids.append(np.array(ids[:max_tokens], dtype=np.int32))
            encoded.labels.append(labels[:max_tokens])
    if not encoded.ids:
        raise BadInputError(
            f"settings.max_tokens: all {len(rows)} rows are longer than {max_tokens} tokens before anything to learn"
        )
    return encoded


def pack(dataset: Dataset, *, max_tokens: int, strategy: Packing, seed: int) -> Dataset:
    """Put the rows, in an order drawn by seed, into windows of `max_tokens`; a blank row is at the end as before.

    Args:
        dataset: Rows, the last one blank.
        max_tokens: Tokens of a window.
        strategy: wrapped: rows follow each other, and one that does not fit continues in the next window, whose attention
            crosses rows. bfd: whole rows side by side (best fit decreasing), without attention between them.
        seed: Of the order.
    """
    order = torch.randperm(len(dataset) - 1, generator=torch.Generator().manual_seed(seed)).tolist()
    packed = pack_dataset(dataset.select(order), max_tokens, strategy)
    blank = {name: [{**BLANK, "seq_lengths": [1]}[name]] for name in packed.column_names}
    return concatenate_datasets([packed, Dataset.from_dict(blank, packed.features)])


def check_rows(tokenizer: Any, rows: Sequence[Mapping[str, Any]], *, name: str) -> None:
    """Check that the tokenizer has what the rows need.

    Raises:
        BadInputError: it has no chat template for conversations, or no end-of-text token for texts.
    """
    conversational = [isinstance(row.get("prompt"), list) or "messages" in row for row in rows]
    if any(conversational) and not tokenizer.chat_template:
        raise BadInputError(f"{name}: its tokenizer has no chat template, which conversations need")
    if not all(conversational) and tokenizer.eos_token is None:
        raise BadInputError(f"{name}: its tokenizer has no end-of-text token, which ends a text")


def _encode(
    tokenizer: Any, row: Mapping[str, Any], location: str, options: Mapping[str, Any]
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Token ids, and where each learned part starts and ends."""
    if "messages" in row:
        yield from _conversation(tokenizer, row["messages"], location, options)
    elif "text" in row:
        ids = _closed(row["text"], tokenizer)
        yield ids, [0], [len(ids)]
    elif isinstance(row["prompt"], str):
        prompt = tokenizer(row["prompt"])["input_ids"]
        ids = _closed(row["prompt"] + row["completion"], tokenizer)
        yield ids, [_common_prefix(prompt, ids)], [len(ids)]
    else:
        turns = [*row["prompt"], *row["completion"]]
        yield _turn(tokenizer, turns, len(row["prompt"]), location, options)


def _turns_of(row: Mapping[str, Any]) -> Turns:
    """All turns of a conversation; none of a row of plain text."""
    if "messages" in row:
        return row["messages"]
    return [] if "text" in row or isinstance(row["prompt"], str) else [*row["prompt"], *row["completion"]]


def _conversation(
    tokenizer: Any, turns: Turns, location: str, options: Mapping[str, Any]
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """One row with all assistant turns, or a row for each if the template renders them otherwise once others follow."""
    answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    parts = [_turn(tokenizer, turns[: place + 1], place, location, options) for place in answers]
    whole = parts[-1][0]
    if all(ids == whole[: len(ids)] for ids, _, _ in parts):
        yield whole, [start for _, (start,), _ in parts], [end for *_, (end,) in parts]
    else:
        yield from parts


def _turn(
    tokenizer: Any, turns: Turns, first: int, location: str, options: Mapping[str, Any]
) -> tuple[list[int], list[int], list[int]]:
    """A conversation of which the turns from `first` are learned."""
    text = _render(tokenizer, turns, location, options, add_generation_prompt=False)
    shown = "".join(text.split())
    for turn in turns[first:]:
        if "".join(turn["content"].split()) not in shown:
            raise BadInputError(
                f"{location}: the chat template drops a part of the assistant's turn (templates of reasoning models cut at "
                "</think>), so it cannot be learned; remove that part, or change the tokenizer's chat_template"
            )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not first:
        return ids, [0], [len(ids)]
    prompt = _render(tokenizer, turns[:first], location, options, add_generation_prompt=True)
    start = _common_prefix(tokenizer(prompt, add_special_tokens=False)["input_ids"], ids)
    return ids, [start], [len(ids)]


def _render(
    tokenizer: Any, turns: Turns, location: str, options: Mapping[str, Any], *, add_generation_prompt: bool
) -> str:
    return render_chat(
        tokenizer, turns, name=location, generation_prompt=add_generation_prompt, kwargs=options, remedy=_REMEDY
    )


def _closed(text: str, tokenizer: Any) -> list[int]:
    """The tokens of a text and one end-of-text token, which some tokenizers add themselves."""
    ids = tokenizer(text)["input_ids"]
    return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]


def _common_prefix(ids: Sequence[int], others: Sequence[int]) -> int:
    pairs = zip(ids, others, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(others)))
