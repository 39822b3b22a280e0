"""An OpenAI-compatible HTTP server on the loopback interface for the models of the miniature world.

The rest of longform calls them like any other endpoint, so no code outside this package is specific to the miniature world.
`serve_in_background` runs the server as a child process, which leaves the parent's interpreter free to train; the child
watches its standard input and exits with the parent, even if the parent is killed.
"""

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from longform.judging.accepted import GREETING
from longform.judging.answers import read_fences
from longform.judging.probe import LONG_REQUEST
from longform.miniature.fluency import grammar_model, tokenize
from longform.miniature.judge import EXAMINER, JUDGE, JUDGES, JudgeStyle, answer, second_judge
from longform.miniature.kinds import write_of_kind
from longform.miniature.request_answers import reduction
from longform.miniature.world import complete_request, draw_request
from longform.miniature.world_files import models_yaml, write_served_world
from longform.miniature.writers import LEVELS, revise_story, write_story
from longform.records.errors import BadInputError

LOOPBACK = "127.0.0.1"
WRITERS = tuple(f"miniature-{level}" for level in LEVELS)
REWRITER = "miniature-rewriter"
JUDGE_MODELS = ("miniature-judge", "miniature-judge-2", "miniature-examiner")
MODELS = (*JUDGE_MODELS, REWRITER, *WRITERS)
OPENING_FENCE = "<<<"
"""Marker that every message about a text contains and no plain request does."""
PROBES = (GREETING, LONG_REQUEST)
"""What `longform probe` asks of any model; it is answered with a story of this world."""
_START_SECONDS = 30.0


def create_app(
    *,
    judge: JudgeStyle = JUDGE,
    examiner: JudgeStyle = EXAMINER,
    kinds: bool = False,
    latency_seconds: float = 0.0,
) -> Starlette:
    """Create the server application: `/v1/models` and `/v1/chat/completions` (no streaming, one choice).

    A writer's text is a function of (request, the call's `seed`), and so are the details that it invents if the request
    leaves them open. A writer asked to fit a text to a request revises the text.

    Args:
        judge: Weights and errors of the judge; the second judge has those of `second_judge`.
        examiner: Weights and errors of the examiner.
        kinds: Whether writers have the strengths of `miniature/kinds.py`.
        latency_seconds: Delay before every answer.
    """
    grammar_model()
    judges = dict(zip(JUDGE_MODELS, (judge, second_judge(judge), examiner), strict=True))

    def reply(body: dict[str, Any]) -> str:
        model, message = body["model"], last_user_message(body)
        sample = body.get("seed") or 0
        if message in PROBES:
            return write_story(draw_request(random.Random(message), split="train"), level="novice", sample=sample)
        if model in judges:
            return answer(message, judges[model], sample=sample)
        if model == REWRITER:
            return reduction(read_fences(message).get("REQUEST", ""), sample=sample)
        if OPENING_FENCE in message:
            fenced = read_fences(message)
            return revise_story(fenced["TEXT"], fenced["REQUEST"], sample=sample)
        request, level = complete_request(message, seed=sample), model.removeprefix("miniature-")
        if kinds:
            return write_of_kind(request, writer=level, sample=sample)
        return write_story(request, level=level, sample=sample)

    return create_answering_app(MODELS, reply, latency_seconds=latency_seconds)


def create_answering_app(
    models: Sequence[str], reply: Callable[[dict[str, Any]], str], *, latency_seconds: float = 0.0
) -> Starlette:
    """Create a server application for models whose answers are a function of the request.

    Args:
        models: Their names.
        reply: Answers the body of a chat completion; a `ValueError` is the client's mistake.
        latency_seconds: Delay before every answer.
    """

    async def complete(request: Request) -> JSONResponse:
        try:
            body = await request.json()
            if body.get("model") not in models:
                return _error(404, f"the model {body.get('model')!r} does not exist; available: {', '.join(models)}")
            text = reply(body)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            return _error(400, str(error))
        if latency_seconds:
            await asyncio.sleep(latency_seconds)
        return JSONResponse(_completion(body, text))

    async def list_models(request: Request) -> JSONResponse:  # noqa: ARG001
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "longform"} for name in models]
        return JSONResponse({"object": "list", "data": data})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/models", list_models, methods=["GET"]),
        ],
        # A page in a browser may reach the loopback through a name of its own (DNS rebinding).
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])],
    )


