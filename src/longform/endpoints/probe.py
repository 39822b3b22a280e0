"""Looks a model up in its endpoint's list of models, without a paid call.

The list says that the endpoint is reachable, whether it has the model, and often the model's context length.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from longform.endpoints.failures import quote
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import read_json
from longform.endpoints.transport import MAX_BYTES, BadBodyError, RedirectError, Transport
from longform.records.errors import BadInputError

_LONGEST_LIST = 16 * MAX_BYTES
"""Bytes of a list of models; a router describes hundreds of them at length."""
_PATIENCE_SECONDS = 10.0
_CONTEXT_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")


class ListedModel(NamedTuple):
    """The entry of a model in an endpoint's list of models."""

    is_listed: bool
    """False if the endpoint does not list models, or not this one."""
    context: int | None = None
    """Context length in tokens, if it is stated."""
    others: tuple[str, ...] = ()
    """Models that the endpoint lists without this one. It may answer all the same: to an alias (Anthropic), to any name
    (llama.cpp), or as a deployment (Azure)."""

    @property
    def text(self) -> str:
        """In a few words."""
        if self.others:
            return f"is there, and lists other models ({quote(', '.join(self.others))})"
        if not self.is_listed:
            return "is there, and does not list its models"
        return "is there, and knows its model" + (f" (context {self.context:,})" if self.context else "")


async def find_listed(name: str, spec: ModelSpec) -> ListedModel:
    """Look a model up in its endpoint's list of models.

    Args:
        name: in models.yaml.
        spec: its entry there.

    Raises:
        BadInputError: the endpoint cannot be reached, or refuses the key.
    """
    import asyncio

    from aiohttp import ClientError

    where = f"endpoint {name} at {spec.address}"
    transport = Transport(spec, key=spec.read_key(name), headers=spec.read_headers(name))
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answer = await transport.get("/models", limit=_LONGEST_LIST)
    except (ClientError, OSError, TimeoutError, ValueError):
        raise BadInputError(f"{where} cannot be reached; is it running?") from None
    except RedirectError as error:
        raise BadInputError(f"{where} redirects to {quote(error)}; write the right address into `base_url`") from None
    except BadBodyError:
        return ListedModel(is_listed=False)
    finally:
        await transport.close()
    if answer.status in (401, 403):
        raise BadInputError(f"{where} refuses its key (HTTP {answer.status})")
    listed = _models(read_json(answer.body)) if answer.is_success else {}
    if not listed:
        return ListedModel(is_listed=False)
    found = next((listed[it] for it in _spellings(spec.model) if it in listed), None)
    if found is None:
        return ListedModel(is_listed=False, others=tuple(sorted(listed)[:8]))
    return ListedModel(is_listed=True, context=_context(found))


def _spellings(model: str) -> tuple[str, ...]:
    """How a list may name a model: Gemini's with a prefix, Ollama's with a tag, OpenRouter's without a variant."""
    return model, f"models/{model}", f"{model}:latest", model.rpartition(":")[0]


def _models(content: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a list of models, by id."""
    entries = content.get("data") if isinstance(content, Mapping) else content
    if not isinstance(entries, list):
        return {}
    return {it["id"]: it for it in entries if isinstance(it, Mapping) and isinstance(it.get("id"), str)}


def _context(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    for place in (entry, meta if isinstance(meta, Mapping) else {}):
        for key in _CONTEXT_KEYS:
            value = place.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
                return value
    return None
