"""Bounded-concurrency async map."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from longform.records.errors import LongformError

WorkT = TypeVar("WorkT")


async def map_bounded(items: Iterable[WorkT], work: Callable[[WorkT], Awaitable[None]], *, workers: int) -> None:
    """Await `work` for every item, at most `workers` at a time.

    After the first error no further item is started. Calls in flight are awaited, since they are paid for; then the first
    error is raised unchanged.
    """
    pending = iter(items)
    errors: list[LongformError] = []

    async def drain() -> None:
        for item in pending:
            try:
                await work(item)
            except LongformError as error:
                errors.append(error)
            if errors:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(drain())
    if errors:
        raise errors[0]