def serve(
    *,
    port: int = 0,
    latency_seconds: float = 0.0,
    judge: JudgeStyle = JUDGE,
    kinds: bool = False,
    world: Path | None = None,
    prompts: int = 100,
    end_with_parent: bool = False,
) -> None:
    """Serve until interrupted. The address is printed to standard output.

    Args:
        port: Port on the loopback interface; 0 chooses a free one.
        latency_seconds: Delay before every answer.
        judge: Weights and errors of the judge.
        kinds: Whether writers have the strengths of `miniature/kinds.py`.
        world: New or empty folder for the world's prompts, chat log and models.yaml.
        prompts: Number of the world's training prompts.
        end_with_parent: Exit when standard input closes.

    Raises:
        BadInputError: the port is taken, or `world` is not empty or cannot be written.
    """
    with _listen(port) as listener:
        address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/v1"
        if world is not None:
            write_served_world(world, base_url=address, prompts=prompts)
        app = create_app(judge=judge, kinds=kinds, latency_seconds=latency_seconds)
        print(address, flush=True)
        if world is None and not end_with_parent:
            print(
                f"\nmodels.yaml for it (--world FOLDER writes one, with prompts):\n\n{models_yaml(address)}", flush=True
            )
        _answer_requests(app, listener, end_with_parent=end_with_parent)


def serve_child(app: Starlette) -> None:
    """Serve an application on a free port as the child of `in_background`."""
    with _listen(0) as listener:
        print(f"http://{LOOPBACK}:{listener.getsockname()[1]}/v1", flush=True)
        _answer_requests(app, listener, end_with_parent=True)


def _answer_requests(app: Starlette, listener: socket.socket, *, end_with_parent: bool) -> None:
    if end_with_parent:
        threading.Thread(target=_end_with_standard_input, daemon=True).start()
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=600)
    with suppress(KeyboardInterrupt):  # the way to end it
        uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    # asyncio disables Nagle's algorithm only for sockets created with an explicit protocol; otherwise the body of an answer
    # arrives 40 ms after its headers.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise BadInputError(f"--port: cannot listen on {port}: {error.strerror}") from error
    return listener


def serve_in_background(
    *, port: int = 0, latency_seconds: float = 0.0, judge: str = "mild", kinds: bool = False
) -> AbstractContextManager[str]:
    """Run the server in a child process; yield its base URL, for `base_url` in models.yaml.

    A resumed run reuses its recorded answers only under the same address.

    Args:
        port: Port on the loopback interface; 0 chooses a free one.
        latency_seconds: Delay before every answer.
        judge: Style of the judge, one of `JUDGES`.
        kinds: Whether writers have the strengths of `miniature/kinds.py`.

    Raises:
        BadInputError: the server did not start, for example because the port is taken; the child prints the cause.
    """
    arguments = (str(port), str(latency_seconds), judge, "kinds" if kinds else "plain")
    return in_background("longform.miniature.server", *arguments)


@contextmanager
def in_background(module: str, *arguments: str) -> Iterator[str]:
    """Run a module that serves in a child process; yield the base URL that it prints.

    Raises:
        BadInputError: the server did not start; the child prints the cause.
    """
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield _announced_address(child)
        finally:
            child.kill()


def _announced_address(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    address = child.stdout.readline().strip()
    if not address:
        raise BadInputError(f"the server did not start (exit code {child.wait()})")
    host, port = address.removeprefix("http://").removesuffix("/v1").split(":")
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return address
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _end_with_standard_input() -> None:
    """Exit when standard input closes: the pipe closes whenever the parent exits, for any reason."""
    sys.stdin.buffer.read()
    os._exit(0)


def last_user_message(body: dict[str, Any]) -> str:
    """Return the text of the last user turn of a chat completion's body.

    Raises:
        ValueError: there is no such text.
    """
    texts = [message["content"] for message in body["messages"] if message["role"] == "user"]
    if not texts or not isinstance(texts[-1], str):
        raise ValueError("messages: no user message with text")
    return texts[-1]


def _completion(body: dict[str, Any], text: str) -> dict[str, Any]:
    prompt_tokens = sum(len(tokenize(str(message["content"]))) for message in body["messages"])
    completion_tokens = len(tokenize(text))
    return {
        "id": "chatcmpl-miniature",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=status)


if __name__ == "__main__":
    try:
        serve(
            port=int(sys.argv[1]),
            latency_seconds=float(sys.argv[2]),
            judge=JUDGES[sys.argv[3]],
            kinds=sys.argv[4] == "kinds",
            end_with_parent=True,
        )
    except BadInputError as error:
        sys.exit(str(error))
