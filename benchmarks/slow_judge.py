"""A judge for the benchmarks of throughput: a process of its own that says one thing, 0.5 s after a question has come in."""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LATENCY_SECONDS = 0.5


@contextmanager
def slow_judge(said: str) -> Iterator[str]:
    """The judge, which answers `said` to everything; yields its base URL."""
    with subprocess.Popen([sys.executable, __file__, said], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.kill()


def prose(seed: str, words: int) -> str:
    """A made-up text of so many words, another one for each seed."""
    stream = random.Random(seed)
    vocabulary = ["".join(stream.choices("etaoinshrdlucmfwyp", k=stream.randint(2, 9))) for _ in range(200)]
    chosen = stream.choices(vocabulary, k=words)
    return "\n\n".join(" ".join(chosen[i : i + 90]) + "." for i in range(0, words, 90))


async def serve(said: str) -> None:
    """Answer every question after `LATENCY_SECONDS`, whatever it says, with no work of its own, and all else at once."""
    message = {"role": "assistant", "content": said}
    usage = {"prompt_tokens": 4000, "completion_tokens": 8}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}).encode()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(reply), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; its requests come one after the other."""

    def __init__(self, reply: bytes) -> None:
        self.reply, self.received = reply, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = bytes(self.received).partition(b"\r\n\r\n")
        if not found:
            return
        lengths = [int(it.split(b":")[1]) for it in head.lower().split(b"\r\n") if it.startswith(b"content-length")]
        length = sum(lengths)  # a GET of the list of models has none
        if len(body) >= length:
            self.received.clear()
            delay = LATENCY_SECONDS if length else 0
            asyncio.get_running_loop().call_later(delay, self.transport.write, self.reply)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
