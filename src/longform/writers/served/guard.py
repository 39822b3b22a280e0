"""Runs a command that ends when its parent does, however that ends: `python guard.py COMMAND...`.

The parent holds the other end of this process's input. A server that outlived its run would keep the memory of the GPU.
This file is run by its path, so it imports nothing of longform.
"""

import os
import signal
import subprocess
import sys
import threading

SECONDS_TO_END = 20.0


def main(command: list[str]) -> None:
    """Run the command; end with its exit code, or end it when the input does."""
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
