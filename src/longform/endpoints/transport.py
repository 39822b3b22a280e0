"""HTTP to one endpoint through aiohttp: one POST, whose answer is bounded in time and size.

A server is not trusted. Bodies are read up to a limit, which also holds after decompression. Bytes are decoded as UTF-8 with
replacement characters, whatever encoding the server states. Redirects are followed only on the same host, because texts must
not be sent to another one.
"""

import asyncio
import codecs
import zlib
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from longform.endpoints.models import ModelSpec
from longform.endpoints.request import without_user

if TYPE_CHECKING:
    from aiohttp import ClientResponse

MAX_BYTES = 1 << 20
"""Maximum size of a body, in addition to `BYTES_PER_TOKEN` for each token of the longest answer."""
BYTES_PER_TOKEN = 64
BYTES_PER_EVENT = 1 << 10
"""Bytes per token of a stream, in which each token comes with the names of model and fields."""
MAX_REDIRECTS = 3
_PIECE = 1 << 16
_LONGEST_HEADER = 1 << 16
"""Bytes of one header; gateways send policies and traces of more than aiohttp's 8 KiB."""
_COMPRESSIONS = {"gzip", "x-gzip", "deflate"}
_GZIP = b"\x1f\x8b"
"""The first bytes of each member of gzip."""
_FIELDS = (b":", b"event:", b"id:", b"retry:")
"""How lines of a stream begin that hold no data."""


class BadBodyError(Exception):
    """A body that exceeds the limit or cannot be decompressed."""


class StalledError(Exception):
    """A stream that stopped arriving."""


class RedirectError(Exception):
    """A redirect that is not followed; the message is its target."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, headers (in lower case) and decoded body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success: gateways also send 201 for what a POST has made."""
        return 200 <= self.status < 300


class Transport:
    """The connections to an endpoint on the running event loop.

    Args:
        spec: the endpoint.
        key: its API key.
        headers: further headers, with their values.

    Raises of `get` and `post`:
        BadBodyError, RedirectError: see there.
        aiohttp.ClientError, OSError, ValueError: no connection, or an answer that is not HTTP.
    """

    def __init__(self, spec: ModelSpec, *, key: str | None, headers: Mapping[str, str]) -> None:
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        self._base = without_user(spec.base_url)
        self._query = {name: str(value) for name, value in spec.query.items()}
        self._session: ClientSession = ClientSession(
            connector=TCPConnector(limit=0),  # the endpoint's `concurrency` limits requests
            timeout=ClientTimeout(total=None),
            headers=_headers(spec, key) | dict(headers),
            auto_decompress=False,
            max_field_size=_LONGEST_HEADER,
            trust_env=not spec.is_local,
            cookie_jar=DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, *, limit: int = MAX_BYTES) -> HttpAnswer:
        """The answer to a GET of `path` below the base address."""
        async with self._open("GET", path, None) as response:
            return HttpAnswer(response.status, _lower(response.headers), await _read(response, limit))

    async def post(self, path: str, body: Mapping[str, Any], *, limit: int) -> HttpAnswer:
        """The answer to a POST.

        Args:
            path: below the base address, or an absolute address.
            body: sent as JSON.
            limit: longest body of the answer in bytes, after decompression.
        """
        async with self._open("POST", path, body) as response:
            return HttpAnswer(response.status, _lower(response.headers), await _read(response, limit))

    async def upload(self, path: str, content: str, *, purpose: str) -> HttpAnswer:
        """The answer to a POST of a file of JSON lines.

        Args:
            path: below the base address.
            content: of the file.
            purpose: what the endpoint is to use it for.
        """
        from aiohttp import FormData

        form = FormData()
        form.add_field("purpose", purpose)
        form.add_field("file", content.encode(), filename="requests.jsonl", content_type="application/jsonl")
        async with self._session.post(
            f"{self._base}{path}", data=form, params=self._query or None, allow_redirects=False
        ) as response:
            return HttpAnswer(response.status, _lower(response.headers), await _read(response, MAX_BYTES))

    async def stream(
        self, path: str, body: Mapping[str, Any], *, limit: int, stall_seconds: float
    ) -> AsyncGenerator[HttpAnswer | str]:
        """The answer to a POST as it arrives: first status and headers (with the body, unless it is a stream of server-sent
        events), then the data of each event; at the end the body of a stream that holds no event, but an answer of its own.

        Raises:
            StalledError: no bytes for `stall_seconds` after the first event.
        """
        async with self._open("POST", path, body) as response:
            begun = HttpAnswer(response.status, _lower(response.headers), "")
            if not begun.is_success or "text/event-stream" not in begun.headers.get("content-type", ""):
                yield replace(begun, body=await _read(response, limit))
                return
            yield begun
            async for event in _events(_pieces(response, limit), stall_seconds):
                yield event if isinstance(event, str) else replace(begun, body=_text(event))

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: Mapping[str, Any] | None) -> AsyncIterator["ClientResponse"]:
        """The response, after redirects on the same host."""
        url = path if "://" in path else f"{self._base}{path}"
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.request(
                method, url, json=body, params=self._query or None, allow_redirects=False
            ) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    yield response
                    return
                target = response.headers.get("Location", "")
            url = _followed(url, target, keeps_method=response.status in (307, 308))
        raise RedirectError(f"{without_user(url)} again and again")


