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
    """A reward model's standardised score of the answer. It is unbounded and not comparable between reward models.

    Responses that arrive while a batch is scored wait for the next one. Batching changes scores by rounding; batches of 1 do
    not.

    Args:
        model: the reward model.
        batch: maximum number of texts scored at once.
    """

    def __init__(self, model: WritingModel, *, batch: int) -> None:
        self._model, self._batch = model, batch
        self._waiting: list[tuple[Encoded, asyncio.Future[float]]] = []
        self._scoring: asyncio.Task[None] | None = None

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """The score; an empty answer gets the lowest score among the held-out texts, if that is known."""
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
        await asyncio.sleep(0)  # responses that finish together share a batch
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
    """The score of a reward model behind an endpoint; recorded scores are not requested again.

    Args:
        reader: tokenizer and scale of the reward model.
        endpoint: the endpoint that serves it; its `context` limits the input as well.
    """

    def __init__(self, reader: WritingReader, endpoint: Endpoint) -> None:
        self._reader, self._endpoint = reader, endpoint
        limits = (reader.max_tokens, endpoint.spec.context)
        reader.max_tokens = min((it for it in limits if it is not None), default=None)

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """The score, or the cause of its absence; an empty answer gets the lowest score of the held-out texts, if known."""
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
        """The token ids without trailing padding.

        transformers reads the score at the last token that is not padding, a server at the last token. The two differ if the
        token that ends a text is also the padding token.
        """
        end = len(ids)
        while end > 1 and ids[end - 1] == self._reader.padding:
            end -= 1
        return ids[:end]


class WritingPanel:
    """The mean score of several reward models, whose errors differ (Coste et al., arXiv 2310.02743).

    Args:
        rewards: one or more.
        shares: weights in the mean; None: equal weights.
    """

    def __init__(
        self, rewards: Sequence[WritingReward | ServedWritingReward], *, shares: Sequence[float] | None = None
    ) -> None:
        self._rewards, self._shares = rewards, shares

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:
        """The mean score; None if any model gave none, because their scales differ.

        The result is truncated if any model read the answer without its end.
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
