"""The processes of a stage that `accelerate launch -m longform` started, by the environment that it sets.

Process 0 writes files and prints. The others read the same files and take their part of each batch.
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
    """Number of processes and the place of this one."""

    rank: int
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
    def copies(self) -> int:
        """Number of parts that a batch is divided into."""
        return self.count // self.per_sequence

    def rows_each(self, batch_size: int) -> int:
        """Rows of a batch in each process.

        Raises:
            BadInputError: the batch cannot be divided evenly.
        """
        if batch_size % self.copies:
            raise BadInputError(
                f"settings.batch_size: {batch_size} rows cannot be divided evenly among {self.copies} processes; choose a "
                f"multiple of {self.copies}, or another number of processes"
            )
        return batch_size // self.copies


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
    """Say in one line that a single process uses one GPU, if several are visible."""
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
