"""An OpenAI-compatible endpoint over the miniature's answers that fails the way endpoints fail, and counts what it did.

What becomes of a request is drawn from (seed, request, how often it was asked before): a retry is a new draw, and two runs
of one seed meet the same faults, whatever the order of their requests. The tag of a judge's fences is random in every run,
so it is no part of the request here.
"""

import json
import random
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, NamedTuple

from longform.miniature.fluency import grammar_model, tokenize
from longform.miniature.judge import EXAMINER, JUDGE, answer
from longform.miniature.world import parse_request
from longform.miniature.writers import write_story

Fate = Literal[
    "answered",
    "busy",
    "busy_until",
    "broken",
    "dropped",
    "cut",
    "stalled",
    "truncated",
    "empty",
    "refused",
    "two_verdicts",
    "prose",
]
RECORDED: dict[Fate, str] = {
    "answered": "ok",
    "busy": "rate_limit",  # 429
    "busy_until": "rate_limit",  # 429 with Retry-After
    "broken": "server_error",  # 500
    "dropped": "connection",  # the connection ends before the answer
    "cut": "connection",  # or in the middle of it
    "stalled": "timeout",  # no answer until the client gives up
    "truncated": "bad_response",  # half a JSON
    "empty": "empty",
    "refused": "refused",  # an answer with a `refusal`
    "two_verdicts": "ok",  # of which the last is meant
    "prose": "ok",  # an answer that decides nothing
}
"""What a client has to record as the outcome of a try."""
HARSH: dict[Fate, float] = {
    "busy": 0.10,
    "busy_until": 0.10,
    "broken": 0.10,
    "stalled": 0.05,
    "dropped": 0.02,
    "cut": 0.02,
    "truncated": 0.01,
    "empty": 0.01,
    "refused": 0.01,
    "two_verdicts": 0.01,
    "prose": 0.01,
}
"""20% 429, 10% 500, 5% stalls, 5% garbage, and 4% broken connections."""
RETRY_AFTER_SECONDS = 0.1
LONGEST_STALL_SECONDS = 60.0

_JUDGES = {"miniature-judge": JUDGE, "miniature-examiner": EXAMINER}
_TAG = re.compile(r"[0-9a-f]{12}(?=>>>)")
_OPPOSITE = {"A": "B", "B": "A", "C": "A"}


class Asked(NamedTuple):
    """One request and what became of it."""

    key: str
    """The body as it was sent, in canonical JSON."""
    fate: Fate
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Both as the answer states them; 0 where none reached the client whole."""


class Chaos:
    """The endpoint, in threads of this process. Use as a context manager.

    Args:
        rates: how often each fate befalls a request; what is left to 1 is answered.
        seed: of the draws.
        latency_seconds: waited before every answer.
    """

    def __init__(
        self, rates: Mapping[Fate, float] | None = None, *, seed: int = 0, latency_seconds: float = 0.0
    ) -> None:
        self.rates, self.seed, self.latency_seconds = dict(rates or {}), seed, latency_seconds
        self.asked: list[Asked] = []
        self.answering = threading.Event()
        """While it is not set, requests wait."""
        self.answering.set()
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._port = 0
        grammar_model()  # takes a while, which would be a stall of the first answer

    def __enter__(self) -> "Chaos":
        self.come_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def url(self) -> str:
        """For `base_url` of models.yaml; the same after a time away."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def fates(self) -> Counter[Fate]:
        """How many requests met which fate."""
        return Counter(it.fate for it in list(self.asked))

    @property
    def requests(self) -> Counter[str]:
        """How often each body was sent."""
        return Counter(it.key for it in list(self.asked))

    def leave(self) -> None:
        """Refuse connections, and break those that stand."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.break_connections()

    def come_back(self) -> None:
        """Listen on the port of before."""
        server = self._server = _Server(self, self._port)
        self._port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def decide(self, body: dict[str, Any]) -> tuple[Fate, bytes]:
        """Draw what becomes of a request, count it, and give the body of the answer where there is one."""
        key = json.dumps(body, sort_keys=True)
        same = _TAG.sub("", key)
        with self._lock:
            self._seen[same] += 1
            fate = self._draw(f"{self.seed}/{self._seen[same]}/{same}")
        text = _answer(body)
        if fate in ("two_verdicts", "prose") and body["model"] not in _JUDGES:
            fate = "answered"  # a writer gives no verdict
        if fate == "two_verdicts":
            text = _changed_mind(text)
        elif fate == "prose":
            text = "Both have their merits, and I would rather not say more."
        content, tokens = _completion(body, fate, text)
        with self._lock:
            self.asked.append(Asked(key, fate, *tokens))
        return fate, content

    def _draw(self, seed: str) -> Fate:
        fates: list[Fate] = [*self.rates, "answered"]
        weights = [*self.rates.values(), 1 - sum(self.rates.values())]
        return random.Random(seed).choices(fates, weights)[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, chaos: Chaos, port: int) -> None:
        self.chaos = chaos
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def break_connections(self) -> None:
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed, or gives up, is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one piece

    @property
    def of(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    def setup(self) -> None:
        super().setup()
        self.of.connections.add(self.connection)

    def finish(self) -> None:
        self.of.connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.of.chaos.latency_seconds)
        self.of.chaos.answering.wait()
        fate, content = self.of.chaos.decide(body)
        if fate == "stalled":
            select.select([self.connection], [], [], LONGEST_STALL_SECONDS)
        if fate in ("stalled", "dropped"):
            self.close_connection = True
            return
        self.send_response({"busy": 429, "busy_until": 429, "broken": 500}.get(fate, 200))
        if fate == "busy_until":
            self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fate == "cut":
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


def _answer(body: dict[str, Any]) -> str:
    model, message = body["model"], body["messages"][-1]["content"]
    if model in _JUDGES:
        return answer(message, _JUDGES[model])
    return write_story(parse_request(message), level=model.removeprefix("miniature-"), sample=body.get("seed") or 0)


def _changed_mind(text: str) -> str:
    """A judge's answer behind one that says something else."""
    if text.startswith("{"):
        return f"{re.sub(r'[0-9.]+(?=[,}])', '1', text)} No, that is too harsh. {text}"
    letter = text[-3]
    return f"At first sight [[{_OPPOSITE[letter]}]], but: {text}"


def _completion(body: dict[str, Any], fate: Fate, text: str) -> tuple[bytes, tuple[int, int]]:
    """The body of an answer, and its tokens of prompt and completion."""
    if fate in ("busy", "busy_until", "broken"):
        return json.dumps({"error": {"message": f"this endpoint is {fate}", "code": None}}).encode(), (0, 0)
    text = "" if fate in ("empty", "refused") else text
    prompt, completion = sum(len(tokenize(it["content"])) for it in body["messages"]), len(tokenize(text))
    message = {"role": "assistant", "content": text} | ({"refusal": "I would rather not."} if fate == "refused" else {})
    content = json.dumps(
        {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
        }
    ).encode()
    if fate == "truncated":
        return content[: len(content) // 2], (0, 0)
    return content, (0, 0) if fate in ("dropped", "cut", "stalled") else (prompt, completion)
