"""Rows of supervised fine-tuning as token ids with labels: which tokens are learned, and which rows are cut or left out.

In a conversation, every assistant turn is learned, including the token that the chat template writes after it. This works
with any template: the conversation is rendered up to each turn, and the tokens that this turn adds are learned. With some
templates, a turn looks different once others follow it (those of reasoning models drop earlier thoughts). Then each turn
becomes a row of its own, with the context that the model would see before it writes this turn.
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
"""A row with nothing to learn."""


@dataclass(slots=True)
class EncodedRows:
    """Rows as token ids."""

    ids: list[np.ndarray] = field(default_factory=list)
    """[tokens] int32 of each row."""
    labels: list[np.ndarray] = field(default_factory=list)
    """[tokens] int32; `IGNORED` where a token is not learned."""
    cut: int = 0
    """Number of rows that were truncated at `max_tokens`."""
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
        """The rows for TRL, followed by a blank row."""
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
        max_tokens: Maximum length. Longer rows are truncated; rows with nothing to learn before this limit are left out.
        locations: FILE:LINE of each row, for errors.
        template_options: Further variables of the chat template, such as enable_thinking.

    Raises:
        BadInputError: all rows are left out, or the chat template refuses a conversation or drops a part of a turn to be
            learned; the error names the row.
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
            if (labels[1:max_tokens] == IGNORED).all():  # the first token is never predicted
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


def pack_rows(dataset: Dataset, *, max_tokens: int, strategy: Packing, seed: int) -> Dataset:
    """Shuffle the rows and pack them into windows of `max_tokens`. The last row of the result is blank, too.

    Args:
        dataset: Rows, the last one blank.
        max_tokens: Tokens of a window.
        strategy: See `SftSettings.packing`.
        seed: Seed of the shuffle.
    """
    order = torch.randperm(len(dataset) - 1, generator=torch.Generator().manual_seed(seed)).tolist()
    packed = pack_dataset(dataset.select(order), max_tokens, strategy)
    blank = {name: [{**BLANK, "seq_lengths": [1]}[name]] for name in packed.column_names}
    return concatenate_datasets([packed, Dataset.from_dict(blank, packed.features)])


def check_rows(tokenizer: Any, rows: Sequence[Mapping[str, Any]], *, name: str) -> None:
    """Check that the tokenizer has a chat template, if rows are conversations, and an end-of-text token, if rows are texts.

    Raises:
        BadInputError: one of them is missing; the error begins with `name`.
    """
    conversational = [isinstance(row.get("prompt"), list) or "messages" in row for row in rows]
    if any(conversational) and not tokenizer.chat_template:
        raise BadInputError(f"{name}: its tokenizer has no chat template, which conversations need")
    if not all(conversational) and tokenizer.eos_token is None:
        raise BadInputError(f"{name}: its tokenizer has no end-of-text token, which ends a text")


def _encode(
    tokenizer: Any, row: Mapping[str, Any], location: str, options: Mapping[str, Any]
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Yield (token ids, starts, ends) of each row that a training row becomes: the spans [start, end) are learned."""
    if "messages" in row:
        yield from _conversation(tokenizer, row["messages"], location, options)
    elif "text" in row:
        ids = _end_text(row["text"], tokenizer)
        yield ids, [0], [len(ids)]
    elif isinstance(row["prompt"], str):
        prompt = tokenizer(row["prompt"])["input_ids"]
        ids = _end_text(row["prompt"] + row["completion"], tokenizer)
        yield ids, [_common_prefix(prompt, ids)], [len(ids)]
    else:
        turns = [*row["prompt"], *row["completion"]]
        yield _turn(tokenizer, turns, len(row["prompt"]), location, options)


def _turns_of(row: Mapping[str, Any]) -> Turns:
    """All turns of a conversation; empty for a row of plain text."""
    if "messages" in row:
        return row["messages"]
    return [] if "text" in row or isinstance(row["prompt"], str) else [*row["prompt"], *row["completion"]]


def _conversation(
    tokenizer: Any, turns: Turns, location: str, options: Mapping[str, Any]
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """One row with all assistant turns, or a row for each of them if the template renders turns differently later on."""
    answers = [index for index, turn in enumerate(turns) if turn["role"] == "assistant"]
    parts = [_turn(tokenizer, turns[: index + 1], index, location, options) for index in answers]
    whole = parts[-1][0]
    if all(ids == whole[: len(ids)] for ids, _, _ in parts):
        yield whole, [start for _, (start,), _ in parts], [end for *_, (end,) in parts]
    else:
        yield from parts


def _turn(
    tokenizer: Any, turns: Turns, first: int, location: str, options: Mapping[str, Any]
) -> tuple[list[int], list[int], list[int]]:
    """(token ids, starts, ends) of a conversation in which the turns from index `first` on are learned."""
    text = _render(tokenizer, turns, location, options, add_generation_prompt=False)
    rendered = "".join(text.split())
    for turn in turns[first:]:
        if "".join(turn["content"].split()) not in rendered:
            raise BadInputError(
                f"{location}: the chat template drops a part of the assistant's turn (templates of reasoning models drop "
                "what is before </think>), so it cannot be learned; remove that part, or change the tokenizer's "
                "chat_template"
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


def _end_text(text: str, tokenizer: Any) -> list[int]:
    """The tokens of a text, followed by exactly one end-of-text token: some tokenizers add it themselves."""
    ids = tokenizer(text)["input_ids"]
    return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]


def _common_prefix(ids: Sequence[int], others: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = zip(ids, others, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(others)))
