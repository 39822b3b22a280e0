"""Many requests, a bounded number of them at once, results handled as they come."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from longform.records.errors import LongformError

ItemT = TypeVar("ItemT")


async def for_each(items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, workers: int) -> None:
    """Await `work` for every item, at most `workers` at a time.

    The first error stops the others and is raised as it is.
    """
    waiting = iter(items)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(_drain(waiting, work))
    except* LongformError as errors:
        raise _first(errors) from None


async def _drain(waiting: Iterator[ItemT], work: Callable[[ItemT], Awaitable[None]]) -> None:
    for item in waiting:
        await work(item)


def _first(errors: BaseExceptionGroup[LongformError]) -> LongformError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
