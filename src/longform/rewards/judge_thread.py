"""A background thread for judge calls, which run while the training loop generates the next responses."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any


class JudgeThread:
    """Runs coroutines concurrently with the training loop. A context manager; leaving it cancels what is still running."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="judge", daemon=True)
        self._futures: dict[int, Future[Any]] = {}

    def __enter__(self) -> "JudgeThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def submit(self, row: int, judging: Coroutine[Any, Any, Any]) -> None:
        """Start judging the response of `row`; returns immediately."""
        self._futures[row] = asyncio.run_coroutine_threadsafe(judging, self.loop)

    def collect(self) -> list[Any]:
        """Wait for all submitted rows; return their results in ascending order of rows.

        If a row raises, the error is raised here after all other rows have finished, because their calls are paid for.
        """
        futures, self._futures = self._futures, {}
        wait(futures.values())
        return [futures[row].result() for row in sorted(futures)]

    def clear(self) -> None:
        """Discard all submitted rows; their results will not be collected."""
        for future in self._futures.values():
            future.cancel()
        self._futures = {}

    def _finish(self) -> None:
        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel_all(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
