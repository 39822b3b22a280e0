"""Checks without a paid call that an endpoint is reachable and has its model."""

from longform.endpoints.connection import open_client
from longform.endpoints.models import ModelSpec
from longform.records.errors import BadInputError

_PATIENCE_SECONDS = 10.0


async def probe(name: str, spec: ModelSpec) -> str:
    """Request the list of models of an endpoint; returns the result in a few words.

    Args:
        name: in models.yaml.
        spec: its entry there.

    Raises:
        BadInputError: the endpoint cannot be reached, refuses the key, or does not list the model.
    """
    from aiohttp import ClientError
    from openai import APIConnectionError, APIStatusError, OpenAIError

    where = f"endpoint {name} at {spec.address}"
    key = spec.read_key(name)
    async with open_client(spec, key=key, timeout=_PATIENCE_SECONDS) as client:
        try:
            known = [model.id async for model in client.models.list()]
        except (APIConnectionError, ClientError):
            raise BadInputError(f"{where} cannot be reached; is it running?") from None
        except APIStatusError as error:
            if error.status_code in (401, 403):
                raise BadInputError(f"{where} refuses its key (HTTP {error.status_code})") from None
            return "is there, and does not list its models"
        except (OpenAIError, AttributeError, TypeError, ValueError):  # an answer that is not a list of models
            return "is there, and does not list its models"
    if known and spec.model not in known:
        raise BadInputError(f"{where} knows no model {spec.model!r}; it has {', '.join(sorted(known)[:8])}")
    return f"is there, and knows {spec.model}"
