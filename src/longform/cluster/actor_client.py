"""Client of the run actor: starts it, finds it by name, and sends judge calls through it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from longform.cluster.run_actor import CallFailure, RunActor
from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec
from longform.records.calls import ChatAnswer, MemoryCallLog
from longform.records.errors import BadInputError, StoppedError

NAMESPACE = "longform"
MAX_PENDING_CALLS = 100_000
"""Pending calls of the actor; its endpoints limit how many are in flight."""


def start_actor(name: str, *, node_id: str | None = None) -> Any:
    """Start the actor of the run `name` on a node, by default this one."""
    here = node_id or ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(node_id=here, soft=False)
    return (
        ray.remote(RunActor)
        .options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=0,
            max_concurrency=MAX_PENDING_CALLS,
            scheduling_strategy=strategy,
        )
        .remote()
    )


def find_actor(name: str) -> Any:
    """The actor of the run `name`, from any process of the cluster.

    Raises:
        ValueError: it is not running.
    """
    return ray.get_actor(name, namespace=NAMESPACE)


def ask(answer: Any) -> Any:
    """Wait for a result of the actor.

    Raises:
        StoppedError: the run has to stop; it can be resumed.
        BadInputError: the run has to stop because of a configuration error.
    """
    found = ray.get(answer)
    if isinstance(found, CallFailure):
        raise (BadInputError if found.needs_fix else StoppedError)(found.message)
    return found


class RemoteEndpoint(Endpoint):
    """The endpoint of a reward worker: the run actor makes its calls.

    Args:
        name: in models.yaml.
        spec: its entry there.
        actor: of the run.
    """

    def __init__(self, name: str, spec: ModelSpec, actor: Any) -> None:
        super().__init__(name, spec, call_log=MemoryCallLog())
        self._actor = actor

    async def chat(self, messages: Iterable[Mapping[str, str]], **settings: Any) -> ChatAnswer:
        """See `Endpoint.chat`; the actor applies limits and retries, finds recorded answers and counts cost."""
        return await self._wait(self._actor.chat.remote(self.name, [dict(it) for it in messages], settings))

    async def score(self, ids: Sequence[int]) -> ChatAnswer:
        """See `Endpoint.score`."""
        return await self._wait(self._actor.score.remote(self.name, list(ids)))

    @staticmethod
    async def _wait(answer: Any) -> ChatAnswer:
        found = await asyncio.wrap_future(answer.future())
        if not isinstance(found, CallFailure):
            return found
        if found.cause is not None:
            raise EndpointError(found.cause, found.message, request_hash=found.request_hash)
        raise (BadInputError if found.needs_fix else StoppedError)(found.message)
