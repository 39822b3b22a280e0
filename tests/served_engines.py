"""Servers that stand in for vLLM and SGLang (engine_server.py): as commands with their names, or in a thread.

python tests/served_engines.py FOLDER    # writes the commands
"""

import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from engine_server import LoadedModel, build_app

COMMAND = Path(__file__).parent / "engine_command.py"


def write_commands(folder: Path) -> None:
    """Write the commands `vllm` and `sglang` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for engine in ("vllm", "sglang"):
        script = folder / engine
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{COMMAND}" {engine} "$@"\n', encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)


def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the commands before others with their names."""
    write_commands(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@contextmanager
def running(engine: str, model: Path, *, longest: int = 64, is_stale: bool = False) -> Iterator[str]:
    """The address of a server in a thread."""
    loaded = LoadedModel(str(model), longest=longest)
    loaded.is_stale = is_stale
    server = uvicorn.Server(uvicorn.Config(build_app(engine, loaded), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    write_commands(Path(sys.argv[1]))
