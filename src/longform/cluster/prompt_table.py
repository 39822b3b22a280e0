"""The prompts of a run in the Parquet file that verl reads, one at a time: a million of them stay on the disk.

Only ids are kept in memory, as 64-bit hashes.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longform.records.schemas import Ladder, Prompt, PromptRow

_BATCH = 4096
_COLUMNS = ["extra_info.id", "extra_info.rungs"]


class PromptTable:
    """The rows of a file that `records.interchange.write_verl` wrote, by index and by id.

    Args:
        path: of the Parquet file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: Any = open_rows(path)
        hashes = np.fromiter((_hash(id_) for id_, _ in self.ladders()), dtype=np.uint64, count=len(self._rows))
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]

    def __len__(self) -> int:
        return len(self._rows)

    def ladders(self) -> Iterator[tuple[str, list[str]]]:
        """Of each prompt its id and the models of its references, without reading their texts."""
        for batch in pq.ParquetFile(self._path).iter_batches(_BATCH, columns=_COLUMNS, use_threads=False):
            for row in batch.column("extra_info").to_pylist():
                yield row["id"], row["rungs"]
        pa.default_memory_pool().release_unused()

    def criteria_counts(self) -> list[int]:
        """Of each prompt the number of criteria that are scored; reads the whole file, a batch at a time."""
        counts: list[int] = []
        for batch in pq.ParquetFile(self._path).iter_batches(_BATCH, columns=["extra_info.row"], use_threads=False):
            rows = (json.loads(it["row"]).get("criteria") for it in batch.column("extra_info").to_pylist())
            counts += [0 if not isinstance(it, list) else sum(not one.get("hard") for one in it) for it in rows]
        return counts

    def id_at(self, index: int) -> str:
        """The id of the prompt at an index."""
        return self._rows[index]["extra_info"]["id"]

    def request_of(self, id_: str) -> str:
        """What the prompt with this id asks for."""
        index = int(np.searchsorted(self._sorted, _hash(id_)))
        # Two ids in a million may share a hash with a chance of one in ten million: read until it is the one.
        while self.id_at(int(self._order[index])) != id_:
            index += 1
        return self.prompt_at(int(self._order[index])).request

    def prompt_at(self, index: int) -> PromptRow:
        """The prompt at an index, with its references where it is a ladder."""
        return read_prompt(self._rows[index]["extra_info"])


def open_rows(path: Path) -> Any:
    """The rows of a Parquet file from the datasets library's cache on the disk.

    Filling the cache takes memory that a process does not give back, so whoever starts a host opens the file first.
    """
    return datasets.load_dataset("parquet", data_files=str(path), split="train")


def read_prompt(extra_info: dict[str, Any]) -> PromptRow:
    """The prompt in a row of verl's."""
    return (Ladder if extra_info["rungs"] else Prompt).model_validate_json(extra_info["row"])


def _hash(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "little")
