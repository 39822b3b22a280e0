"""HTTP server of the demonstration's judge on the loopback interface: the run calls it like any other endpoint."""

from contextlib import AbstractContextManager
from typing import Any

from starlette.applications import Starlette

from longform.demo.judge import JUDGE, answer
from longform.miniature.server import create_answering_app, in_background, last_user_message, serve_child


def create_app() -> Starlette:
    """Create the server application; see `longform.miniature.server`."""

    def reply(body: dict[str, Any]) -> str:
        return answer(last_user_message(body))

    return create_answering_app([JUDGE], reply)


def serve_in_background() -> AbstractContextManager[str]:
    """Serve in a child process on a free port; yield the base URL, for `base_url` in models.yaml.

    Raises:
        BadInputError: the server did not start; the child prints the cause.
    """
    return in_background("longform.demo.server")


if __name__ == "__main__":
    serve_child(create_app())
