"""The async client of an endpoint: limits, retries, time-outs, recorded answers and cost.

The SDK only transports requests, with its own retries off. Connections, limiters and requests in flight belong to an event
loop and are kept per loop, so one endpoint serves the main thread and a judge thread.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from longform.endpoints.connection import open_client
from longform.endpoints.errors import TRANSIENT, EndpointError
from longform.endpoints.limits import PATIENCE_SECONDS, Budget, OutageTracker, wait_seconds
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Outcome, read_answer, read_connection_failure, read_score, read_status
from longform.endpoints.request import ChatRequest, Request, ScoreRequest, clean_messages
from longform.records.calls import CallLog, CallRecord, ChatAnswer
from longform.records.errors import BadInputError

if TYPE_CHECKING:
    from openai import AsyncOpenAI


START_SPACING_SECONDS = 0.001
"""Minimum time between the starts of two requests. Requests that start together are answered together, and then compete for
the processor in every round; spaced out, one is processed while the others wait for the server."""


@dataclass(slots=True)
class _Flight:
    """A request in flight, with the number of its callers."""

    task: asyncio.Task[ChatAnswer]
    waiting: int = 0


@dataclass(slots=True)
class _Lane:
    """The state of an endpoint for one event loop."""

    client: "AsyncOpenAI"
    key: str | None = field(repr=False)
    slots: asyncio.Semaphore
    requests: AsyncLimiter | None
    tokens: AsyncLimiter | None
    flights: dict[str, _Flight] = field(default_factory=dict)
    next_start: float = 0.0
    """By the clock of the loop."""

    async def admit(self, request: Request) -> None:
        """Wait until the rate limits admit the request. Its tokens are counted only if there is a limit on tokens."""
        if self.requests is not None:
            await self.requests.acquire()
        if self.tokens is not None:
            await self.tokens.acquire(min(request.tokens, self.tokens.max_rate))
        now = asyncio.get_running_loop().time()
        start = max(now, self.next_start)
        self.next_start = start + START_SPACING_SECONDS
        if start > now:
            await asyncio.sleep(start - now)


class Endpoint:
    """A model behind an OpenAI-compatible endpoint. `async with` or `close` closes its connections.

    Args:
        name: its name in models.yaml, for errors and records.
        spec: its entry there.
        call_log: records every attempt and holds known answers.
        budget: counts the cost of calls, and stops before a call once its limit is reached.
        backoff_seconds: wait before the second attempt; doubled for each further one, with jitter.
        patience_seconds: longest tolerated outage of an endpoint that has answered before.
    """

    def __init__(
        self,
        name: str,
        spec: ModelSpec,
        *,
        call_log: CallLog,
        budget: Budget | None = None,
        backoff_seconds: float = 0.5,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.name = name
        self.spec = spec
        self._call_log = call_log
        self._budget = budget or Budget()
        self._backoff_seconds = backoff_seconds
        self._outage = OutageTracker(patience_seconds)
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        self._proven = False
        self._is_on_record = False
        """Whether an answer of it was found in the log: it accepts such requests, although it may be down now."""

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.spec.model!r} at {self.spec.address})"

    async def __aenter__(self) -> "Endpoint":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections of the running event loop; the endpoint can be used again afterwards."""
        lane = self._lanes.pop(asyncio.get_running_loop(), None)
        if lane is not None:
            await lane.client.close()

    async def chat(
        self,
        messages: Iterable[Mapping[str, str]],
        *,
        temperature: float,
        max_tokens: int,
        top_p: float = 1.0,
        sample: int = 0,
        attempt: int = 0,
    ) -> ChatAnswer:
        """The model's answer, from the log if it is recorded; equal requests in flight share one call.

        Args:
            messages: the conversation, as dictionaries with `role` and `content`.
            temperature: of sampling.
            max_tokens: maximum length of the answer.
            top_p: of nucleus sampling.
            sample: distinguishes several answers to the same request.
            attempt: distinguishes repeats after an unusable answer.

        Raises:
            EndpointError: no answer after all attempts; see its `cause`.
            BadInputError: a configuration error (key, model, address).
            StoppedError: the budget is spent, the account is out of credit, or the log cannot be written.
        """
        request = ChatRequest(
            self.spec.base_url,
            self.spec.model,
            clean_messages(messages),
            temperature,
            max_tokens,
            top_p,
            sample,
            attempt,
        )
        return await self._ask(request)

    async def score(self, ids: Sequence[int]) -> ChatAnswer:
        """The score of a text by a served reward model, from the log if it is recorded.

        Args:
            ids: the text in tokens.

        Returns:
            The raw score, as the text of the answer.

        Raises:
            EndpointError, BadInputError, StoppedError: as `chat`.
        """
        return await self._ask(ScoreRequest(self.spec.base_url, self.spec.model, tuple(ids)))

    async def _ask(self, request: Request) -> ChatAnswer:
        known = self._call_log.find(request.hash)
        if known is None:
            return await self._join_flight(request)
        self._is_on_record = True
        return known

    async def _join_flight(self, request: Request) -> ChatAnswer:
        """Wait for the request in flight, or start it; it is cancelled with its last caller."""
        lane = self._lane()
        flight = lane.flights.get(request.hash)
        starts = flight is None
        if flight is None:
            flight = lane.flights[request.hash] = _Flight(asyncio.ensure_future(self._answer(lane, request)))
        flight.waiting += 1
        try:
            answer = await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()
                del lane.flights[request.hash]
        return answer if starts else replace(answer, cached=True)

    async def _answer(self, lane: _Lane, request: Request) -> ChatAnswer:
        """Retry until there is an answer, a permanent failure, or no attempt left.

        During a tolerated outage attempts are not counted.

        A request keeps its slot while it waits, so an overloaded endpoint gets fewer requests, not more.
        """
        outcome, retries_left = Outcome(), self.spec.retries
        async with lane.slots:
            for attempt in count(1):
                self._budget.check()
                await lane.admit(request)
                outcome, answer = await self._try(lane, request, attempt)
                if answer is not None:
                    return answer
                if outcome.fatal is not None:
                    raise outcome.fatal
                is_waited_for = self._proven and self._outage.is_tolerated(now=time.monotonic())
                retries_left -= not is_waited_for
                if retries_left < 0 or outcome.cause not in TRANSIENT or outcome.finish_reason == "length":
                    break
                await asyncio.sleep(wait_seconds(outcome, attempt=attempt, first=self._backoff_seconds))
        raise self._failure(request, outcome)

    async def _try(self, lane: _Lane, request: Request, attempt: int) -> tuple[Outcome, ChatAnswer | None]:
        """One HTTP request, recorded and added to the cost."""
        started = time.perf_counter()
        outcome = await self._send(lane, request)
        self._outage.record(outcome, now=time.monotonic())
        cost = outcome.cost(self.spec)
        self._call_log.record(
            CallRecord(
                request_hash=request.hash,
                attempt=attempt,
                endpoint=self.name,
                model=self.spec.model,
                outcome="fatal" if outcome.fatal else outcome.cause or "ok",
                prompt_tokens=outcome.prompt_tokens,
                completion_tokens=outcome.completion_tokens,
                cost=cost,
                latency_seconds=time.perf_counter() - started,
                text=outcome.text,
                finish_reason=outcome.finish_reason,
            )
        )
        self._budget.add(cost)
        if outcome.cause or outcome.fatal:
            return outcome, None
        self._proven = True
        return outcome, ChatAnswer(
            text=outcome.text,
            finish_reason=outcome.finish_reason,
            prompt_tokens=outcome.prompt_tokens,
            completion_tokens=outcome.completion_tokens,
            cost=cost,
            cached=False,
            request_hash=request.hash,
        )

    async def _send(self, lane: _Lane, request: Request) -> Outcome:
        import httpx2
        from aiohttp import ClientError
        from openai import APIStatusError, OpenAIError

        try:
            async with asyncio.timeout(self.spec.timeout_seconds):
                response = await lane.client.post(request.path, cast_to=httpx2.Response, body=request.parameters)
                return read_score(response.text) if isinstance(request, ScoreRequest) else read_answer(response.text)
        except TimeoutError:
            return Outcome("timeout", f"no answer in {self.spec.timeout_seconds:g} s")
        except APIStatusError as error:
            proven = self._proven or self._is_on_record
            wants_score = isinstance(request, ScoreRequest)
            return read_status(
                error, name=self.name, spec=self.spec, proven=proven, key=lane.key, wants_score=wants_score
            )
        except (OpenAIError, ClientError, ValueError) as error:  # aiohttp's own, for an answer that is not HTTP
            return read_connection_failure(error)

    def _failure(self, request: Request, outcome: Outcome) -> Exception:
        where = f"endpoint {self.name} at {self.spec.address}"
        if outcome.cause == "connection" and not self._proven:
            return BadInputError(f"{where} cannot be reached: {outcome.message}; is it running?")
        assert outcome.cause is not None
        return EndpointError(outcome.cause, f"{where} gave no answer: {outcome.message}", request_hash=request.hash)

    def _lane(self) -> _Lane:
        loop = asyncio.get_running_loop()
        if loop not in self._lanes:
            self._lanes = {known: lane for known, lane in self._lanes.items() if not known.is_closed()}
            self._lanes[loop] = self._open_lane()
        return self._lanes[loop]

    def _open_lane(self) -> _Lane:
        key = self.spec.read_key(self.name)
        return _Lane(
            client=open_client(self.spec, key=key),
            key=key,
            slots=asyncio.Semaphore(self.spec.concurrency),
            requests=None if self.spec.rpm is None else AsyncLimiter(self.spec.rpm, 60),
            tokens=None if self.spec.tpm is None else AsyncLimiter(self.spec.tpm, 60),
        )
