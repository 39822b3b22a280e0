"""models.yaml: the endpoints behind the model names of recipes and commands.

The file holds no API keys: `key_env` names an environment variable, which is read when a call is made.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from longform.records.errors import BadInputError
from longform.records.files import describe_first_error
from longform.records.yaml_files import read_yaml


class Prices(BaseModel):
    """Prices per million tokens, in the currency of budgets and reports."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)

    def cost(self, *, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of a call."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1_000_000


class ModelSpec(BaseModel):
    """One model behind an OpenAI-compatible endpoint, with its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str
    """Address including the version, such as http://localhost:8000/v1."""
    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable of the API key; none for an endpoint without keys."""
    prices: Prices | None = None
    rpm: float | None = Field(default=None, ge=1)
    """Maximum requests per minute."""
    tpm: float | None = Field(default=None, ge=1)
    """Maximum tokens per minute, counted as estimated prompt plus `max_tokens`."""
    context: int | None = Field(default=None, ge=1)
    """Context length in tokens, prompt and answer together."""
    concurrency: int = Field(default=16, ge=1)
    """Maximum requests in flight."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Time-out of one attempt, from the connection to the last byte."""
    retries: int = Field(default=4, ge=0)
    """Retries after transient failures. Attempts during a tolerated outage are not counted."""
    template: Path | None = None
    """File with the prompt template that a judge was tuned on, for `longform bench`; relative to models.yaml."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("needs an address such as http://localhost:8000/v1")
        return url.rstrip("/")

    @property
    def address(self) -> str:
        """`base_url` for display, without user, password and query."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine and must be reached without a proxy."""
        return urlsplit(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")

    def read_key(self, name: str) -> str | None:
        """The key from the environment.

        Raises:
            BadInputError: the variable is missing, empty, or cannot be sent in a header; names endpoint and variable.
        """
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise BadInputError(f"endpoint {name}: the environment variable {self.key_env} for its key is not set")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise BadInputError(f"endpoint {name}: the environment variable {self.key_env} does not hold a valid key")
        return key


def read_models(path: str | Path) -> dict[str, ModelSpec]:
    """The models of a models.yaml, by name.

    Raises:
        BadInputError: one line naming file and field; unknown keys with the nearest known one.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise BadInputError(f"{path}: defines no models; expected `NAME: {{base_url: ..., model: ...}}`")
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
    try:
        spec = ModelSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "extra_forbidden":
            *section, unknown = map(str, first["loc"])
            known = list((Prices if section == ["prices"] else ModelSpec).model_fields)
            near = get_close_matches(unknown, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            field = ".".join([name, *section, unknown])
            raise BadInputError(f"{path}: {field}: unknown key; {hint}") from None
        raise BadInputError(f"{path}: {name}.{describe_first_error(error)}") from None
    return spec if spec.template is None else spec.model_copy(update={"template": Path(path).parent / spec.template})
