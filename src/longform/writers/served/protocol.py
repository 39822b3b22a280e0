"""What longform asks of a generation server, whatever its brand: requests as data, and answers read into tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops


class Weights(NamedTuple):
    """Weights that a server is to write with."""

    version: str
    """Hash of their files."""
    folder: Path
    """In Hugging Face's format; for adapters in peft's."""
    are_adapters: bool

    @property
    def adapter(self) -> str | None:
        """The name under which a server knows them, if they are adapters. It holds their version, so a server that has
        other ones refuses the request.
        """
        return f"policy-{self.version}" if self.are_adapters else None


class WantedResponse(NamedTuple):
    """What a response is written from."""

    prompt: Sequence[int]
    """Token ids."""
    model: str
    """That the server was started with."""
    weights: Weights | None
    """None: those it was started with."""
    settings: GenerationSettings
    stops: Stops
    seed: int
    """Of its draws."""


class ServerRequest(NamedTuple):
    """One POST to a server."""

    path: str
    body: Mapping[str, Any] | None = None
    """Sent as JSON; None: no body."""
    query: Mapping[str, str] = {}


class ServedTokens(NamedTuple):
    """A response as a server gives it."""

    tokens: list[int]
    log_probs: list[float]
    """Of the tokens, under the distribution that they were drawn from."""
    versions: frozenset[str]
    """Of the weights that wrote it, where the server says so; for adapters their name says it."""


class LaunchOptions(NamedTuple):
    """How a server is started."""

    model: str
    """Folder or hub id."""
    port: int
    precision: Literal["float32", "bfloat16"]
    seed: int
    longest: int
    """Prompt and response together, in tokens."""
    rows: int
    """Written at once."""
    memory: float
    """Fraction of the GPU."""
    tensor_parallel: int
    adapter_rank: int | None
    """None: it gets whole weights, or keeps those it starts with."""
    can_sleep: bool
    trust_remote_code: bool
    arguments: Sequence[str]
    """Further ones."""


class UnreadableAnswerError(Exception):
    """An answer that is not of the server's protocol; the message says what is missing."""


class ServerProtocol(Protocol):
    """The requests and answers of one kind of server; `path_of_health` answers 200 once it can write."""

    name: str
    """As in `generation.engine`; also of its command."""
    path_of_health: str
    environment: Mapping[str, str]
    """Of the process."""
    installation: str
    """What to do where the command is missing."""

    def command(self, options: LaunchOptions) -> list[str]:
        """The command that starts the server on loopback."""
        ...

    def completion(self, wanted: WantedResponse) -> ServerRequest:
        """A request for one response. How it is sampled is stated whole, so that no default of the model decides."""
        ...

    def read(self, answer: Any) -> ServedTokens:
        """Read the answer to such a request.

        Raises:
            UnreadableAnswerError: it lacks tokens or their log-probabilities.
        """
        ...

    def load(self, weights: Weights) -> list[ServerRequest]:
        """The requests that make a server take weights, in order."""
        ...

    def unload(self, weights: Weights) -> list[ServerRequest]:
        """The requests that make it forget adapters."""
        ...

    def sleep(self, *, keep_weights: bool) -> list[ServerRequest]:
        """The requests that free its memory until it wakes; weights that are not delivered again are kept elsewhere."""
        ...

    def wake_if_asleep(self) -> list[ServerRequest]:
        """The requests that wake a server that may be asleep, from a run that was killed, or awake."""
        ...

    def wake(self, *, keep_weights: bool) -> list[ServerRequest]:
        """The requests after which it can take weights and write again."""
        ...
