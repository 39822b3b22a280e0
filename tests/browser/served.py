"""A viewer on a free port of the loopback interface."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from longform.evaluation.labelling.labels import LabelStore
from longform.viewer.app import LINKS, create_app
from longform.viewer.labelling import LabelLinks, label_routes
from longform.viewer.security import new_token
from longform.viewer.serve import listen


@contextmanager
def serving(paths: Sequence[Path], *, labels: LabelStore | None = None) -> Iterator[str]:
    """The address of a viewer, while the context lasts."""
    with listen("127.0.0.1", 0) as listener:
        host, token = f"127.0.0.1:{listener.getsockname()[1]}", new_token()
        routes = label_routes(labels, token=token, links=LINKS if paths else LabelLinks()) if labels else []
        app = create_app(paths, token=token, hosts=[host], more_routes=routes)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://{host}"
        server.should_exit = True
        thread.join(timeout=30)
