"""models.yaml: the endpoints behind the model names of recipes and commands.

The file holds no API keys: `key_env` and `headers: {NAME: {env: VARIABLE}}` name environment variables, which are read when
a call is made.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, ValidationInfo, field_validator

from longform.records.errors import BadInputError
from longform.records.files import describe_first_error
from longform.records.resume import hash_file
from longform.records.yaml_files import read_yaml
from longform.wording import VERSIONS

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""
TokenParameter = Literal["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"]

MIN_TIMEOUT_SECONDS = 120.0
_SECONDS_PER_TOKEN = 0.1
"""Basis of the default time-out: a server under load may generate only ten tokens a second."""
_NEARLY = {
    "url": "base_url",
    "api_base": "base_url",
    "endpoint": "base_url",
    "name": "model",
    "model_name": "model",
    "deployment": "model",
    "api_key": "key_env",
    "api_key_env": "key_env",
    "key": "key_env",
    "extra_body": "body",
    "extra_headers": "headers",
    "extra_query": "query",
    "timeout": "timeout_seconds",
    "max_completion_tokens": "max_tokens",
    "input": "prompt",
    "output": "completion",
    "cached_input": "cached",
}
"""Keys of other tools, and their names here."""


class Prices(BaseModel):
    """Prices per million tokens, in the currency of budgets and reports."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
    prompt: float = Field(ge=0)
    """Of the prompt's tokens."""
    completion: float = Field(ge=0)
    """Of the answer's tokens, thoughts included."""
    cached: float | None = Field(default=None, ge=0)
    """Of the prompt's tokens that the endpoint had in its cache; by default that of the others."""

    def cost(self, *, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """The cost of a call; `cached_tokens` of the prompt's are billed at `cached`."""
        cached = min(cached_tokens, prompt_tokens) if self.cached is not None else 0
        full = self.prompt * (prompt_tokens - cached) + self.completion * completion_tokens
        return (full + (self.cached or 0.0) * cached) / 1_000_000


class HeaderValue(BaseModel):
    """A header's value that is read from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    env: VariableName
    """Environment variable that holds the value."""


class ModelSpec(BaseModel):
    """One model behind an OpenAI-compatible endpoint, with its parameters and limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    base_url: str
    """Address including the version, such as http://localhost:8000/v1."""
    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    key_env: VariableName | None = None
    """Environment variable of the API key; none for an endpoint without keys."""
    auth: str = Field(default="bearer", pattern=r"^[A-Za-z0-9-]+$")
    """How the key is sent: `bearer`, the name of a header such as `api-key`, or `none`."""
    headers: dict[str, str | HeaderValue] = Field(default_factory=dict)
    """Further headers; a value is a text, or `{env: VARIABLE}`."""
    query: dict[str, str | int] = Field(default_factory=dict)
    """Parameters of the address, such as Azure's `api-version`."""
    body: dict[str, JsonValue] = Field(default_factory=dict)
    """Merged into every request, such as `{reasoning_effort: low}`; null leaves a parameter out."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens, thoughts included; by default what the use needs for its text alone."""
    temperature: float | None = Field(default=None, ge=0)
    """Of sampling, in place of the use's own; `null` leaves it out of requests."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Of nucleus sampling, in place of the use's own; `null` leaves it out of requests."""
    token_parameter: TokenParameter = "max_tokens"
    """The request's name for the longest answer."""
    stream: bool = False
    """Whether answers are streamed."""
    batch: bool = False
    """Whether requests go through the endpoint's batch API: half the price, answers within hours, and not for training."""
    structured: Literal["json_schema"] | None = None
    """`json_schema` if the endpoint constrains answers to a JSON schema."""
    system: str | None = None
    """System message of every question, in place of none."""
    prices: Prices | None = None
    """For budgets and reports."""
    rpm: float | None = Field(default=None, ge=1)
    """Maximum requests per minute."""
    tpm: float | None = Field(default=None, ge=1)
    """Maximum tokens per minute, counted as estimated prompt plus `max_tokens`."""
    context: int | None = Field(default=None, ge=1)
    """Context length in tokens, prompt and answer together; by default what the endpoint's list of models states."""
    concurrency: int = Field(default=16, ge=1)
    """Maximum requests in flight."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """Time-out of one attempt, from the connection to the last byte; by default a tenth of a second for each token of the
    longest answer, and at least 120 seconds."""
    retries: int = Field(default=4, ge=0)
    """Retries after transient failures. Attempts during a tolerated outage are not counted."""
    template: Path | dict[Literal["en", "zh"], Path] | None = None
    """File with the wording that a judge was tuned on, relative to models.yaml; or one file for each language."""
    wording: int | None = None
    """Version of longform's questions that a judge was trained on, as `longform judge-model` writes it; by default the
    newest, or that of the run."""
    verdict: Literal["text", "logprobs"] = "text"
    """How a pairwise judge decides: by `[[A]]` in its answer, or by the probabilities of A and B as its first token."""
    tie_band: float = Field(default=0.1, ge=0, lt=1)
    """With `logprobs`: the difference between the probabilities of A and B up to which the verdict is a tie."""

    @field_validator("wording")
    @classmethod
    def _check_wording(cls, version: int | None) -> int | None:
        if version is not None and version not in VERSIONS:
            raise ValueError(f"unknown version {version}; this longform has {', '.join(map(str, VERSIONS))}")
        return version

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("needs an address such as http://localhost:8000/v1")
        if parts.query or parts.fragment:
            raise ValueError("holds a query; write its parameters under `query`, as in {api-version: 2024-06-01}")
        return url.rstrip("/").removesuffix("/chat/completions")

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str | HeaderValue]) -> dict[str, str | HeaderValue]:
        for name, value in headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is not the name of a header")
            if isinstance(value, str) and not (value.isascii() and value.isprintable()):
                raise ValueError(f"the value of {name!r} cannot be sent in a header")
        return headers

    @field_validator("batch")
    @classmethod
    def _check_batch(cls, batch: bool, info: ValidationInfo) -> bool:
        if batch and info.data.get("stream"):
            raise ValueError("the answers of a batch are not streamed; leave out `stream`")
        return batch

    @field_validator("body")
    @classmethod
    def _check_body(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in ("messages", "n"):
            if name in body:
                raise ValueError(f"{name!r} is set by each question")
        for name, key in _BODY_KEYS.items():
            if name in body:
                raise ValueError(f"{name!r} has a key of its own: `{key}`")
        return body

    @property
    def address(self) -> str:
        """`base_url` for display, without user, password and query."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine and must be reached without a proxy."""
        return urlsplit(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")

    def is_set(self, key: str) -> bool:
        """Whether models.yaml states `key`, even as null."""
        return key in self.model_fields_set

    def longest_answer(self, default: int) -> int:
        """Tokens of the longest answer, thoughts included; `default` if models.yaml does not state it."""
        return self.max_tokens or default

    def timeout(self, max_tokens: int) -> float:
        """Seconds that an attempt may take, for an answer of up to `max_tokens`."""
        if self.timeout_seconds is not None:
            return self.timeout_seconds
        return max(MIN_TIMEOUT_SECONDS, float(ceil(_SECONDS_PER_TOKEN * max_tokens)))

    @property
    def settings_of_answers(self) -> dict[str, Any]:
        """Everything that decides what the model answers: its name, parameters and wording; not its address, its limits or
        how it is reached.

        Raises:
            BadInputError: the template cannot be read.
        """
        stated = self.model_dump(mode="json", include=_DECIDES, exclude_unset=True)
        files = [self.template] if isinstance(self.template, Path) else list((self.template or {}).values())
        try:
            templates = [hash_file(file) for file in files]
        except OSError as error:
            raise BadInputError(f"{error.filename}: the template cannot be read: {error.strerror}") from error
        return stated | ({"template_sha256": templates} if templates else {})

    def read_key(self, name: str) -> str | None:
        """The key from the environment.

        Raises:
            BadInputError: the variable is missing, empty, or cannot be sent in a header; names endpoint and variable.
        """
        if self.key_env is None:
            return None
        key = _read_variable(self.key_env, f"endpoint {name}", "its key")
        if " " in key:
            raise BadInputError(f"endpoint {name}: the environment variable {self.key_env} does not hold a valid key")
        return key

    def read_headers(self, name: str) -> dict[str, str]:
        """The headers with their values from the environment.

        Raises:
            BadInputError: a variable is missing, empty, or cannot be sent; names endpoint, header and variable.
        """
        return {
            header: value
            if isinstance(value, str)
            else _read_variable(value.env, f"endpoint {name}", f"the header {header}")
            for header, value in self.headers.items()
        }


_DECIDES = {
    *("model", "body", "max_tokens", "temperature", "top_p"),
    *("structured", "system", "wording", "verdict", "tie_band"),
}
"""Keys of models.yaml that decide what a model answers."""
_BODY_KEYS = {
    "model": "model",
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens` with `token_parameter: max_completion_tokens",
    "max_output_tokens": "max_tokens` with `token_parameter: max_output_tokens",
    "max_new_tokens": "max_tokens` with `token_parameter: max_new_tokens",
    "stream": "stream",
}
"""Request parameters that are not written under `body`."""


def _read_variable(variable: str, where: str, use: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise BadInputError(f"{where}: the environment variable {variable} for {use} is not set")
    if not (value.isascii() and value.isprintable()):
        raise BadInputError(f"{where}: the environment variable {variable} for {use} cannot be sent in a header")
    return value


def read_models(path: str | Path) -> dict[str, ModelSpec]:
    """The models of a models.yaml, by name.

    Raises:
        BadInputError: one line naming file and field; unknown keys with the nearest known one.
    """
    if not Path(path).exists():
        raise BadInputError(f"{path}: cannot be read: No such file or directory; `longform init` writes an example")
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise BadInputError(f"{path}: defines no models; expected `NAME: {{base_url: ..., model: ...}}`")
    if set(content) == {"models"} and isinstance(content["models"], dict) and "base_url" not in content["models"]:
        raise BadInputError(f"{path}: models: not needed; write the names of the models at the top of the file")
    return {str(name): _read_model(path, str(name), fields) for name, fields in content.items()}


def find_model(models: dict[str, ModelSpec], name: str, *, path: str | Path) -> ModelSpec:
    """The model called `name`.

    Raises:
        BadInputError: `path` has no such model; suggests the nearest name.
    """
    if name in models:
        return models[name]
    near = get_close_matches(name, models, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it defines {', '.join(models)}"
    raise BadInputError(f"{path}: has no model {name!r}; {hint}")


def _read_model(path: str | Path, name: str, fields: Any) -> ModelSpec:
    if isinstance(fields, Mapping):
        _check_keys(path, name, fields, ModelSpec)
        if isinstance(fields.get("prices"), Mapping):
            _check_keys(path, f"{name}.prices", fields["prices"], Prices)
    try:
        spec = ModelSpec.model_validate(fields)
    except ValidationError as error:
        raise BadInputError(f"{path}: {name}.{describe_first_error(error)}") from None
    folder = Path(path).parent
    if isinstance(spec.template, Path):
        return spec.model_copy(update={"template": folder / spec.template})
    if spec.template is not None:
        files = {language: folder / file for language, file in spec.template.items()}
        return spec.model_copy(update={"template": files})
    return spec


def _check_keys(path: str | Path, name: str, fields: Mapping[Any, Any], model: type[BaseModel]) -> None:
    """Refuse an unknown key before a missing one is reported: it is often the missing one under another name."""
    known = list(model.model_fields)
    for key in map(str, fields):
        if key not in known:
            renamed = _NEARLY.get(key)
            near = [renamed] if renamed in known else get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise BadInputError(f"{path}: {name}.{key}: unknown key; {hint}")
