"""Serve the pages of labelling until they are ended, and save what people chose."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from longform.evaluation.audit.people import PeopleAgreement, measure_people
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.labelling.run import PairSource, blank_rollouts, open_labels
from longform.viewer.serve import LOOPBACK, serve


@dataclass(frozen=True, slots=True)
class LabelSession:
    """The result of a labelling session."""

    path: Path
    """The pairs file with the labels."""
    done: dict[str, tuple[int, int]]
    """By person: pairs that are labelled, and pairs that are assigned."""
    agreement: PeopleAgreement | None
    """None without labels."""
    blank: int
    """Rollouts of the run that cannot be shown, because their response or reference is empty."""


def serve_labels(
    source: PairSource,
    *,
    out: Path | None = None,
    people: Sequence[str] = ("me",),
    overlap: float = 1.0,
    host: str = LOOPBACK,
    port: int = 0,
    browser: bool = True,
    on_start: Callable[[str], None] = lambda address: None,
) -> LabelSession:
    """Have people label pairs in a browser until the process is interrupted or asked to end, and save the labels.

    Args:
        source: Where the pairs come from.
        out: Pairs file for the labels; a pairs file is labelled in place by default.
        people: Names of those who label.
        overlap: Share of the pairs that all of them label.
        host: Address to listen on; another than the loopback interface needs a password.
        port: 0 chooses a free one.
        browser: Open the address in a browser.
        on_start: Called with the address.

    Raises:
        BadInputError: the pairs cannot be opened (see `open_labels`) or served (see `serve`), or the file cannot be written.
    """
    with open_labels(source, out=out, people=people, overlap=overlap) as store:
        store.save()
        try:
            with suppress(KeyboardInterrupt), _interrupted_by_signals():
                serve([], host=host, port=port, browser=browser, labels=store, on_start=on_start)
        finally:
            store.save()
        return LabelSession(
            path=store.path,
            done={person: store.count(person) for person in people},
            agreement=measure_people(store.labelled_pairs(), Bootstrap()),
            blank=blank_rollouts(store.path),
        )


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and the end of the terminal act as Ctrl-C, so that labels are saved."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where no handler can be set
        return

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    numbers = [it for it in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(it) != signal.SIG_IGN]  # as by nohup
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
