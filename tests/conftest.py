"""A scripted OpenAI-compatible endpoint on the loopback, for every room that asks one."""

import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from forks import Forks

# Before torch is imported: workers side by side with several threads each wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test depends on the speed of the machine.
settings.register_profile("longform", deadline=None)
settings.load_profile("longform")


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the garbage collector, which accelerate runs in every training, skips them."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process takes whole files; all that fork commands go to one, since the imports that they share take seconds."""
    from xdist.scheduler.loadfile import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "forks" if _forks(config.rootpath / file) else file

    return Scheduling(config, log)


@cache
def _forks(file: Path) -> bool:
    return "forks" in file.read_text(encoding="utf-8")


@dataclass
class Reply:
    """What the server says to one request."""

    text: str | None = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    delay: float = 0.0
    finish_reason: str = "stop"
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5})
    hang_up: bool = False

    def content(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        if self.status != 200:
            return json.dumps({"error": {"message": self.text, "code": None}}).encode()
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return json.dumps({"choices": [choice], "usage": self.usage}).encode()


class ScriptedServer(ThreadingHTTPServer):
    """Answers chat completions by a script and keeps what it was asked."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, script: Callable[[dict[str, Any], int], Reply | str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.running = 0
        self.most_running = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one piece: the second of two would wait 40 ms for the client's acknowledgement.
    wbufsize = -1

    @property
    def scripted(self) -> ScriptedServer:
        assert isinstance(self.server, ScriptedServer)
        return self.server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.scripted.lock:
            self.scripted.requests.append(request)
            self.scripted.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.scripted.paths.append(self.path)
            self.scripted.times.append(time.monotonic())
            number = len(self.scripted.requests)
            self.scripted.running += 1
            self.scripted.most_running = max(self.scripted.most_running, self.scripted.running)
        reply = self.scripted.script(request, number)
        reply = Reply(reply) if isinstance(reply, str) else reply
        time.sleep(reply.delay)
        with self.scripted.lock:
            self.scripted.running -= 1
        if reply.hang_up:
            self.close_connection = True
            return
        content = reply.content()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


Start = Callable[[Callable[[dict[str, Any], int], Reply | str]], ScriptedServer]
"""`start(script)` starts a server; script(request, number) gives its reply, number counts from 1."""


def _serving() -> Iterator[Start]:
    servers: list[ScriptedServer] = []

    def start(script: Callable[[dict[str, Any], int], Reply | str]) -> ScriptedServer:
        server = ScriptedServer(script)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve() -> Iterator[Start]:
    """Servers that live as long as a test."""
    yield from _serving()


@pytest.fixture(scope="module")
def serve_module() -> Iterator[Start]:
    """Servers that live as long as a module's tests."""
    yield from _serving()


@pytest.fixture(scope="session")
def reply() -> type[Reply]:
    """The class of replies that are more than a text."""
    return Reply


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Commands in processes of their own, whose imports are paid for once in a session."""
    with Forks(tmp_path_factory.mktemp("printed")) as forks:
        yield forks
