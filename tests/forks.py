"""Commands as processes of their own that begin at once: forks of a process that has imported what they need."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
LONGEST_SECONDS = 300.0

WITHOUT_SKLEARN = "import sys; sys.modules['sklearn'] = None"
"""For a process that imports transformers, which imports it where it is installed: two of seven seconds."""

_FORKS = (
    f"{WITHOUT_SKLEARN}\n"
    + """
import gc, json, os, runpy, traceback
import aiohttp, pyarrow, numpy, transformers
import longform.training.run, longform.training.supervised.stage, longform.writers.local
from longform.cli import main

def work(order):
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in enumerate(order["pipes"], 1):
        os.dup2(os.open(path, os.O_WRONLY), stream)
    try:
        exec(order["first"], {})
        if order["script"]:
            sys.path[0], sys.argv = os.path.dirname(order["script"]), [order["script"], *order["command"]]
            runpy.run_path(order["script"], run_name="__main__")
        else:
            main(order["command"])
        return 0
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1

gc.collect()
gc.freeze()
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        code = work(json.loads(line))
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
)


class Forks:
    """Runs commands one after the other, each in a fork of a process that has imported everything: real processes that
    begin at once. Use as a context manager.

    Args:
        folder: for the pipes that they print to; a file would share the limits that a test sets on files.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / "printed", folder / "errors"]
        for path in self._paths:
            os.mkfifo(path)
        self._pipes = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in self._paths]
        self._pid: int | None = None
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _FORKS], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate(timeout=60)
        for pipe in self._pipes:
            os.close(pipe)

    def start(self, folder: Path, command: Sequence[str], *flags: str, first: str = "", **environment: str) -> int:
        """Begin a command in `folder`, after the Python code `first`; its process id.

        A command that a failed test has left is ended.
        """
        return self._begin(folder, command=[*command, *flags], first=first, environment=environment)

    def _begin(self, folder: Path, **what: object) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        if self._pid is not None:
            self._end()
        order = {"command": [], "script": "", "first": "", "environment": {}} | what
        order |= {"folder": str(folder), "pipes": [str(path) for path in self._paths]}
        print(json.dumps(order), file=self._parent.stdin, flush=True)
        self._pid = int(self._parent.stdout.readline())
        return self._pid

    def _end(self) -> tuple[int, str, str]:
        """Kill the command that was begun last if it has not ended; its exit code and what it printed."""
        assert self._parent.stdout is not None
        assert self._pid is not None
        if not self.has_ended():
            os.kill(self._pid, signal.SIGKILL)
        self._pid, code = None, int(self._parent.stdout.readline())
        printed, errors = (os.read(pipe, 1 << 20).decode() for pipe in self._pipes)
        return code, printed, errors

    def has_ended(self, *, within_seconds: float = 0.0) -> bool:
        """Whether the command that was begun last has ended by itself or otherwise."""
        assert self._parent.stdout is not None
        return bool(select.select([self._parent.stdout], [], [], within_seconds)[0])

    def wait(self) -> "subprocess.CompletedProcess[str]":
        """The end of the command that was begun last; what it printed. An exit code below 0 is the signal that killed it."""
        ended = self.has_ended(within_seconds=LONGEST_SECONDS)
        code, printed, errors = self._end()
        assert ended, f"not ended after {LONGEST_SECONDS} seconds\n{errors}"
        assert "Traceback" not in errors, errors
        return subprocess.CompletedProcess([], code, printed, errors)

    def run(
        self, folder: Path, command: Sequence[str], *flags: str, code: int = 0, first: str = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """A command in `folder`, to its end, which must be `code`."""
        self.start(folder, command, *flags, first=first, **environment)
        done = self.wait()
        assert done.returncode == code, done.stderr
        return done

    def run_script(self, script: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A Python file as `python FILE` in `folder`, to its end, which must be good."""
        self._begin(folder, script=str(script), command=arguments)
        done = self.wait()
        assert done.returncode == 0, done.stderr
        return done
