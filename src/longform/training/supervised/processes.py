"""The processes of a supervised stage, as the environment variables of `accelerate launch -m longform` describe them.

Process 0 writes files and prints. All processes read the same input files and train on a part of each batch.
"""

import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from longform.records.errors import BadInputError, LongformWarning

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True, slots=True)
class Processes:
    """This process and the others that train with it."""

    rank: int
    """Number of this process, from 0."""
    count: int
    per_sequence: int
    """Processes that share a sequence (context parallelism)."""
    is_sharded: bool
    """Whether weights and optimizer are sharded over the processes (FSDP)."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    @property
    def data_parallel_size(self) -> int:
        """Number of parts that a batch is divided into: processes that share a sequence train on the same part."""
        return self.count // self.per_sequence

    def rows_each(self, batch_size: int) -> int:
        """Number of a batch's rows in each process.

        Raises:
            BadInputError: the batch cannot be divided evenly.
        """
        parts = self.data_parallel_size
        if batch_size % parts:
            raise BadInputError(
                f"settings.batch_size: {batch_size} rows cannot be divided evenly among {parts} processes; choose a "
                f"multiple of {parts}, or another number of processes"
            )
        return batch_size // parts


def find_processes() -> Processes:
    """Read the environment that `accelerate launch` or `torchrun` sets; without it there is one process."""
    read = os.environ.get
    return Processes(
        rank=int(read("RANK", "0")),
        count=int(read("WORLD_SIZE", "1")),
        per_sequence=int(read("PARALLELISM_CONFIG_CP_SIZE", "1")) if read("WORLD_SIZE") else 1,
        is_sharded=read("ACCELERATE_USE_FSDP", "false").lower() == "true",
    )


def warn_of_idle_gpus(processes: Processes) -> None:
    """Warn in one line if several GPUs are visible and a single process uses one of them."""
    import torch

    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if processes.count == 1 and visible > 1:
        warnings.warn(
            f"{visible} GPUs are visible and one is used; `accelerate launch -m longform ...` uses all of them",
            LongformWarning,
            stacklevel=2,
        )


def wait_for(path: Path, *, seconds_between: float = _SECONDS_BETWEEN_LOOKS) -> None:
    """Wait until process 0 has written `path`. If it fails, the launcher ends this process."""
    while not path.exists():
        time.sleep(seconds_between)
