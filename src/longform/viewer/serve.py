"""Serve the viewer on this machine, or with a password on another address."""

import os
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from longform.evaluation.labelling.labels import LabelStore
from longform.records.errors import BadInputError
from longform.viewer.app import LINKS, create_app
from longform.viewer.collection import ViewerCollection
from longform.viewer.labelling import LabelLinks, label_routes
from longform.viewer.security import new_token

LOOPBACK = "127.0.0.1"
PASSWORD_VARIABLE = "LONGFORM_VIEW_PASSWORD"
HTTP_PORT = 80
_LOOPBACK_NAMES = (LOOPBACK, "localhost", "[::1]")


def serve(
    paths: Sequence[Path],
    *,
    host: str = LOOPBACK,
    port: int = 0,
    browser: bool = True,
    labels: LabelStore | None = None,
    on_start: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until interrupted.

    Args:
        paths: Run directories, folders with runs, or files of results.
        host: Address to listen on; another than the loopback interface needs a password.
        port: 0 chooses a free one.
        browser: Open the address in a browser.
        labels: Pairs for people to label; its pages are then the ones that are opened.
        on_start: Called with the address.

    Raises:
        BadInputError: a path does not exist, the port is taken, or a password is missing.
    """
    is_local = host in ("127.0.0.1", "localhost", "::1")
    password = os.environ.get(PASSWORD_VARIABLE) or None
    if not is_local and password is None:
        raise BadInputError(
            f"--host {host}: others can reach this address; set a password in the environment variable {PASSWORD_VARIABLE}"
        )
    with listen(host, port) as listener:
        taken = listener.getsockname()[1]
        hosts = local_hosts(taken) if is_local else []
        token = new_token()
        routes = label_routes(labels, token=token, links=LINKS if paths else LabelLinks()) if labels else []
        if labels is None:
            ViewerCollection(paths).check()
        app = create_app(paths, token=token, hosts=hosts, password=None if is_local else password, more_routes=routes)
        address = f"http://{f'[{host}]' if ':' in host else host}:{taken}/{'label' if labels else ''}"
        on_start(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2))
        with suppress(KeyboardInterrupt):  # the way to end it
            server.run(sockets=[listener])


def local_hosts(port: int) -> list[str]:
    """The values of `Host` that browsers send for this machine; HTTP's own port is left out of them."""
    return [*(f"{it}:{port}" for it in _LOOPBACK_NAMES), *(_LOOPBACK_NAMES if port == HTTP_PORT else ())]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        BadInputError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInputError(f"--host {host} --port {port}: cannot be used: {reason}") from error
    listener.listen()
    return listener
