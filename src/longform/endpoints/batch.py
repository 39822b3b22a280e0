"""Requests through an endpoint's batch API (OpenAI's protocol): half the price, answered within hours.

Requests that arrive together become one batch: a file is uploaded, a batch is created, and its state is asked for until
its answers can be fetched. Batches are on record before they are submitted, under a tag that the endpoint keeps, so a
command that is started again waits for its batches instead of submitting them twice.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from longform.endpoints.failures import quote
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import read_json
from longform.endpoints.request import ChatRequest
from longform.endpoints.transport import BYTES_PER_TOKEN, MAX_BYTES, HttpAnswer, Transport
from longform.records.calls import RecordedBatch
from longform.records.errors import StoppedError

DISCOUNT = 0.5
"""What a batch costs, as a fraction of the same requests by themselves."""
MAX_REQUESTS = 20_000
QUIET_SECONDS = 0.5
"""Requests that arrive within this time of each other share a batch."""
POLL_SECONDS = 20.0
_TAG = "longform"
_PATH = "/v1/chat/completions"
_ENDED = {"completed", "failed", "expired", "cancelled"}


class BatchLog(Protocol):
    """Where batches are recorded."""

    def begin_batch(self, tag: str, hashes: list[str]) -> None:
        """Record a batch before it is submitted."""
        ...

    def set_batch_id(self, tag: str, batch_id: str) -> None:
        """Record the id that the endpoint gave it."""
        ...

    def end_batch(self, tag: str) -> None:
        """Record that its answers were fetched, or that it will not be submitted."""
        ...

    def open_batches(self) -> list[RecordedBatch]:
        """The batches that were begun and have not ended."""
        ...


class Batcher:
    """Collects the requests of an event loop into batches.

    Args:
        where: the endpoint, for errors.
        spec: its entry in models.yaml.
        transport: its connections.
        log: where batches are recorded.
        budget: a batch that may cost more than what is left is not submitted.
        poll_seconds: between two questions about the state of a batch.
    """

    def __init__(
        self,
        where: str,
        spec: ModelSpec,
        transport: Transport,
        log: BatchLog,
        budget: Budget,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._where, self._spec = where, spec
        self._transport, self._log, self._budget = transport, log, budget
        self._poll_seconds = poll_seconds
        self._waiting: dict[str, asyncio.Future[HttpAnswer]] = {}
        self._queue: dict[str, ChatRequest] = {}
        self._asked: dict[str, ChatRequest] = {}
        """Requests that wait for a batch of an earlier command."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals = 0
        self._earlier: dict[str, RecordedBatch] = {
            hash_: batch for batch in log.open_batches() for hash_ in batch.hashes
        }
        self._followed: set[str] = set()

    async def ask(self, request: ChatRequest) -> HttpAnswer:
        """The answer to a request, when its batch is done.

        Raises:
            StoppedError: the batch was refused or failed, or may cost more than what is left of the budget.
        """
        future = self._waiting.get(request.hash)
        if future is None:
            future = self._waiting[request.hash] = asyncio.get_running_loop().create_future()
            earlier = self._earlier.pop(request.hash, None)
            if earlier is None:
                self._enqueue(request)
                return await asyncio.shield(future)
            self._asked[request.hash] = request
            if earlier.tag not in self._followed:
                self._followed.add(earlier.tag)
                self._start(self._resume(earlier))
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Stop waiting; the batches go on at the endpoint."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _enqueue(self, request: ChatRequest) -> None:
        self._queue[request.hash] = request
        self._arrivals += 1
        self._start(self._flush(self._arrivals))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self, arrival: int) -> None:
        """Submit what is queued, once no request has arrived for a while."""
        if len(self._queue) < MAX_REQUESTS:
            await asyncio.sleep(QUIET_SECONDS)
            if arrival != self._arrivals:
                return
        requests, self._queue = self._queue, {}
        if requests:
            tag = secrets.token_hex(8)
            await self._guard(list(requests), self._submit(tag, requests))

    async def _submit(self, tag: str, requests: Mapping[str, ChatRequest]) -> None:
        self._check_budget(requests)
        lines = (
            {"custom_id": hash_, "method": "POST", "url": _PATH, "body": request.parameters}
            for hash_, request in requests.items()
        )
        content = "".join(f"{json.dumps(line)}\n" for line in lines)
        uploaded = await self._json(await self._transport.upload("/files", content, purpose="batch"), "upload")
        self._log.begin_batch(tag, list(requests))
        body = {
            "input_file_id": uploaded["id"],
            "endpoint": _PATH,
            "completion_window": "24h",
            "metadata": {_TAG: tag},
        }
        created = await self._json(await self._transport.post("/batches", body, limit=MAX_BYTES), "batch")
        self._log.set_batch_id(tag, created["id"])
        await self._follow(tag, created["id"], list(requests), longest=max(it.max_tokens for it in requests.values()))

    async def _resume(self, batch: RecordedBatch) -> None:
        """Wait for a batch of an earlier command; the requests of one that was never created are put into another."""

        async def wait() -> None:
            batch_id = batch.batch_id or await self._find(batch.tag)
            if batch_id is None:
                self._log.end_batch(batch.tag)
                for hash_ in batch.hashes:
                    if hash_ in self._asked:
                        self._enqueue(self._asked.pop(hash_))
                return
            await self._follow(batch.tag, batch_id, batch.hashes, longest=self._spec.longest_answer(100_000))

        await self._guard(batch.hashes, wait())

    async def _find(self, tag: str) -> str | None:
        """The id of the batch with a tag, if the endpoint has it."""
        listed = await self._json(await self._transport.get("/batches?limit=100", limit=16 * MAX_BYTES), "batches")
        for entry in listed.get("data") or []:
            if (entry.get("metadata") or {}).get(_TAG) == tag:
                return entry["id"]
        return None

    async def _follow(self, tag: str, batch_id: str, hashes: list[str], *, longest: int) -> None:
        """Wait until a batch has ended, and hand its answers out."""
        while True:
            state = await self._json(await self._transport.get(f"/batches/{batch_id}"), "batch")
            if state.get("status") in _ENDED:
                break
            await asyncio.sleep(self._poll_seconds)
        limit = len(hashes) * (MAX_BYTES + BYTES_PER_TOKEN * longest)
        answered: set[str] = set()
        for name in ("output_file_id", "error_file_id"):
            if state.get(name):
                content = await self._transport.get(f"/files/{state[name]}/content", limit=limit)
                for line in content.body.split("\n"):
                    answered |= self._hand_out(read_json(line))
        self._log.end_batch(tag)
        reason = quote(state.get("errors") or state["status"])
        if not answered and state["status"] == "failed":
            raise StoppedError(f"{self._where}: batch {batch_id} failed: {reason}")
        for hash_ in hashes:
            if hash_ not in answered:
                body = json.dumps({"error": {"message": f"no answer in batch {batch_id}: {reason}"}})
                self._resolve(hash_, HttpAnswer(504, {}, body))

    def _hand_out(self, row: Any) -> set[str]:
        """Give the answer of a row to who waits for it; returns its hash."""
        if not isinstance(row, Mapping) or not isinstance(row.get("custom_id"), str):
            return set()
        response = row.get("response")
        if isinstance(response, Mapping) and isinstance(response.get("status_code"), int):
            answer = HttpAnswer(response["status_code"], {}, json.dumps(response.get("body")))
        else:
            answer = HttpAnswer(500, {}, json.dumps({"error": row.get("error") or {"message": "no response"}}))
        self._resolve(row["custom_id"], answer)
        return {row["custom_id"]}

    def _resolve(self, hash_: str, answer: HttpAnswer) -> None:
        future = self._waiting.pop(hash_, None)
        if future is not None and not future.done():
            future.set_result(answer)

    async def _guard(self, hashes: list[str], work: Any) -> None:
        """Await `work`; its failure is that of all its requests."""
        try:
            await work
        except Exception as error:  # handed to those who wait
            for hash_ in hashes:
                future = self._waiting.pop(hash_, None)
                if future is not None and not future.done():
                    future.set_exception(error)

    def _check_budget(self, requests: Mapping[str, ChatRequest]) -> None:
        prices, limit = self._spec.prices, self._budget.limit
        if prices is None or limit is None:
            return
        most = DISCOUNT * sum(
            prices.cost(prompt_tokens=it.prompt_tokens, completion_tokens=it.max_tokens) for it in requests.values()
        )
        if self._budget.spent + most > limit:
            raise StoppedError(
                f"budget of {limit:g}: a batch of {len(requests)} requests may cost up to {most:.4f} more than the "
                f"{self._budget.spent:.4f} that are spent; raise it, or set a smaller `max_tokens` in models.yaml"
            )

    async def _json(self, answer: HttpAnswer, what: str) -> dict[str, Any]:
        content = read_json(answer.body)
        if answer.status != 200 or not isinstance(content, dict):
            raise StoppedError(f"{self._where}: the {what} was refused (HTTP {answer.status}): {quote(answer.body)}")
        return content
