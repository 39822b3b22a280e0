"""Requests through an endpoint's batch API (OpenAI's protocol): half the price, answered within hours.

Requests that arrive together become one batch: a file is uploaded, a batch is created, and its state is asked for until
its answers can be fetched. Batches are on record before they are submitted, under a tag that the endpoint keeps, so a
command that is started again waits for its batches instead of submitting them twice.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

from longform.endpoints.failures import quote
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import read_json
from longform.endpoints.request import ChatRequest
from longform.endpoints.transport import (
    BYTES_PER_TOKEN,
    MAX_BYTES,
    BadBodyError,
    HttpAnswer,
    RedirectError,
    Transport,
)
from longform.records.calls import ChatAnswer, RecordedBatch
from longform.records.errors import StoppedError

DISCOUNT = 0.5
"""What a batch costs, as a fraction of the same requests by themselves."""
MAX_REQUESTS = 20_000
MAX_FILE_BYTES = 100_000_000
"""Of a batch's requests; OpenAI takes files of up to 200 MB."""
QUIET_SECONDS = 0.5
"""Requests that arrive within this time of each other share a batch."""
POLL_SECONDS = 20.0
MAX_TRIES = 30
"""Attempts to upload or to fetch something, `POLL_SECONDS` apart, before the command stops."""
EXCHANGE_SECONDS = 600.0
"""Time-out of one upload or download."""
_TAG = "longform"
_PATH = "/v1/chat/completions"
_ENDED = {"completed", "failed", "expired", "cancelled"}
_GONE = {404, 410}
"""HTTP statuses of a file that the endpoint no longer keeps."""
_PASSING = {408, 409, 425, 429}
"""HTTP statuses below 500 that may pass."""


