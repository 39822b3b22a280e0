"""The writing reward: a reward model's score of the answer, or the mean of several (LongWriter-Zero, arXiv 2506.18841)."""

import asyncio
from collections.abc import Sequence
from statistics import fmean

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.judging.judge import ask_all, total_cost
from longform.records.schemas import PromptRow
from longform.rewards.reward import RewardResult
from longform.rewards.writing_model import Encoded, WritingModel, WritingReader
from longform.text.structure import ParsedResponse


class WritingReward:
    """A reward model's standardised score of the answer; not bounded, and worth nothing across reward models.

    Responses that finish while others are scored wait for the next batch. Texts of one batch change each other's scores by
    rounding; with `batch` 1 they do not.

    Args:
        model: the reward model.
        batch: texts that go through it at once.
    """

    def __init__(self, model: WritingModel, *, batch: int) -> None:
        self._model, self._batch = model, batch
        self._waiting: list[tuple[Encoded, asyncio.Future[float]]] = []
        self._scoring: asyncio.Task[None] | None = None

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """The score; an empty answer has the lowest of the held-out texts, where that is known."""
        scale = self._model.scale
        if not response.answer and scale.lowest is not None:
            return RewardResult(scale.standardised(scale.lowest))
        encoded = self._model.encode(prompt, response.answer)
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((encoded, future))
        if self._scoring is None or self._scoring.done():
            self._scoring = asyncio.create_task(self._score_waiting())
        score = await future
        return RewardResult(scale.standardised(score), is_truncated=encoded.is_cut)

    async def _score_waiting(self) -> None:
        await asyncio.sleep(0)  # those that finish together are scored together
        while self._waiting:
            taken, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            try:
                scores = await asyncio.to_thread(self._model.raw_scores, [encoded for encoded, _ in taken])
            except Exception as error:
                for _, future in taken:
                    if not future.cancelled():
                        future.set_exception(error)
                continue
            for (_, future), score in zip(taken, scores, strict=True):
                if not future.cancelled():
                    future.set_result(score)


class ServedWritingReward:
    """The same of a reward model that stands behind an endpoint; an answer that it has scored before is not sent again.

    Args:
        reader: of the reward model.
        endpoint: where it is served; its `context` cuts texts too, where that is the shorter limit.
    """

    def __init__(self, reader: WritingReader, endpoint: Endpoint) -> None:
        self._reader, self._endpoint = reader, endpoint
        limits = (reader.max_tokens, endpoint.spec.context)
        reader.max_tokens = min((it for it in limits if it is not None), default=None)

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """The score, or why there is none; an empty answer has the lowest of the held-out texts, where that is known."""
        scale = self._reader.scale
        if not response.answer and scale.lowest is not None:
            return RewardResult(scale.standardised(scale.lowest))
        encoded = self._reader.encode(prompt, response.answer)
        try:
            answer = await self._endpoint.score(self._unpadded(encoded.ids))
        except EndpointError as error:
            return RewardResult(None, cause=error.cause, calls=(error.request_hash,), is_truncated=encoded.is_cut)
        score = scale.standardised(float(answer.text))
        return RewardResult(score, calls=(answer.request_hash,), cost=answer.cost, is_truncated=encoded.is_cut)

    def _unpadded(self, ids: Sequence[int]) -> Sequence[int]:
        """What ends at the last token that counts: transformers reads the score off there, and a server at the very last.
        They differ where the token that ends a text also pads.
        """
        end = len(ids)
        while end > 1 and ids[end - 1] == self._reader.padding:
            end -= 1
        return ids[:end]


class WritingPanel:
    """The mean of what several reward models make of an answer (Coste et al., arXiv 2310.02743): they err apart, and each
    can have learned what the others did not.

    Args:
        rewards: one or more.
        shares: what each counts in the mean; None: all the same.
    """

    def __init__(
        self, rewards: Sequence[WritingReward | ServedWritingReward], *, shares: Sequence[float] | None = None
    ) -> None:
        self._rewards, self._shares = rewards, shares

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:
        """The mean score, or none where one of them gave none, since each has a scale of its own; the answer counts as cut
        where any of them read it without its end.
        """
        asked = [it.score(prompt, response=response, reference=reference, step=step) for it in self._rewards]
        found = await ask_all(asked)
        scores = [it.score for it in found if it.score is not None]
        return RewardResult(
            fmean(scores, weights=self._shares) if len(scores) == len(found) else None,
            cause=next((it.cause for it in found if it.score is None), None),
            calls=tuple(call for it in found for call in it.calls),
            cost=total_cost(it.cost for it in found),
            is_truncated=any(it.is_truncated for it in found),
        )
