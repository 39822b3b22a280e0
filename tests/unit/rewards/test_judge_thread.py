import asyncio
import threading

import pytest

from longform.records.errors import StoppedError
from longform.rewards.judge_thread import JudgeThread


async def _after(seconds, value):
    await asyncio.sleep(seconds)
    return value


def test_results_stand_by_row_whatever_order_they_arrive_in():
    with JudgeThread() as thread:
        for row, seconds in ((2, 0.0), (0, 0.05), (1, 0.02)):
            thread.submit(row, _after(seconds, f"row {row}"))
        assert thread.collect() == ["row 0", "row 1", "row 2"]
        thread.submit(0, _after(0, "again"))
        assert thread.collect() == ["again"]


def test_judging_goes_on_while_the_caller_works():
    started = threading.Event()

    async def judge():
        started.set()
        return "judged"

    with JudgeThread() as thread:
        thread.submit(0, judge())
        assert started.wait(timeout=5), "the judge must start before anybody collects"
        assert thread.collect() == ["judged"]


def test_the_first_error_is_raised_where_results_are_collected():
    async def fail():
        raise StoppedError("budget spent")

    with JudgeThread() as thread:
        thread.submit(0, fail())
        with pytest.raises(StoppedError, match="budget spent"):
            thread.collect()


def test_leaving_cancels_what_is_still_running():
    cancelled = threading.Event()

    async def forever():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with JudgeThread() as thread:
        thread.submit(0, forever())
        thread.submit(1, _after(0.01, None))
    assert cancelled.is_set()
