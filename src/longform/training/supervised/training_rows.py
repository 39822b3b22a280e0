"""Training data of supervised fine-tuning: ladders, responses to prompts, or files of rows.

A row is a conversation, a prompt with its completion, or a text.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.records.adapting import Reading
from longform.records.errors import BadInputError
from longform.records.files import read_located_rows, read_rows
from longform.records.interchange import read_ladders
from longform.records.schemas import Message, Prompt, PromptRow, Response, TrainingRow


class SftData(BaseModel):
    """Training data: `ladders`, `prompts` with `responses`, or `rows`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ladders: Path | None = None
    """A ladders file; the best reference of each ladder is used."""
    prompts: Path | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    """Names of columns in `prompts`, `responses` and `rows` by field, such as {prompt: question, text: answer}."""
    responses: list[Path] = Field(default_factory=list)
    """Responses files; responses to prompts that are not in `prompts` are an error."""
    model: str | None = None
    """Use only the responses of this model."""
    rows: list[Path] = Field(default_factory=list)
    """Files of rows with `messages` (conversations), with `prompt` and `completion`, or with `text`, in any format that
    longform reads. Every assistant turn of a conversation is learned."""
    include_cut_off: bool = False
    """Whether to learn answers that were cut off (`finish_reason: length`); by default they are left out and counted."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further variables of the chat template, such as {enable_thinking: false}."""

    @model_validator(mode="after")
    def _check_source(self) -> "SftData":
        from_responses = self.prompts is not None and bool(self.responses)
        partly = self.prompts is not None or self.responses or self.model is not None
        sources = [self.ladders is not None, from_responses, bool(self.rows)]
        if sum(sources) != 1 or (partly and not from_responses):
            raise ValueError("needs either `ladders`, or `prompts` and `responses`, or `rows`")
        return self

    @property
    def files(self) -> list[Path]:
        """All files of the data."""
        return [*filter(None, (self.ladders, self.prompts)), *self.responses, *self.rows]


class TrainingRows(NamedTuple):
    """Training rows for `encoding.encode_rows`, with their locations."""

    rows: list[Mapping[str, Any]]
    locations: list[str]
    """FILE:LINE of each row."""
    left_out: Counter[str]
    """Rows left out, by cause."""

    def split(self, share: float, *, seed: int) -> "tuple[TrainingRows, TrainingRows]":
        """Split into rows to train on and held-out rows: those of a share of the prompts, chosen by hash and seed."""
        parts = TrainingRows([], [], self.left_out), TrainingRows([], [], Counter())
        for row, location in zip(self.rows, self.locations, strict=True):
            rows, locations, _ = parts[is_held_out(_prompt_of(row), share, seed=seed)]
            rows.append(row)
            locations.append(location)
        return parts


def is_held_out(prompt: str, share: float, *, seed: int) -> bool:
    """Whether a prompt is held out. The choice depends on the seed, and not on the other prompts."""
    digest = hashlib.blake2b(f"{seed}/{prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < share


def read_training_rows(data: SftData) -> TrainingRows:
    """Read the training rows.

    Raises:
        BadInputError: a file is missing or invalid, or there is nothing to learn.
    """
    found = TrainingRows([], [], Counter())
    for location, row, cause in _read(data):
        if cause is not None:
            found.left_out[cause] += 1
            continue
        found.rows.append(row)
        found.locations.append(location)
    if not found.rows:
        of_model = f" of model {data.model!r}" if data.model else ""
        causes = ", ".join(f"{number} {cause}" for cause, number in found.left_out.items())
        raise BadInputError(f"data: no training texts{of_model}" + (f" ({causes})" if causes else ""))
    return found


def read_training_file(path: Path, data: SftData) -> TrainingRows:
    """Read a file of rows, such as one for validation.

    Raises:
        BadInputError: as `read_training_rows`.
    """
    keys = ("columns", "include_cut_off", "chat_template_kwargs")
    return read_training_rows(SftData(rows=[path], **{key: getattr(data, key) for key in keys}))


def _read(data: SftData) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Yield (FILE:LINE, encodable row, cause) of each training row; `cause` says why it is left out, None keeps it."""
    reading = Reading.of_recipe(data.columns)
    if data.ladders is not None:
        for number, ladder in enumerate(read_ladders(data.ladders), 1):
            text = ladder.references[-1].text
            yield f"{data.ladders}:{number}", _answered(ladder, text), _why_left_out(text, None, data)
    elif data.rows:
        for location, training_row in read_located_rows(data.rows, TrainingRow, reading):
            row, learned = _encodable(training_row)
            yield location, row, _why_left_out(learned, training_row.finish_reason, data)
    else:
        yield from _read_responses(data, reading)


def _read_responses(data: SftData, reading: Reading) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    assert data.prompts is not None
    prompts = {prompt.id: prompt for prompt in read_rows(data.prompts, Prompt, reading)}
    for location, response in read_located_rows(data.responses, Response, reading):
        if data.model is not None and response.model != data.model:
            continue
        if response.prompt_id not in prompts:
            raise BadInputError(f"data.responses: prompt_id {response.prompt_id!r} is not an id in {data.prompts}")
        cause = _why_left_out(response.text, response.finish_reason, data)
        yield location, _answered(prompts[response.prompt_id], response.text), cause


def _why_left_out(learned: str | None, finish_reason: str | None, data: SftData) -> str | None:
    if learned is None:
        return "without an assistant turn"
    if not learned.strip():
        return "empty"
    return "cut off" if finish_reason == "length" and not data.include_cut_off else None


def _answered(prompt: PromptRow, text: str) -> dict[str, Any]:
    return {"prompt": prompt.messages, "completion": [{"role": "assistant", "content": text}]}


def _encodable(row: TrainingRow) -> tuple[dict[str, Any], str | None]:
    """Return (row, learned text); the text joins all assistant turns and is None if there are none."""
    if row.messages is not None:
        turns = _turns(row.messages)
        answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
        return {"messages": turns}, "\n".join(answers) if answers else None
    if row.text is not None:
        return {"text": row.text}, row.text
    prompt, completion = row.prompt, row.completion
    assert prompt is not None and completion is not None
    if isinstance(prompt, str) and isinstance(completion, str):
        return {"prompt": prompt, "completion": completion}, completion
    asking = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else _turns(prompt)
    answering = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else _turns(completion)
    answers = [turn["content"] for turn in answering if turn["role"] == "assistant"]
    return {"prompt": asking, "completion": answering}, "\n".join(answers) if answers else None


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _prompt_of(row: Mapping[str, Any]) -> str:
    """The text by which a row is held out: its turns before the first answer, its prompt, or its text."""
    if "text" in row:
        return row["text"]
    turns = row.get("messages", row.get("prompt"))
    if isinstance(turns, str):
        return turns
    return "\n\n".join(turn["content"] for turn in turns[: _first_answer(turns)])


def _first_answer(turns: Sequence[Mapping[str, str]]) -> int:
    return next((index for index, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))
