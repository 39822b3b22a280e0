"""Many requests at once: bounded, and an error wastes nothing that is under way."""

import asyncio

import pytest

from longform.endpoints.concurrency import map_bounded
from longform.records.errors import StoppedError


def test_every_item_is_worked_on_once_and_so_many_at_a_time():
    done, running, most = [], 0, 0

    async def work(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (item % 3))
        running -= 1
        done.append(item)

    asyncio.run(map_bounded(range(20), work, workers=4))
    assert sorted(done) == list(range(20))
    assert most == 4


def test_after_an_error_what_is_under_way_ends_and_nothing_more_begins():
    begun, ended = [], []

    async def work(item):
        begun.append(item)
        if item == 1:
            raise StoppedError("the budget is spent")
        await asyncio.sleep(0.01)
        ended.append(item)

    with pytest.raises(StoppedError, match="the budget is spent"):
        asyncio.run(map_bounded(range(20), work, workers=3))
    assert begun == [0, 1, 2]
    assert ended == [0, 2]


def test_a_bug_shows_itself():
    async def work(item):
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(map_bounded([1], work, workers=1))
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_nothing_to_do_is_done():
    asyncio.run(map_bounded([], lambda item: asyncio.sleep(0), workers=4))