def _followed(url: str, target: str, *, keeps_method: bool) -> str:
    """The address that a redirect leads to, if it is on the same host."""
    try:
        new = urljoin(url, target)
        old, parts = urlsplit(url), urlsplit(new)
        same = (old.scheme, old.hostname, old.port) == (parts.scheme, parts.hostname, parts.port)
    except ValueError:
        new, same = target, False
    if not (target and keeps_method and same):
        raise RedirectError(without_user(new) if "://" in new else "an address that is not valid")
    return new


def basic_credentials(spec: ModelSpec) -> str | None:
    """User and password of the address, as they are sent in a header; None without them."""
    parts = urlsplit(spec.base_url)
    if parts.username is None:
        return None
    return b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()


def _headers(spec: ModelSpec, key: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "longform"}
    credentials = basic_credentials(spec)
    if credentials is not None:
        headers["Authorization"] = f"Basic {credentials}"
    if key is not None and spec.auth == "bearer":
        headers.setdefault("Authorization", f"Bearer {key}")
    elif key is not None and spec.auth != "none":
        headers[spec.auth] = key
    return headers


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _read(response: "ClientResponse", limit: int) -> str:
    """The decoded body."""
    body = bytearray()
    async for piece in _pieces(response, limit):
        body += piece
    return _text(body)


def _text(body: bytes | bytearray) -> str:
    return body.decode("utf-8-sig", "replace")


async def _pieces(response: "ClientResponse", limit: int) -> AsyncIterator[bytes]:
    """The decompressed body in pieces.

    Raises:
        BadBodyError: it is longer than `limit` bytes, compressed in a way that was not asked for, or damaged.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", *_COMPRESSIONS):
        raise BadBodyError(f"the answer is compressed with {coding[:20]!r}, which was not asked for")
    unpacked = _Unpacking() if coding in _COMPRESSIONS else None
    read = 0
    async for received in response.content.iter_chunked(_PIECE):
        try:
            for piece in unpacked.pieces(received) if unpacked else (received,):
                read += len(piece)
                if read > limit:
                    raise BadBodyError(f"the answer is longer than {limit:,} bytes")
                yield piece
        except zlib.error as error:
            raise BadBodyError(f"the answer is not valid {coding}") from error


class _Unpacking:
    """Decompresses gzip, also of several members, and deflate, which some servers send without its header."""

    def __init__(self) -> None:
        self._member: Any = None

    def pieces(self, received: bytes) -> Iterator[bytes]:
        """What a part of the body holds, in pieces of at most `_PIECE` bytes."""
        while received:
            if self._member is None:
                is_headed = received[0] == _GZIP[0] or received[0] & 0x0F == zlib.DEFLATED
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 32 if is_headed else -zlib.MAX_WBITS)
            elif self._member.eof:
                if not _GZIP.startswith(received[:2]):  # padding
                    return
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 32)
            yield self._member.decompress(received, _PIECE)
            received = self._member.unconsumed_tail or self._member.unused_data


def events_in(body: str) -> list[str]:
    """The data of the server-sent events of a body, a line each; empty if it holds none."""
    if body.lstrip()[:1] in ("{", "[", "<"):
        return []
    lines = (line.strip() for line in body.split("\n"))
    return [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]


async def _events(pieces: AsyncIterator[bytes], stall_seconds: float) -> AsyncIterator[str | bytes]:
    """The data of server-sent events, up to `[DONE]`; comments (keep-alives) are dropped.

    If a stream has no event, its lines that are not comments are yielded as bytes: an error, or a whole answer.
    """
    pending, data, any_event = b"", [], False
    others: list[bytes] = []
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces, None), stall_seconds if any_event else None)
        except TimeoutError:
            raise StalledError from None
        if piece is None:
            break
        *lines, pending = (pending + piece).removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").strip().decode("utf-8", "replace"))
            elif not line.strip() and data:
                event, data, any_event = "\n".join(data), [], True
                if event == "[DONE]":
                    return
                yield event
            elif not any_event and line.strip() and not line.startswith(_FIELDS):
                others.append(line)
    if pending.startswith(b"data:"):
        data.append(pending.removeprefix(b"data:").strip().decode("utf-8", "replace"))
    elif pending.strip() and not pending.startswith(_FIELDS):
        others.append(pending)
    if data and data != ["[DONE]"]:
        yield "\n".join(data)
    elif others and not any_event:
        yield b"\n".join(others)