class BatchLog(Protocol):
    """Where batches are recorded."""

    def begin_batch(self, tag: str, hashes: list[str]) -> None:
        """Record a batch before it is submitted."""
        ...

    def set_batch_id(self, tag: str, batch_id: str) -> None:
        """Record the id that the endpoint gave it."""
        ...

    def end_batch(self, tag: str) -> None:
        """Record that its answers are on record, or that it will not be submitted."""
        ...

    def open_batches(self) -> list[RecordedBatch]:
        """The batches that were begun and have not ended."""
        ...

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, or None."""
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
        """Answers by request, until they are taken; those of a batch of an earlier command may not be asked for yet."""
        self._queue: dict[str, ChatRequest] = {}
        self._asked: dict[str, ChatRequest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals = 0
        self._reserved = 0.0
        """What the batches that are under way may cost."""
        self._earlier: dict[str, RecordedBatch] = {
            hash_: batch for batch in log.open_batches() for hash_ in batch.hashes
        }
        self._ended: dict[str, list[str]] = {}
        """Hashes of the batches that have ended, by tag."""

    async def ask(self, request: ChatRequest) -> HttpAnswer:
        """The answer to a request, when its batch is done.

        Raises:
            StoppedError: the batch was refused, failed or was cancelled, may cost more than what is left of the budget, or
                cannot be reached.
        """
        self._asked[request.hash] = request
        if request.hash not in self._waiting:
            earlier = self._earlier.get(request.hash)
            if earlier is None:
                self._expect(request.hash)
                self._enqueue(request)
            else:
                self._adopt(earlier)
        future = self._waiting[request.hash]
        try:
            return await asyncio.shield(future)
        finally:
            if future.done():  # else its only caller was cancelled, and the answer is still to come
                self._waiting.pop(request.hash, None)
                self._asked.pop(request.hash, None)

    async def close(self) -> None:
        """Stop waiting; the endpoint still works on the batches.

        A batch is recorded as ended once all of its answers are recorded; otherwise the next command fetches them.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for tag, hashes in self._ended.items():
            if all(hash_ not in self._waiting or self._log.find(hash_) is not None for hash_ in hashes):
                self._log.end_batch(tag)

    def _expect(self, hash_: str) -> None:
        self._waiting[hash_] = asyncio.get_running_loop().create_future()

    def _adopt(self, batch: RecordedBatch) -> None:
        """Wait for a batch of an earlier command, and for all of its answers: they are paid for."""
        for hash_ in batch.hashes:
            if self._earlier.get(hash_) is batch:
                del self._earlier[hash_]
                self._expect(hash_)
        self._start(self._guard(batch.hashes, self._resume(batch)))

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
        for lines in _files(requests):
            hashes = list(lines)
            self._start(self._guard(hashes, self._submit({hash_: requests[hash_] for hash_ in hashes}, lines)))

    async def _submit(self, requests: Mapping[str, ChatRequest], lines: Mapping[str, str]) -> None:
        cost = self._reserve(requests)
        try:
            content = "".join(lines.values())
            uploaded = await self._patiently(
                "upload", lambda: self._transport.upload("/files", content, purpose="batch")
            )
            tag = secrets.token_hex(8)
            body = {
                "input_file_id": self._text(uploaded, "id", "upload"),
                "endpoint": _PATH,
                "completion_window": "24h",
                "metadata": {_TAG: tag},
            }
            self._log.begin_batch(tag, list(requests))
            created = await self._exchange("batch", lambda: self._transport.post("/batches", body, limit=MAX_BYTES))
            batch_id = self._text(created, "id", "batch")
            self._log.set_batch_id(tag, batch_id)
            await self._follow(tag, batch_id, list(requests), longest=max(it.max_tokens for it in requests.values()))
        finally:
            self._reserved -= cost

    async def _resume(self, batch: RecordedBatch) -> None:
        """Wait for a batch of an earlier command; if it was never created, put its requests into a new one."""
        batch_id = batch.batch_id or await self._find(batch.tag)
        if batch_id is not None:
            longest = self._spec.longest_answer(100_000)
            return await self._follow(batch.tag, batch_id, batch.hashes, longest=longest)
        self._log.end_batch(batch.tag)
        for hash_ in batch.hashes:
            if hash_ in self._asked:
                self._enqueue(self._asked[hash_])
            else:
                self._waiting.pop(hash_, None)
        return None

    async def _find(self, tag: str) -> str | None:
        """The id of the batch with a tag, if the endpoint has it."""
        after = ""
        while True:
            path = f"/batches?limit=100{after}"
            listed = await self._patiently(
                "list of batches", lambda path=path: self._transport.get(path, limit=16 * MAX_BYTES)
            )
            content = self._json(listed, "list of batches")
            entries = [
                it for it in content.get("data") or [] if isinstance(it, Mapping) and isinstance(it.get("id"), str)
            ]
            for entry in entries:
                metadata = entry.get("metadata")
                if isinstance(metadata, Mapping) and metadata.get(_TAG) == tag:
                    return entry["id"]
            following = f"&after={entries[-1]['id']}" if entries and content.get("has_more") is True else ""
            if following in ("", after):
                return None
            after = following

    async def _follow(self, tag: str, batch_id: str, hashes: list[str], *, longest: int) -> None:
        """Wait until a batch has ended, and hand its answers out."""
        while True:
            state = self._json(
                await self._patiently("batch", lambda: self._transport.get(f"/batches/{batch_id}")), "batch"
            )
            status = str(state.get("status")).lower()
            if status in _ENDED:
                break
            await asyncio.sleep(self._poll_seconds)
        limit = len(hashes) * (MAX_BYTES + BYTES_PER_TOKEN * longest)
        answers: dict[str, HttpAnswer] = {}
        for file in filter(None, (state.get("output_file_id"), state.get("error_file_id"))):
            path = f"/files/{file}/content"
            content = await self._patiently("answers", lambda path=path: self._transport.get(path, limit=limit))
            if content.status in _GONE and file != state.get("output_file_id"):
                continue  # what failed is made again
            if content.status in _GONE:
                self._log.end_batch(tag)
                raise StoppedError(
                    f"{self._where}: the answers of batch {batch_id} are gone (HTTP {content.status}): {quote(content.body)}"
                    "; the same command submits its requests again"
                )
            if not content.is_success:
                raise self._refused(content, "file of answers")
            for line in content.body.split("\n"):
                answers |= _read_row(read_json(line))
        self._ended[tag] = hashes
        reason = quote(state.get("errors") or status)
        for hash_ in hashes:
            if hash_ in answers:
                self._resolve(hash_, answers[hash_])
        if len(answers) < len(hashes) and (status == "cancelled" or (not answers and status == "failed")):
            raise StoppedError(f"{self._where}: batch {batch_id} {status}: {reason}")
        for hash_ in hashes:
            if hash_ not in answers:
                body = json.dumps({"error": {"message": f"no answer in batch {batch_id}: {reason}"}})
                self._resolve(hash_, HttpAnswer(500, {}, body))

    def _resolve(self, hash_: str, answer: HttpAnswer) -> None:
        future = self._waiting.get(hash_)
        if future is not None and not future.done():
            future.set_result(answer)

    async def _guard(self, hashes: list[str], work: Awaitable[None]) -> None:
        """Await `work`; if it fails, all of its requests fail."""
        try:
            await work
        except Exception as error:  # handed to those who wait
            for hash_ in hashes:
                future = self._waiting.get(hash_)
                if hash_ not in self._asked:
                    self._waiting.pop(hash_, None)
                elif future is not None and not future.done():
                    future.set_exception(error)

    def _reserve(self, requests: Mapping[str, ChatRequest]) -> float:
        """Reserve the maximum cost of a batch until it has ended, and return it."""
        prices, limit = self._spec.prices, self._budget.limit
        if prices is None or limit is None:
            return 0.0
        most = DISCOUNT * sum(
            prices.cost(prompt_tokens=it.prompt_tokens, completion_tokens=it.max_tokens) for it in requests.values()
        )
        taken = self._budget.spent + self._reserved
        if taken + most > limit:
            raise StoppedError(
                f"budget of {limit:g}: a batch of {len(requests)} requests may cost up to {most:.4f} more than the "
                f"{taken:.4f} that are spent or submitted; raise it, or set a smaller `max_tokens` in models.yaml"
            )
        self._reserved += most
        return most

    async def _patiently(self, what: str, send: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
        """The answer of an exchange that may be repeated, after retries of transient failures."""
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._exchange(what, send)
                if attempt == MAX_TRIES or not (answer.status >= 500 or answer.status in _PASSING):
                    return answer
            except StoppedError:
                if attempt == MAX_TRIES:
                    raise
            await asyncio.sleep(self._poll_seconds)

    async def _exchange(self, what: str, send: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
        """The answer of one exchange.

        Raises:
            StoppedError: there is none. The exchange is not retried like a failed request, since the batch may exist.
        """
        from aiohttp import ClientError

        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                return await send()
        except (ClientError, OSError, ValueError, BadBodyError, RedirectError) as error:
            said = quote(error) or type(error).__name__
            raise StoppedError(
                f"{self._where}: no answer about the {what}: {said}; run the same command again to continue its batches"
            ) from error

    def _text(self, answer: HttpAnswer, key: str, what: str) -> str:
        value = self._json(answer, what).get(key)
        if not isinstance(value, str):
            raise self._refused(answer, what)
        return value

    def _json(self, answer: HttpAnswer, what: str) -> dict[str, Any]:
        content = read_json(answer.body)
        if not answer.is_success or not isinstance(content, dict):
            raise self._refused(answer, what)
        return content

    def _refused(self, answer: HttpAnswer, what: str) -> StoppedError:
        return StoppedError(f"{self._where}: the {what} was refused (HTTP {answer.status}): {quote(answer.body)}")


def _files(requests: Mapping[str, ChatRequest]) -> Iterator[dict[str, str]]:
    """The lines of requests by hash, in files that are not too long."""
    lines: dict[str, str] = {}
    size = 0
    for hash_, request in requests.items():
        line = {"custom_id": hash_, "method": "POST", "url": _PATH, "body": request.parameters}
        text = f"{json.dumps(line)}\n"
        if lines and size + len(text) > MAX_FILE_BYTES:
            yield lines
            lines, size = {}, 0
        lines[hash_] = text
        size += len(text)
    if lines:
        yield lines


def _read_row(row: Any) -> dict[str, HttpAnswer]:
    """The answer of a row of a batch, by the hash of its request; empty if it is none."""
    if not isinstance(row, Mapping) or not isinstance(row.get("custom_id"), str):
        return {}
    response, error = row.get("response"), row.get("error")
    if isinstance(response, Mapping) and "body" in response:
        status, body = response.get("status_code", 200), response["body"]
        body = body if isinstance(body, str) else json.dumps(body)
        answer = HttpAnswer(int(status) if str(status).isdecimal() else 500, {}, body)
    else:
        answer = HttpAnswer(500, {}, json.dumps({"error": error or {"message": f"no response: {json.dumps(row)}"}}))
    return {row["custom_id"]: answer}
