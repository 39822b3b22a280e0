"""The async client of an endpoint: limits, retries, time-outs, recorded answers and cost.

Connections, limiters and requests in flight belong to an event loop and are kept per loop, so one endpoint serves the main
thread and a judge thread.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from aiolimiter import AsyncLimiter

from longform.endpoints.batch import DISCOUNT, MAX_REQUESTS, POLL_SECONDS, Batcher
from longform.endpoints.errors import TRANSIENT, EndpointError
from longform.endpoints.exchange import redact, redact_error, secrets_of, send
from longform.endpoints.failures import AskedEndpoint
from longform.endpoints.limits import PATIENCE_SECONDS, Budget, FailureWatch, OutageTracker, wait_seconds
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Outcome
from longform.endpoints.probe import find_listed
from longform.endpoints.request import ChatRequest, Request, ScoreRequest, estimate_prompt_tokens
from longform.endpoints.transport import Transport
from longform.records.calls import CallLog, CallRecord, ChatAnswer, SqliteCallLog
from longform.records.errors import BadInputError, LongformError

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

    transport: Transport
    secrets: tuple[str, ...] = field(repr=False)
    """Key, password, and header values from the environment; no message or record may contain them."""
    slots: asyncio.Semaphore
    requests: AsyncLimiter | None
    tokens: AsyncLimiter | None
    batcher: Batcher | None = None
    """For an endpoint whose requests go through its batch API."""
    flights: dict[str, _Flight] = field(default_factory=dict)
    lookup: asyncio.Lock = field(default_factory=asyncio.Lock)
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
        stop_after: stop if this many first answers all failed for the same reason; None never stops.
        batch_poll_seconds: wait between two requests for the state of a batch.
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
        stop_after: int | None = None,
        batch_poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.name = name
        self.spec = spec
        self._call_log = call_log
        self._budget = budget or Budget()
        self._backoff_seconds = backoff_seconds
        self._patience_seconds = patience_seconds
        self._batch_poll_seconds = batch_poll_seconds
        self._outage = OutageTracker(patience_seconds)
        self.failures = FailureWatch(f"endpoint {name} at {spec.address}", stop_after)
        """Updated by the code that reads the answers."""
        self._listed_context: int | None = None
        self._is_looked_up = False
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        self._proven = False
        self._refused: set[str] = set()
        """Hashes of the requests that got an HTTP 400 before any answer."""
        self._is_on_record = False
        """Whether the log has an answer of it. Then it accepts such requests, even if it cannot be reached at the moment."""

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
            if lane.batcher is not None:
                await lane.batcher.close()
            await lane.transport.close()

    async def chat(
        self,
        messages: Iterable[Mapping[str, str]],
        *,
        temperature: float,
        max_tokens: int,
        top_p: float = 1.0,
        sends_top_p: bool = False,
        sample: int = 0,
        attempt: int = 0,
        response_format: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        letters: tuple[str, ...] = (),
    ) -> ChatAnswer:
        """The model's answer, from the log if it is recorded; equal requests in flight share one call.

        `system`, `temperature`, `top_p`, `max_tokens` and `body` of models.yaml take the place of the arguments.

        Args:
            messages: the conversation, as dictionaries with `role` and `content`.
            temperature: of sampling.
            max_tokens: maximum length of the answer.
            top_p: of nucleus sampling.
            sends_top_p: send `top_p` even if it is 1, so that a server's own default does not apply.
            sample: distinguishes several answers to the same request.
            attempt: distinguishes repeats after an unusable answer.
            response_format: for an endpoint with structured output.
            extra: further parameters, unless `body` of models.yaml has them.
            letters: answer with the probabilities of these as the first token, as a JSON object.

        Raises:
            EndpointError: no answer after all attempts; see its `cause`.
            BadInputError: a configuration error (key, model, address, parameter).
            StoppedError: the budget is spent, the account is out of credit, or the log cannot be written.
        """
        request = ChatRequest.build(
            self.spec,
            messages,
            temperature=temperature,
            max_tokens=max_tokens,
            top_p=top_p,
            sends_top_p=sends_top_p,
            sample=sample,
            attempt=attempt,
            response_format=response_format,
            extra=extra,
            letters=letters,
        )
        return await self._ask(request)

    @property
    def workers(self) -> int:
        """How many requests to ask at once: its limit, or for batches as many as one may hold."""
        return MAX_REQUESTS if self.spec.batch else self.spec.concurrency

    @property
    def is_proven(self) -> bool:
        """Whether it has answered in this process."""
        return self._proven

    async def context(self) -> int | None:
        """Context length in tokens: of models.yaml, or as the endpoint's list of models states it; None if neither does."""
        if self.spec.context is None and not self._is_looked_up:
            lane = self._lane()
            async with lane.lookup:
                if not self._is_looked_up:
                    try:
                        self._listed_context = (await find_listed(self.name, self.spec)).context
                    except BadInputError:  # the request itself will say what is wrong
                        self._listed_context = None
                    self._is_looked_up = True
        return self.spec.context or self._listed_context

    async def check_length(self, messages: Iterable[Mapping[str, str]], *, max_tokens: int) -> str | None:
        """Why a request cannot fit into the context together with its answer, by a cautious estimate; None if it can."""
        context = await self.context()
        if context is None:
            return None
        longest, prompt = self.spec.longest_answer(max_tokens), estimate_prompt_tokens(messages)
        if prompt + longest <= context:
            return None
        return f"about {prompt:,} tokens of prompt and {longest:,} of answer do not fit into a context of {context:,}"

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
        recorded = self._call_log.find(request.hash)
        if recorded is not None:
            self._is_on_record = True
            return recorded
        cut_off = self._call_log.find_cut_off(request.hash)
        if cut_off is not None:  # paid for, and the same limit would cut it off again
            raise EndpointError("cut_off", cut_off, request_hash=request.hash)
        return await self._join_flight(request)

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

        Two kinds of attempts are not counted: those during a tolerated outage, and those that a busy endpoint postponed
        (HTTP 429, 503, 529), until the waits for it add up to `patience_seconds`.

        A request keeps its slot while it waits, so an overloaded endpoint gets fewer requests, not more.
        """
        outcome, retries_left, patience = Outcome(), self.spec.retries, self._patience_seconds
        async with lane.slots:
            for attempt in count(1):
                outcome, answer = await self._try_within_budget(lane, request, attempt)
                if answer is not None:
                    return answer
                if outcome.fatal is not None:
                    raise outcome.fatal
                wait = wait_seconds(outcome, attempt=attempt, first=self._backoff_seconds)
                is_counted = not (self._proven and self._outage.is_tolerated(now=time.monotonic()))
                if outcome.busy and self.spec.retries and patience > 0:
                    patience -= wait
                    is_counted = False
                retries_left -= is_counted
                if retries_left < 0 or outcome.cause not in TRANSIENT:
                    break
                await asyncio.sleep(wait)
        raise self._failure(request, outcome)

    async def _try_within_budget(
        self, lane: _Lane, request: Request, attempt: int
    ) -> tuple[Outcome, ChatAnswer | None]:
        if lane.batcher is not None:  # the batcher reserves the cost of a whole batch
            self._budget.check()
            return await self._try(lane, request, attempt)
        prices = self.spec.prices
        longest = request.tokens - request.prompt_tokens
        most = prices and prices.cost(prompt_tokens=request.prompt_tokens, completion_tokens=longest)
        expected = await self._budget.admit(most)
        try:
            await lane.admit(request)
            return await self._try(lane, request, attempt)
        finally:
            self._budget.release(expected)

    async def _try(self, lane: _Lane, request: Request, attempt: int) -> tuple[Outcome, ChatAnswer | None]:
        """One HTTP request, recorded and added to the cost."""
        started = time.perf_counter()
        try:
            outcome = redact(await self._send(lane, request), lane.secrets).with_usage(request)
        except LongformError as error:  # of a batch
            raise redact_error(error, lane.secrets) from None
        except asyncio.CancelledError:
            if lane.batcher is None:  # the endpoint has the request, and may bill it
                stopped = Outcome("connection", "stopped before the answer came").with_usage(request)
                with suppress(LongformError):
                    self._record(self._call(request, stopped, attempt, time.perf_counter() - started))
            raise
        if outcome.refused_setting and not self._proven and not self._is_on_record:
            outcome = self._second_refusal(request, outcome)
        self._outage.record(outcome, now=time.monotonic())
        call = self._call(request, outcome, attempt, time.perf_counter() - started)
        self._record(call)
        if outcome.cause or outcome.fatal:
            return outcome, None
        self._proven = True
        return outcome, ChatAnswer.of(call)

    def _record(self, call: CallRecord) -> None:
        self._call_log.record(call)
        self._budget.add(call.cost, is_estimated=call.is_estimated)

    def _call(self, request: Request, outcome: Outcome, attempt: int, seconds: float) -> CallRecord:
        usage = outcome.usage
        return CallRecord(
            request_hash=request.hash,
            attempt=attempt,
            endpoint=self.name,
            model=self.spec.model,
            outcome="fatal" if outcome.fatal else outcome.cause or "ok",
            prompt_tokens=None if usage is None else usage.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion_tokens,
            cost=self._cost(outcome),
            latency_seconds=seconds,
            text=outcome.text,
            finish_reason=outcome.finish_reason,
            thoughts=outcome.thoughts,
            thought_tokens=None if usage is None else usage.thought_tokens,
            cached_tokens=None if usage is None else usage.cached_tokens,
            is_estimated=usage is not None and usage.is_estimated and outcome.maybe_billed,
            served_model=outcome.served_model,
            message=outcome.message,
        )

    def _cost(self, outcome: Outcome) -> float | None:
        cost = outcome.cost(self.spec)
        return DISCOUNT * cost if cost is not None and self.spec.batch else cost

    def _second_refusal(self, request: Request, outcome: Outcome) -> Outcome:
        """An HTTP 400 before any answer: taken for a wrong setting once a second, different request gets one too."""
        self._refused.add(request.hash)
        if len(self._refused) < 2:
            return outcome
        error = BadInputError(f"endpoint {self.name} at {self.spec.address} rejects every request: {outcome.message}")
        return replace(outcome, fatal=error, message=str(error))

    async def _send(self, lane: _Lane, request: Request) -> Outcome:
        endpoint = AskedEndpoint(
            self.name,
            self.spec,
            has_answered=self._proven or self._is_on_record,
            wants_score=isinstance(request, ScoreRequest),
        )
        return await send(request, endpoint, lane.transport, lane.batcher)

    def _failure(self, request: Request, outcome: Outcome) -> Exception:
        where = f"endpoint {self.name} at {self.spec.address}"
        if outcome.unreachable and not self._proven:
            return BadInputError(f"{where} cannot be reached: {outcome.message}; is it running?")
        assert outcome.cause is not None
        message = f"{where} gave no answer: {outcome.message}"
        return EndpointError(outcome.cause, message, request_hash=request.hash, said=outcome.message)

    def _lane(self) -> _Lane:
        loop = asyncio.get_running_loop()
        if loop not in self._lanes:
            self._lanes = {other: lane for other, lane in self._lanes.items() if not other.is_closed()}
            self._lanes[loop] = self._open_lane()
        return self._lanes[loop]

    def _open_lane(self) -> _Lane:
        key, headers = self.spec.read_key(self.name), self.spec.read_headers(self.name)
        if self.spec.batch and not isinstance(self._call_log, SqliteCallLog):
            raise BadInputError(f"endpoint {self.name}: `batch` is for commands that record their calls in a file")
        transport, batcher = Transport(self.spec, key=key, headers=headers), None
        if isinstance(self._call_log, SqliteCallLog) and self.spec.batch:
            where = f"endpoint {self.name} at {self.spec.address}"
            batcher = Batcher(
                where, self.spec, transport, self._call_log, self._budget, poll_seconds=self._batch_poll_seconds
            )
        return _Lane(
            transport=transport,
            batcher=batcher,
            secrets=secrets_of(self.spec, key, headers),
            slots=asyncio.Semaphore(self.workers),
            requests=None if self.spec.rpm is None else AsyncLimiter(self.spec.rpm, 60),
            tokens=None if self.spec.tpm is None else AsyncLimiter(self.spec.tpm, 60),
        )
