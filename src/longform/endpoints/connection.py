"""The SDK's client for one endpoint: transports requests through aiohttp, without retries."""

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from longform.endpoints.models import ModelSpec

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def open_client(spec: ModelSpec, *, key: str | None, timeout: float | None = None) -> "AsyncOpenAI":
    """A client of the endpoint on the running event loop; the caller closes it.

    aiohttp takes less processor time than the SDK's default. User and password of the address go into a header, because
    aiohttp refuses them in the address of a request with a key.
    """
    from openai import AsyncOpenAI, DefaultAioHttpClient

    return AsyncOpenAI(
        base_url=without_user(spec.base_url),
        api_key=key or "none",  # with an empty one the SDK would read its own environment variable
        max_retries=0,
        timeout=timeout,
        default_headers=_basic(spec.base_url),
        http_client=DefaultAioHttpClient(trust_env=not spec.is_local),
    )


def without_user(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _basic(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    named = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(named.encode()).decode()}"}
