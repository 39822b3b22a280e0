"""How long functions report their progress: callbacks, so that only the command line knows about terminals."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Progress = Callable[[int, int], None]
"""Called with (done, total)."""
ProgressDisplay = Callable[[str], AbstractContextManager[Progress]]
"""Opens the display of one stage under a title, and closes it when the stage ends."""


class Advance(Protocol):
    """Progress of a stage whose steps have more to tell: the latest loss as a note, a sample text in lines above."""

    def __call__(self, done: int, total: int, note: str = "", above: Sequence[str] = ()) -> None: ...  # noqa: D102


Stage = Callable[[str], AbstractContextManager[Advance]]
"""A `ProgressDisplay` of such stages."""


@contextmanager
def no_progress(title: str) -> Iterator[Advance]:  # noqa: ARG001
    """The display that shows nothing."""
    yield lambda done, total, note="", above=(): None
