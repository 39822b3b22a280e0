"""Asking a run's host for what only it may do: judge calls from reward workers, and everything else by its name."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from longform.cluster.run_host import NoAnswer, RunHost
from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec
from longform.records.calls import ChatAnswer, MemoryCallLog
from longform.records.errors import BadInputError, StoppedError

NAMESPACE = "longform"
MOST_QUESTIONS = 100_000
"""That may wait at the host at once; its endpoints say how many are under way."""


def start_host(name: str, *, node_id: str | None = None) -> Any:
    """The host of the run `name`, a new actor on a node; by default on this one."""
    here = node_id or ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(node_id=here, soft=False)
    return (
        ray.remote(RunHost)
        .options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=0,
            max_concurrency=MOST_QUESTIONS,
            scheduling_strategy=strategy,
        )
        .remote()
    )


def find_host(name: str) -> Any:
    """The host of the run `name`, from any process of the cluster.

    Raises:
        ValueError: it does not run.
    """
    return ray.get_actor(name, namespace=NAMESPACE)


def ask(answer: Any) -> Any:
    """Wait for an answer of the host.

    Raises:
        StoppedError: the run has to stop.
        BadInputError: something has to be mended first.
    """
    found = ray.get(answer)
    if isinstance(found, NoAnswer):
        raise (BadInputError if found.mends else StoppedError)(found.message)
    return found


class RelayedEndpoint(Endpoint):
    """An endpoint as a reward worker sees it: the host does the asking.

    Args:
        name: in models.yaml.
        spec: what the name means.
        host: of the run.
    """

    def __init__(self, name: str, spec: ModelSpec, host: Any) -> None:
        super().__init__(name, spec, call_log=MemoryCallLog())
        self._host = host

    async def chat(self, messages: Iterable[Mapping[str, str]], **settings: Any) -> ChatAnswer:
        """See `Endpoint.chat`; limits, retries, recorded answers and cost are the host's."""
        return await self._hear(self._host.chat.remote(self.name, [dict(it) for it in messages], settings))

    async def score(self, ids: Sequence[int]) -> ChatAnswer:
        """See `Endpoint.score`."""
        return await self._hear(self._host.score.remote(self.name, list(ids)))

    @staticmethod
    async def _hear(answer: Any) -> ChatAnswer:
        found = await asyncio.wrap_future(answer.future())
        if not isinstance(found, NoAnswer):
            return found
        if found.cause is not None:
            raise EndpointError(found.cause, found.message, request_hash=found.request_hash)
        raise (BadInputError if found.mends else StoppedError)(found.message)
