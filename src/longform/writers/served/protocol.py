"""The interface to a generation server, the same for vLLM and SGLang: requests as data, and answers read into tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops


class Weights(NamedTuple):
    """Weights for a server to generate with."""

    version: str
    """Identifies them in the server's answers."""
    folder: Path
    """A folder in Hugging Face format; for adapters in peft's format."""
    are_adapters: bool

    @property
    def adapter(self) -> str | None:
        """The name of adapters on the server; None for whole weights.

        The name contains the version, so a server with other adapters refuses the request.
        """
        return f"policy-{self.version}" if self.are_adapters else None


class CompletionRequest(NamedTuple):
    """The inputs of one response."""

    prompt: Sequence[int]
    """Token ids."""
    model: str
    """The model that the server was started with."""
    weights: Weights | None
    """None: the weights that the server was started with."""
    settings: GenerationSettings
    stops: Stops
    seed: int
    """Random seed of the sampling."""


class ServerRequest(NamedTuple):
    """One POST to a server."""

    path: str
    body: Mapping[str, Any] | None = None
    """JSON body; None: no body."""
    query: Mapping[str, str] = {}


class ServedTokens(NamedTuple):
    """A response from a server."""

    tokens: list[int]
    log_probs: list[float]
    """Log-probabilities of the tokens, under the distribution that they were sampled from."""
    versions: frozenset[str]
    """Versions of the weights that generated it, as the server states them; for adapters their name is checked instead."""


class LaunchOptions(NamedTuple):
    """How a server is started."""

    model: str
    """Folder or hub id."""
    port: int
    precision: Literal["float32", "bfloat16"]
    seed: int
    longest: int
    """Maximum length of prompt and response together, in tokens."""
    rows: int
    """Maximum number of responses generated at once."""
    memory: float
    """Fraction of the GPU's memory to use."""
    tensor_parallel: int
    """Number of GPUs per copy of the model."""
    adapter_rank: int | None
    """Rank of the adapters that it will receive; None: whole weights, or only those it starts with."""
    can_sleep: bool
    """Whether it frees its memory during updates."""
    trust_remote_code: bool
    arguments: Sequence[str]
    """Further command-line arguments."""


class UnreadableAnswerError(Exception):
    """An answer that does not follow the server's protocol; the message says what is missing."""


class ServerProtocol(Protocol):
    """The requests and answers of one kind of server; `health_path` answers 200 once it can write."""

    name: str
    """The value of `generation.engine`, and the name of the command."""
    health_path: str
    model_path: str | None
    """Route that states the `model_path` of the served model; None if each request names its model."""
    environment: Mapping[str, str]
    """Environment variables of the process."""
    installation: str
    """How to install it, for the error if the command is missing."""

    def command(self, options: LaunchOptions) -> list[str]:
        """The command that starts the server on loopback."""
        ...

    def completion(self, wanted: CompletionRequest) -> ServerRequest:
        """A request for one response. It states every sampling parameter, so that no default of the model applies."""
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
        """The requests that free its GPU memory until it wakes; with `keep_weights` it keeps its weights."""
        ...

    def wake_if_asleep(self) -> list[ServerRequest]:
        """The requests that wake a server which a killed run may have left asleep."""
        ...

    def wake(self, *, keep_weights: bool) -> list[ServerRequest]:
        """The requests after which a sleeping server can load weights and generate again."""
        ...
