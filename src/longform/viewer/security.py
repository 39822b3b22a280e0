"""Access control of the viewer: requests must come from its own pages on this machine, or carry the password.

Pages of other sites in the same browser can send requests to the loopback interface, or reach it under their own host name
(DNS rebinding). So a foreign `Host` or `Origin` is refused, and requests that write need a token that only our pages have.
"""

import base64
import hmac
import secrets
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-longform-token"
USER = "longform"
_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def new_token() -> str:
    """A token for one start of the server."""
    return secrets.token_urlsafe(24)


class Guard:
    """Refuses requests that do not come from the viewer's own pages.

    Args:
        app: Application behind it.
        hosts: Values of `Host` that are accepted, with the port; empty: any, for a server with a password.
        token: Required of every request that may write.
        password: Required of every request, by HTTP basic authentication; None: not needed.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], token: str, password: str | None = None) -> None:
        self._app = app
        self._hosts, self._token, self._password = frozenset(hosts), token, password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if refusal := self._refusal(scope["method"], Headers(scope=scope)):
            await refusal(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts and host not in self._hosts:
            return PlainTextResponse(f"unknown host; open http://{sorted(self._hosts)[0]}/", 403)
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return PlainTextResponse("requests from other sites are refused", 403)
        if self._password is not None and not self._knows_password(headers.get("authorization", "")):
            return PlainTextResponse("password needed", 401, {"www-authenticate": 'Basic realm="longform"'})
        if method not in _SAFE_METHODS and not _equal(headers.get(TOKEN_HEADER, ""), self._token):
            return PlainTextResponse("this page is from an earlier start of the viewer; reload it", 403)
        return None

    def _knows_password(self, authorization: str) -> bool:
        kind, _, encoded = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return False
        return kind.lower() == "basic" and user == USER and _equal(password, self._password or "")


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
