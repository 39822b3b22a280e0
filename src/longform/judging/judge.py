"""Asking a judge until its answer can be parsed: what pairwise, pointwise and other judges share."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.failures import quote
from longform.judging.answers import fence_tag
from longform.judging.judge_template import Slots, read_template
from longform.records.schemas import Order
from longform.wording import Wording, load_wording

ValueT = TypeVar("ValueT")
ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True)
class AnswerShape(Generic[ValueT]):
    """How a question is answered by an endpoint that constrains answers to a JSON schema (`structured: json_schema`)."""

    properties: Mapping[str, Any]
    """JSON schemas of the answer's keys; `reasoning` comes first, so that the judge still weighs before it decides."""
    parse: Callable[[str], ValueT | None] | None = None
    """The value of such an answer; None if the question's own parser reads it."""
    task: str = ""
    """What to add to the question; empty if it asks for this JSON anyway."""

    def response_format(self) -> dict[str, Any]:
        """For the request."""
        return schema_format({"reasoning": {"type": "string"}, **self.properties})


def schema_format(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The `response_format` of a request whose answer is an object with exactly these keys, each with its JSON schema."""
    schema = object_schema(properties)
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these keys."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


@dataclass(frozen=True, slots=True)
class JudgeReply(Generic[ValueT]):
    """What a judge, or a panel of judges, replied: a value, or the cause why there is none."""

    value: ValueT | None
    cause: str | None = None
    """Why there is no value: a cause of `EndpointError`, `cut_off`, `too_long`, or the judge's own, such as `no_verdict`."""
    calls: tuple[str, ...] = ()
    """Request hashes of the calls behind it, in order."""
    cost: float | None = 0.0
    """Sum over these calls, including those another request already paid for; None if one is unknown."""
    votes: tuple[ValueT | None, ...] = ()
    """For a panel: each member's value in the order of the members, None if it is missing. Empty for a single judge."""
    orders: tuple[Order, ...] = ()
    """Of a comparison of two texts: the order in which each of `calls` showed them."""

    @property
    def valid_votes(self) -> list[ValueT]:
        """The votes that came in."""
        return [vote for vote in self.votes if vote is not None]

    @property
    def missing_votes(self) -> float | None:
        """Fraction of a panel's votes that are missing; None for a single judge."""
        return self.votes.count(None) / len(self.votes) if self.votes else None


def total_cost(costs: Iterable[float | None]) -> float | None:
    """The sum; None if one of them is unknown."""
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


async def query(
    endpoint: Endpoint,
    message: str,
    parse: Callable[[str], ValueT | None],
    *,
    unparsed: str,
    retries: int,
    temperature: float,
    max_tokens: int,
    top_p: float = 1.0,
    sample: int = 0,
    shape: AnswerShape[ValueT] | None = None,
    letters: tuple[str, ...] = (),
) -> JudgeReply[ValueT]:
    """Send `message` as one user turn; ask again, up to `retries` times, if the answer cannot be parsed.

    An answer that was cut off is not parsed, since its last verdict may not be its final one, and not asked again. A message
    that would not fit into the endpoint's context together with its answer (by a cautious estimate) is not sent: cause
    `too_long`.

    Args:
        endpoint: the judge.
        message: the whole question.
        parse: the value of an answer, or None.
        unparsed: the cause if no answer could be parsed.
        retries: attempts after the first.
        temperature: sampling temperature of the answer.
        max_tokens: longest answer, unless models.yaml states one.
        top_p: nucleus of the sampling.
        sample: numbers several independent answers to the same question.
        shape: of the answer, for an endpoint that constrains it.
        letters: ask for the probabilities of these as the first token, which `parse` gets as a JSON object.
    """
    response_format = None
    if shape is not None and endpoint.spec.structured is not None and not letters:
        response_format = shape.response_format()
        parse = shape.parse or parse
        message = f"{message}\n\n{shape.task}" if shape.task else message
    messages = [{"role": "user", "content": message}]
    too_long = await endpoint.check_length(messages, max_tokens=max_tokens)
    if too_long is not None:
        endpoint.failures.fail("too_long", too_long)
        return JudgeReply(None, "too_long")
    cause, calls, cost, said = unparsed, (), 0.0, ""
    for attempt in range(retries + 1):
        try:
            answer = await endpoint.chat(
                messages,
                temperature=temperature,
                max_tokens=max_tokens,
                top_p=top_p,
                sample=sample,
                attempt=attempt,
                response_format=response_format,
                letters=letters,
            )
        except EndpointError as error:
            endpoint.failures.fail(error.cause, quote(error.said))
            return JudgeReply(None, error.cause, (*calls, error.request_hash), cost)
        calls = (*calls, answer.request_hash)
        cost = total_cost((cost, answer.cost))
        said = answer.text
        if answer.finish_reason == "length":  # with the same limit it would be cut off again
            cause = "cut_off"
            break
        value = parse(answer.text)
        if value is not None:
            endpoint.failures.succeed()
            return JudgeReply(value, None, calls, cost)
    endpoint.failures.fail(cause, quote(said))
    return JudgeReply(None, cause, calls, cost)


class BaseJudge:
    """A model that is asked about texts written by others.

    Args:
        endpoint: the model.
        secret: the run's secret, from which the tags of the fences are derived.
        retries: how often to ask again after an answer that cannot be parsed.
        wording: of the questions, unless models.yaml names that which the judge was trained on; a run keeps the version
            it began with.

    Raises:
        BadInputError: the judge's own template cannot be read, lacks a slot, or cannot ask this question.
    """

    temperature: ClassVar = 0.1
    max_tokens: ClassVar = 1024
    """Longest answer."""
    slots: Slots | None = None
    """Of a template of the judge; None if it is asked in longform's own words alone."""

    def __init__(self, endpoint: Endpoint, *, secret: bytes, retries: int = 1, wording: Wording | None = None) -> None:
        self.endpoint = endpoint
        self._template = read_template(endpoint.name, endpoint.spec, self.slots)
        self._secret, self._retries = secret, retries
        trained_on = endpoint.spec.wording
        self._wording = (wording or load_wording()) if trained_on is None else load_wording(trained_on)

    def _tag(self, prompt_id: str, step: int = 0) -> str:
        """The tag of the fences around everything that belongs to a prompt."""
        return fence_tag(self._secret, prompt_id, step)

    async def _query(
        self,
        message: str,
        parse: Callable[[str], ValueT | None],
        *,
        unparsed: str,
        sample: int = 0,
        shape: AnswerShape[ValueT] | None = None,
        letters: tuple[str, ...] = (),
    ) -> JudgeReply[ValueT]:
        """See `query`."""
        return await query(
            self.endpoint,
            message,
            parse,
            unparsed=unparsed,
            retries=self._retries,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            sample=sample,
            shape=shape,
            letters=letters,
        )


async def ask_all(questions: Iterable[Awaitable[ReplyT]]) -> list[ReplyT]:
    """The replies to all questions.

    An error of one is raised after the others have finished, since their calls are paid for.
    """
    replies = await asyncio.gather(*questions, return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return [reply for reply in replies if not isinstance(reply, BaseException)]


def combine_replies(
    replies: Sequence[JudgeReply[ValueT]], combine: Callable[[Sequence[ValueT]], ValueT]
) -> JudgeReply[ValueT]:
    """Several replies as one. A single reply stays as it is.

    There is a value if more than half of the votes came in; missing votes are left out of it. Otherwise the cause is
    the most common one.
    """
    if len(replies) == 1:
        return replies[0]
    votes = tuple(reply.value for reply in replies)
    valid = [vote for vote in votes if vote is not None]
    calls = tuple(call for reply in replies for call in reply.calls)
    orders: tuple[Order, ...] = tuple(order for reply in replies for order in reply.orders)
    cost = total_cost(reply.cost for reply in replies)
    if 2 * len(valid) <= len(votes):
        causes = Counter(reply.cause for reply in replies if reply.cause is not None)
        return JudgeReply(None, causes.most_common(1)[0][0], calls, cost, votes, orders)
    return JudgeReply(combine(valid), None, calls, cost, votes, orders)
