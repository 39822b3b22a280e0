"""A generation server on this machine, started here or running at a given address, that generates with a run's weights.

Each response is one request, and all requests are sent at once: the server's batching replaces finished rows, and a response
can be judged while others are still being generated.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from longform.records.errors import BadInputError, StoppedError
from longform.records.resume import hash_file
from longform.writers.decoding import Completion
from longform.writers.paths import holds_adapters, model_below
from longform.writers.served import guard
from longform.writers.served.protocol import (
    CompletionRequest,
    LaunchOptions,
    ServedTokens,
    ServerProtocol,
    ServerRequest,
    UnreadableAnswerError,
    Weights,
)
from longform.writers.served.sglang import Sglang
from longform.writers.served.vllm import Vllm
from longform.writers.settings import SERVED, GenerationSettings
from longform.writers.stops import Stops

if TYPE_CHECKING:
    from aiohttp import ClientSession

PROTOCOLS: dict[str, type[ServerProtocol]] = {"vllm": Vllm, "sglang": Sglang}
MAX_FAILURES = 3
"""Number of failures in a row, without a response in between, after which the run stops."""
ADAPTERS = "adapter_model.safetensors"
INITIAL_VERSION = "default"
"""Version that both servers state for the weights they start with."""
_POLL_SECONDS = 0.25
_QUOTED = 300
"""Maximum characters of a server's output in an error."""


