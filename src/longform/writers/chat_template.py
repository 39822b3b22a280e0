"""Rendering of conversations with a tokenizer's chat template, which is a program from the model's folder.

transformers runs templates in jinja's sandbox. The sandbox denies access to files and attributes, but does not stop a
template that loops for ever or writes gigabytes. Here templates also have limits on time and memory, and any error is one
line.
"""

import ctypes
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longform.records.errors import BadInputError

MAX_SECONDS = 10.0
"""Time limit of one call."""
MAX_BYTES = 512 * 2**20
"""Memory that a call may allocate."""
MAX_CHARACTERS = 16 * 2**20
"""Length limit of one rendered conversation."""
_IDLE_ROUNDS = 4


class _TimeLimitError(Exception):
    """Raised inside a template that takes too long."""


def render_chat(
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    *,
    name: str,
    generation_prompt: bool = True,
    kwargs: Mapping[str, Any] | None = None,
    remedy: str = "change the messages, or set generation.chat_template: off (--chat-template off)",
) -> str:
    """The text of a conversation, without tokenizing it.

    Args:
        tokenizer: a tokenizer with a chat template.
        messages: the turns of the conversation, with `role` and `content`.
        name: name of the conversation, for errors.
        generation_prompt: whether to add the beginning of the assistant's turn at the end.
        kwargs: further variables of the template, such as {"enable_thinking": False}.
        remedy: remedy in the error for a conversation that the template refuses.

    Raises:
        BadInputError: the template refuses the conversation, is broken, or exceeds a limit.
    """
    try:
        with _WATCHDOG.watching(), _memory_limit():
            text = tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generation_prompt, **(kwargs or {})
            )
    except _TimeLimitError:
        raise BadInputError(f"{name}: the chat template takes more than {MAX_SECONDS:.0f} seconds") from None
    except MemoryError:
        raise BadInputError(f"{name}: the chat template needs more than {MAX_BYTES // 2**20} MiB of memory") from None
    except Exception as error:  # what a template raises is open-ended: its own messages, syntax, names, the sandbox
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        roles = ", ".join(dict.fromkeys(str(it.get("role")) for it in messages))
        raise BadInputError(
            f"{name}: the chat template refuses this conversation (roles: {roles}): {reason}; {remedy}"
        ) from error
    if len(text) > MAX_CHARACTERS:
        raise BadInputError(f"{name}: the chat template writes {len(text):,} characters, more than {MAX_CHARACTERS:,}")
    return text


def check_turns(
    tokenizer: Any, roles: Sequence[str], *, name: str, kwargs: Mapping[str, Any] | None = None, remedy: str
) -> None:
    """Check that a template does not silently leave out the user's or the system's turn of a conversation with these roles.

    The check uses placeholder contents, because some templates write real contents in another form, such as JSON.

    Raises:
        BadInputError: it leaves a turn out.
    """
    turns = [{"role": role, "content": f"longform-turn-{number}-"} for number, role in enumerate(roles)]
    try:
        text = render_chat(tokenizer, turns, name=name, generation_prompt=roles[-1] != "assistant", kwargs=kwargs)
    except BadInputError:  # the template may refuse only the placeholder contents
        return
    left_out = [turn["role"] for turn in turns if turn["role"] != "assistant" and turn["content"] not in text]
    if left_out:
        raise BadInputError(f"{name}: the chat template leaves out the {left_out[0]} turn; {remedy}")


class _Watchdog:
    """Interrupts calls that take more than `MAX_SECONDS`, from one background thread for all calls: starting a thread takes
    longer than most templates. The thread ends when there has been no call for a while.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}
        """When the call of a thread has to be done, by the thread's identifier."""
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Bound the time of what runs inside the context, in this thread."""
        caller = threading.get_ident()
        with self._lock:
            self._ends[caller] = time.monotonic() + MAX_SECONDS
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="chat templates", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._ends.pop(caller, None)

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(MAX_SECONDS / 20)
            with self._lock:
                idle = 0 if self._ends else idle + 1
                if idle == _IDLE_ROUNDS:
                    self._thread = None
                    return
                for caller in [it for it, end in self._ends.items() if end < time.monotonic()]:
                    del self._ends[caller]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(caller), ctypes.py_object(_TimeLimitError)
                    )


_WATCHDOG = _Watchdog()


@contextmanager
def _memory_limit() -> Iterator[None]:
    """Limit the address space to its current size plus `MAX_BYTES`, on systems that report the size."""
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(status.read_text().split()[0]) * resource.getpagesize() + MAX_BYTES
    if before[0] != resource.RLIM_INFINITY:
        limit = min(limit, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
