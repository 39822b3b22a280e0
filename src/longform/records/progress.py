"""How long functions report their progress: callbacks, so that only the command line knows about terminals."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int, int], None]
"""Called with (done, total)."""
ProgressDisplay = Callable[[str], AbstractContextManager[Progress]]
"""Opens the display of one stage under a title, and closes it when the stage ends."""


@contextmanager
def no_progress(title: str) -> Iterator[Progress]:  # noqa: ARG001
    """The display that shows nothing."""
    yield lambda done, total: None