class EngineServer:
    """A generation server for one process. A context manager; leaving it ends a server that was started here.

    Args:
        settings: Generation settings of a recipe, of which `engine` and `server` are used.
        options: How the server is started.

    Raises:
        BadInputError: it is not installed, or ends while it starts.
        StoppedError: it does not answer.
    """

    def __init__(self, settings: GenerationSettings, options: LaunchOptions) -> None:
        self._protocol, self._server, self._options = PROTOCOLS[settings.engine](), settings.server, options
        self._address = (self._server.address or f"http://127.0.0.1:{options.port}").rstrip("/")
        self._folder = Path(tempfile.mkdtemp(prefix="longform-engine-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._weights: Weights | None = None
        self._is_loaded = self._is_asleep = False

    def __enter__(self) -> "EngineServer":
        try:
            self._start()
            if self._server.address is not None and self._server.sleep:
                self._ask(self._protocol.wake_if_asleep())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End a server that was started here, leave any other awake, and remove the weights that were written for it."""
        if self._server.address is not None:
            self._release()
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def load_weights(self, save: Callable[[Path], None], *, are_adapters: bool) -> None:
        """Replace the weights that the server generates with.

        Args:
            save: Writes the new weights into a folder.
            are_adapters: Whether they are adapters on the model that it was started with.

        Raises:
            StoppedError: the server refuses them, or does not answer.
        """
        folder = self._folder / f"weights-{secrets.token_hex(6)}"
        save(folder)
        version = hash_file(folder / ADAPTERS)[:12] if are_adapters else folder.name.removeprefix("weights-")
        before, self._weights, self._is_loaded = self._weights, Weights(version, folder, are_adapters), False
        self._wake()
        if before is not None:
            self._forget(before)
            shutil.rmtree(before.folder, ignore_errors=True)
        self._load()

    def use_adapters(self, adapters: Path) -> None:
        """Generate with a folder of adapters on the model that the server was started with; raises like `load_weights`."""
        self._weights = Weights(hash_file(adapters / ADAPTERS)[:12], adapters.resolve(), are_adapters=True)
        self._load()

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        seed: int,
        step: int,
        first_row: int = 0,
        stops: Stops,
        settings: GenerationSettings,
        on_finished: Callable[[int, Completion], None] = lambda row, written: None,
    ) -> list[Completion]:
        """Generate a response to each prompt, like `decoding.decode_in_batches`.

        With the same seeds a server repeats its responses only if the batches are the same. Rows that are unfinished when it
        dies are generated after its restart, with the same seeds.

        Raises:
            StoppedError: the server refuses a request, generates with other weights, or has died too often.
        """
        finished: dict[int, Completion] = {}

        def finish(row: int, served: ServedTokens) -> None:
            finished[row] = _completion(served, stops)
            on_finished(row, finished[row])

        failures = 0
        while len(finished) < len(prompts):
            self._wake()
            self._load()
            self._check_model()
            requests = {
                row: self._protocol.completion(
                    CompletionRequest(
                        prompt,
                        model=self._options.model,
                        weights=self._weights,
                        settings=settings,
                        stops=stops,
                        seed=_seed_of(seed, step, first_row + row),
                    )
                )
                for row, prompt in enumerate(prompts)
                if row not in finished
            }
            count = len(finished)
            try:
                asyncio.run(self._write_rows(requests, finish))
            except _ServerFailedError as error:
                failures = 1 if len(finished) > count else failures + 1
                self._restart(error, failures)
        return [finished[row] for row in range(len(prompts))]

    def sleep(self) -> None:
        """Free the server's GPU memory until it generates again, if `server.sleep` is set."""
        if self._server.sleep and not self._is_asleep:
            self._ask(self._protocol.sleep(keep_weights=self._keeps_weights))
            self._is_asleep = True
            self._is_loaded = self._is_loaded and self._keeps_weights

    @property
    def _title(self) -> str:
        return f"the {self._protocol.name} server at {self._address}"

    @property
    def _keeps_weights(self) -> bool:
        """Whether the weights that it started with are still needed, alone or as the base of adapters."""
        return self._weights is None or self._weights.are_adapters

    def _wake(self) -> None:
        if self._is_asleep:
            self._ask(self._protocol.wake(keep_weights=self._keeps_weights), again=False)
            self._is_asleep = False

    def _load(self) -> None:
        """Load the current weights into the server, unless it has them."""
        if self._weights is not None and not self._is_loaded:
            self._forget(self._weights)  # a server that was given by its address may have them from before
            self._ask(self._protocol.load(self._weights))
            self._is_loaded = True

    def _forget(self, weights: Weights) -> None:
        with contextlib.suppress(StoppedError):  # it does not know them
            self._ask(self._protocol.unload(weights), again=False)

    def _ask(self, requests: Sequence[ServerRequest], *, again: bool = True) -> None:
        """Send requests one after the other. If the server dies, restart it, and send them again if `again` is set.

        Raises:
            StoppedError: a request is refused, or the server has died too often.
        """
        for failures in range(1, MAX_FAILURES + 1):
            try:
                return asyncio.run(self._send_all(requests))
            except _ServerFailedError as error:
                self._restart(error, failures)
                if not again:
                    return None
        return None

    def _release(self) -> None:
        """Leave a server that was not started here awake and without our adapters, if it still answers."""
        requests = self._protocol.wake(keep_weights=self._keeps_weights) if self._is_asleep else []
        if self._weights is not None and self._weights.are_adapters:
            requests = [*requests, *self._protocol.unload(self._weights)]
        with contextlib.suppress(_ServerFailedError, StoppedError):
            asyncio.run(self._send_all(requests))

    async def _send_all(self, requests: Sequence[ServerRequest]) -> None:
        async with _session() as session:
            for it in requests:
                await self._send(session, it)

    async def _write_rows(
        self, requests: Mapping[int, ServerRequest], finish: Callable[[int, ServedTokens], None]
    ) -> None:
        """Send all requests at once; `finish` gets each answer as it comes.

        Raises:
            _ServerFailedError: the server died; the answers that came before count.
            StoppedError: a request is refused, or answered with other weights.
        """
        async with _session() as session:

            async def write(row: int, request: ServerRequest) -> None:
                answer = await self._send(session, request)
                try:
                    served = self._protocol.read(answer)
                except UnreadableAnswerError as error:
                    raise StoppedError(f"{self._title}: {error}; is it {self._protocol.name}?") from None
                self._check_version(served)
                finish(row, served)

            tasks = [asyncio.create_task(write(row, request)) for row, request in requests.items()]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, session: "ClientSession", request: ServerRequest) -> Any:
        from aiohttp import ClientError

        try:
            async with session.post(
                self._address + request.path, json=request.body, params=dict(request.query)
            ) as response:
                text = await response.text(errors="replace")
        except (ClientError, OSError, TimeoutError) as error:
            raise _ServerFailedError(f"{request.path}: {type(error).__name__}: {error}") from None
        problem = f"{request.path} answered {response.status}: {_quoted(text)}"
        if response.status >= 500:
            raise _ServerFailedError(problem)
        if response.status >= 300:
            raise StoppedError(f"{self._title}: {problem}")
        try:
            return json.loads(text) if text else None
        except ValueError:
            return text

    def _check_model(self) -> None:
        """Check the model of a server that was not started here, if its requests name none and its own weights are used.

        Raises:
            StoppedError: it serves another model.
        """
        if self._protocol.model_path is None or self._server.address is None or not self._keeps_weights:
            return
        stated = asyncio.run(_get(self._address + self._protocol.model_path))
        model = None if stated is None else json.loads(stated)["model_path"]
        if model is not None and not _is_same(model, self._options.model):
            raise StoppedError(f"{self._title} serves {model}, not {self._options.model}; start it with that model")

    def _check_version(self, served: ServedTokens) -> None:
        if self._weights is None or self._weights.are_adapters:  # whose name holds their version
            wanted, known = "the weights that it was started with", served.versions <= {INITIAL_VERSION}
        else:
            version = self._weights.version
            wanted, known = f"the policy's weights ({version})", served.versions == {version}
        if not known:
            found = ", ".join(sorted(served.versions)) or "weights without a name"
            raise StoppedError(
                f"{self._title} generated with {found}, not with {wanted}; give each run its own server, of a version that "
                "states the weights of its answers (vllm 0.33, sglang 0.5.10)"
            )

    def _restart(self, error: "_ServerFailedError", failures: int) -> None:
        """Restart a server that died, or wait for one that was not started here.

        Raises:
            StoppedError: it has died too often.
        """
        if failures == MAX_FAILURES:
            raise StoppedError(f"{self._title} failed {failures} times in a row: {error}") from None
        self._end()
        self._start()
        self._is_asleep = self._is_loaded = False

    def _start(self) -> None:
        """Start the server, unless it was given by its address, and wait until it is ready."""
        if self._server.address is None:
            check_installed(self._protocol)
            command = self._protocol.command(self._options)
            with self._log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", guard.__file__, *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self._protocol.environment},
                )
        end = time.monotonic() + self._server.start_seconds
        while not _is_ready(self._address, self._protocol):
            if self._process is not None and self._process.poll() is not None:
                raise BadInputError(
                    f"{self._title} ended while it started (exit code {self._process.returncode}): {self._log_tail()}"
                )
            if time.monotonic() > end:
                raise StoppedError(
                    f"{self._title} does not answer within generation.server.start_seconds "
                    f"({self._server.start_seconds:g}); raise it if the server starts slowly"
                )
            time.sleep(_POLL_SECONDS)

    def _end(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()  # its guard ends it
            self._process.wait()
            self._process = None

    @property
    def _log_path(self) -> Path:
        return self._folder / "server.log"

    def _log_tail(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return _quoted(" ".join(it for it in lines if it.strip())[-_QUOTED:]) or "no output"


def open_server(
    settings: GenerationSettings,
    *,
    model: str,
    longest: int,
    precision: Literal["float32", "bfloat16"],
    seed: int = 0,
    adapter_rank: int | None = None,
    trust_remote_code: bool = False,
) -> AbstractContextManager[EngineServer | None]:
    """The server for the engines vllm and sglang, as a context manager that yields None for other engines.

    Args:
        settings: Generation settings.
        model: Folder or hub id; for a folder of adapters the server starts with their base model.
        longest: Maximum length of prompt and response together, in tokens.
        precision: Precision of the weights.
        seed: The server's own random seed.
        adapter_rank: Rank of the adapters that it will receive; None: whole weights, or only those it starts with.
        trust_remote_code: Whether code in the model's folder may run.

    Raises:
        BadInputError: the server is not installed, or would need adapters on adapters; on entering, it ends at its start.
        StoppedError: on entering, it does not answer.
    """
    if settings.engine not in SERVED:
        return nullcontext()
    if adapter_rank is not None and holds_adapters(model):
        raise BadInputError(
            f"{model}: holds adapters, and generation.engine: {settings.engine} cannot write with adapters on adapters; "
            "merge them into their model first, or use engine: own"
        )
    base = model_below(model)
    options = LaunchOptions(
        model=str(Path(base).resolve()) if Path(base).exists() else base,
        port=_free_port(),
        precision=precision,
        seed=seed,
        longest=longest,
        rows=settings.batch,
        memory=settings.server.memory,
        tensor_parallel=settings.server.tensor_parallel,
        adapter_rank=adapter_rank,
        can_sleep=settings.server.sleep,
        trust_remote_code=trust_remote_code,
        arguments=settings.server.arguments,
    )
    return EngineServer(settings, options)


def check_server(settings: GenerationSettings) -> None:
    """Check, without starting anything, that the server of the engines vllm and sglang is installed, or answers.

    Raises:
        BadInputError: it is not installed, or nothing answers at `generation.server.address`.
    """
    if settings.engine not in SERVED:
        return
    protocol, address = PROTOCOLS[settings.engine](), settings.server.address
    if address is None:
        check_installed(protocol)
    elif not _is_ready(address.rstrip("/"), protocol):
        raise BadInputError(
            f"generation.server.address (--engine-address): no {protocol.name} server answers at {address}; start it first"
        )


def check_installed(protocol: ServerProtocol) -> None:
    """Check that the command of a server is there.

    Raises:
        BadInputError: it is not.
    """
    if shutil.which(protocol.name) is None:
        raise BadInputError(
            f"generation.engine: {protocol.name}: there is no command {protocol.name!r} here; "
            f"{protocol.installation}, or name a server in generation.server.address"
        )


async def _get(address: str) -> bytes | None:
    """The body at an address; None unless it answers with HTTP 200."""
    from aiohttp import ClientError, ClientTimeout

    try:
        async with _session() as session, session.get(address, timeout=ClientTimeout(total=10)) as response:
            return await response.read() if response.status == 200 else None
    except (ClientError, OSError, TimeoutError):
        return None


def _is_ready(address: str, protocol: ServerProtocol) -> bool:
    return asyncio.run(_get(address + protocol.health_path)) is not None


def _is_same(model: str, other: str) -> bool:
    """Whether two names are one model: equal, or of one folder."""
    return model == other or (Path(model).exists() and Path(other).exists() and Path(model).samefile(other))


class _ServerFailedError(Exception):
    """The server broke a connection or failed inside; the message says how."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _session() -> "ClientSession":
    """A session without limits on connections and time, because all responses are requested at once and may be long."""
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    return ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None, sock_connect=30))


def _completion(served: ServedTokens, stops: Stops) -> Completion:
    """A response, cut where the other engines would have ended it."""
    tokens = torch.tensor(served.tokens, dtype=torch.int64)
    log_probs = torch.tensor(served.log_probs, dtype=torch.float32)
    end = stops.find_end(tokens)
    is_stopped = end < len(tokens) or (end > 0 and stops.may_end(served.tokens[-1]) and stops.are_reached(tokens))
    return Completion(tokens[:end], log_probs[:end], "stop" if is_stopped else "length")


def _seed_of(seed: int, step: int, row: int) -> int:
    return int(np.random.SeedSequence([seed, step % 2**32, row]).generate_state(1)[0])


def _quoted(text: str) -> str:
    return " ".join(text.split())[:_QUOTED]
