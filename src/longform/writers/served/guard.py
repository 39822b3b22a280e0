"""Runs a command and ends it when the parent process ends, even if that is killed: `python guard.py COMMAND...`.

The parent holds the other end of this process's stdin, which closes when the parent ends. Otherwise a server could outlive
its run and keep the memory of the GPU. This file is run by its path, so it imports nothing from longform.
"""

import os
import signal
import subprocess
import sys
import threading

SECONDS_TO_END = 20.0


def main(command: list[str]) -> None:
    """Run the command and exit with its exit code; when stdin closes, end the command."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def wait() -> None:
        os._exit(process.wait() % 256)

    threading.Thread(target=wait, daemon=True).start()
    sys.stdin.buffer.read()
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=SECONDS_TO_END)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


if __name__ == "__main__":
    main(sys.argv[1:])
