"""Many requests, a bounded number of them at once, results handled as they come."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from longform.records.errors import LongformError

ItemT = TypeVar("ItemT")


async def for_each(items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, workers: int) -> None:
    """Await `work` for every item, at most `workers` at a time.

    After the first error no further item is begun. Those under way are awaited, since they are paid for; then the error is
    raised as it is.
    """
    waiting = iter(items)
    errors: list[LongformError] = []

    async def drain() -> None:
        for item in waiting:
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
