"""Parquet files of other systems: the released Writing-RL code, and verl; and training data in any format.

The released files have texts without grades, weakest first. A reference's score is then its rank, and `meta` of the row says
so.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from longform.records.adapting import Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.optional import require
from longform.records.schemas import Ladder, Prompt, PromptRow, Reference, Row

SYSTEM_PROMPT = "You are a helpful assistant."


class _GroundTruth(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)
    prompt: str = Field(min_length=1)
    target: str | list[str]
    """Weakest first; a single text is a ladder of one rung (the released code's static reference)."""
    criteria: str | None = None
    id: str = Field(min_length=1)


class _RewardModel(BaseModel):
    model_config = ConfigDict(extra="allow")
    ground_truth: _GroundTruth


class WritingRLRow(Row):
    """One row of the released code's training file."""

    key_fields: ClassVar[tuple[str, ...]] = ("id",)
    reward_model: _RewardModel

    @property
    def id(self) -> str:
        """The id of the row."""
        return self.reward_model.ground_truth.id


def is_writing_rl(path: str | Path) -> bool:
    """Whether a Parquet file has the columns of the released Writing-RL code; False if it cannot be read.

    Raises:
        BadInputError: pyarrow is not installed.
    """
    require("pyarrow", path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return "reward_model" in pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False


def read_training_prompts(
    ladders: Path | None, prompts: Path | None, columns: Mapping[str, str] | None = None
) -> list[PromptRow]:
    """The training data of a run, from whichever of the two files is given.

    Args:
        ladders: A ladders file.
        prompts: A prompts file.
        columns: Of the prompts file: our name of a field -> its column.

    Raises:
        BadInputError: the file cannot be read, or has an invalid row.
    """
    if ladders is not None:
        return list(read_ladders(ladders))
    assert prompts is not None, "a recipe names one of the two"
    return list(read_rows(prompts, Prompt, Reading.of_recipe(columns or {})))


def read_ladders(path: Path) -> list[Ladder]:
    """Ladders from `longform select`, or from a Parquet file of the released Writing-RL code.

    Raises:
        BadInputError: the file is neither, or has an invalid row.
    """
    if path.suffix.lower() == ".parquet" and is_writing_rl(path):
        return list(read_writing_rl(path))
    return list(read_rows(path, Ladder))


def read_writing_rl(path: str | Path) -> Iterator[Ladder]:
    """Ladders of a file made for the released Writing-RL code.

    Raises:
        BadInputError: a row without `reward_model.ground_truth.{prompt,target,id}`, or with no target text.
    """
    for number, row in enumerate(read_rows(path, WritingRLRow), 1):
        truth = row.reward_model.ground_truth
        texts = [truth.target] if isinstance(truth.target, str) else truth.target
        if not texts:
            raise BadInputError(f"{path}:{number}: reward_model.ground_truth.target: no text")
        yield Ladder(
            id=truth.id,
            prompt=truth.prompt,
            criteria=truth.criteria,
            references=[Reference(model=f"reference-{rank}", text=text, score=rank) for rank, text in enumerate(texts)],
            policy_score=0.0,
            potential=float(len(texts) - 1),
            meta={"scores": "ranks"},
        )


def write_writing_rl(path: str | Path, ladders: Iterable[Ladder], *, split: str = "train") -> int:
    """Write ladders in the format of the released Writing-RL code; returns the number of rows."""
    return write_rows(path, (Row(**_writing_rl_row(ladder, i, split)) for i, ladder in enumerate(ladders)))


def write_verl(
    path: str | Path,
    prompts: Iterable[PromptRow],
    *,
    split: str = "train",
    messages: Callable[[PromptRow], list[dict[str, str]]] = lambda prompt: prompt.messages,
) -> int:
    """Write ladders or prompts for verl's `RLHFDataset`: chat messages, and the whole row as JSON in `extra_info`.

    `extra_info.split` marks validation rows, which never promote; `extra_info.rungs` lists the models of the references, so
    that a curriculum starts without reading their texts.

    Args:
        path: of the Parquet file.
        prompts: ladders or prompts.
        split: train or validation.
        messages: the conversation for a writer; by default that of the prompt.
    """
    return write_rows(path, (Row(**_verl_row(it, i, split, messages(it))) for i, it in enumerate(prompts)))


def _writing_rl_row(ladder: Ladder, index: int, split: str) -> dict[str, Any]:
    truth = {
        "prompt": ladder.request,
        "target": [reference.text for reference in ladder.references],
        "criteria": _criteria_text(ladder),
        "id": ladder.id,
    }
    return {
        "data_source": "writing",
        "prompt": [{"role": "system", "content": SYSTEM_PROMPT}, *ladder.messages],
        "ability": "writing",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"index": index, "split": split},
    }


def _verl_row(prompt: PromptRow, index: int, split: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    whole = json.loads(prompt.model_dump_json(exclude_none=True))
    row = json.dumps(whole, ensure_ascii=False)
    return {
        "data_source": "longform",
        "prompt": messages,
        "ability": "writing",
        "reward_model": {"style": "rule", "ground_truth": prompt.id},
        "extra_info": {"index": index, "split": split, "id": prompt.id, "row": row, "rungs": prompt.rungs},
    }


def _criteria_text(ladder: Ladder) -> str | None:
    if ladder.criteria is None or isinstance(ladder.criteria, str):
        return ladder.criteria
    return "\n".join(f"{criterion.name}: {criterion.description}" for criterion in ladder.criteria)
