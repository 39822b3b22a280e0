"""Listwise judging: one question orders several texts, with ties.

The texts get letters in an order that the caller draws, so that no response is tied to a position. Texts that the judge
leaves out have no place in the result. An order with an unknown or repeated letter is ignored: nothing is guessed.
"""

from collections.abc import Sequence
from functools import partial

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.endpoints.request import estimate_prompt_tokens
from longform.judging.answers import (
    LIST_LETTERS,
    LetterOrder,
    criteria_text,
    fence,
    fence_prompt,
    parse_order,
    parse_structured_order,
)
from longform.judging.judge import AnswerShape, BaseJudge, JudgeReply
from longform.judging.pairwise import pairwise_measure
from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow
from longform.wording import CURRENT, Wording, load_wording

MAX_LISTED = len(LIST_LETTERS)
"""Maximum number of texts in a question."""
PlaceOrder = tuple[tuple[int, ...], ...]
"""Indices of the texts from the best to the worst; ties are grouped."""
LISTED_SINCE = 3
"""First version of the wording with this question; runs with older versions never ask it."""

STRUCTURED_ORDER = (
    'Give the answer as JSON, {"reasoning": "...", "order": [["X"], ["Y", "Z"]]}, with the letters of texts that are level '
    "in one inner list, and without double square brackets in the reasoning."
)
"""Added to the question for an endpoint that constrains answers to a JSON schema."""


class ListJudge(BaseJudge):
    """Asks a model for the order of several texts.

    Raises:
        BadInputError: the judge has a template of its own, or decides by log-probabilities; neither can ask this question.
    """

    def __init__(self, endpoint: Endpoint, *, secret: bytes, retries: int = 1, wording: Wording | None = None) -> None:
        super().__init__(endpoint, secret=secret, retries=retries, wording=listing_wording(wording))
        check_can_list(endpoint.name, endpoint.spec)

    async def order(
        self, prompt: PromptRow, texts: Sequence[str], *, step: int, sample: int = 0
    ) -> JudgeReply[PlaceOrder]:
        """The judge's order of `texts`, which it reads in the given order.

        Args:
            prompt: the request.
            texts: 2 to `MAX_LISTED` texts.
            step: of the run.
            sample: distinguishes repeated questions about the same list.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        letters = LIST_LETTERS[: len(texts)]

        def places(order: LetterOrder | None) -> PlaceOrder | None:
            return None if order is None else tuple(tuple(map(letters.index, equals)) for equals in order)

        shape: AnswerShape[PlaceOrder] = AnswerShape(
            {
                "order": {
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "string", "enum": list(letters)}},
                }
            },
            parse=lambda answer: places(parse_structured_order(answer, letters)),
            task=STRUCTURED_ORDER,
        )
        return await self._query(
            ask_order(prompt, texts, tag=self._tag(prompt.id, step), wording=self._wording),
            lambda answer: places(parse_order(answer, letters)),
            unparsed="no_verdict",
            sample=sample,
            shape=shape,
        )

    async def room(self, prompt: PromptRow) -> float:
        """The number of tokens, conservatively estimated, that the texts of a question may have in total; infinite if the
        endpoint's context length is unknown.
        """
        context = await self.endpoint.context()
        if context is None:
            return float("inf")
        ask = partial(ask_order, prompt, tag=self._tag(prompt.id), wording=self._wording)
        content = ask(["" for _ in LIST_LETTERS])
        shape = f"\n\n{STRUCTURED_ORDER}" if self.endpoint.spec.structured else ""
        frame = estimate_prompt_tokens([{"content": f"{content}{shape}"}])
        return context - self.endpoint.spec.longest_answer(self.max_tokens) - frame


def check_can_list(endpoint_name: str, spec: ModelSpec) -> None:
    """Check that a judge can order a list.

    Raises:
        BadInputError: it decides by log-probabilities.
    """
    if spec.verdict == "logprobs":
        raise BadInputError(
            f"endpoint {endpoint_name}: verdict: logprobs tells A from B and cannot order a list; give the model a "
            "second name in models.yaml, without verdict"
        )


def ask_order(prompt: PromptRow, texts: Sequence[str], *, tag: str, wording: Wording | None = None) -> str:
    """The message that asks a judge for the order of several texts."""
    wording = listing_wording(wording)
    language = wording.language_of(prompt.request)
    labels = [f"TEXT {letter}" for letter in LIST_LETTERS[: len(texts)]]
    criteria = criteria_text(prompt, language)
    measure = pairwise_measure(wording, language, has_criteria=bool(criteria))
    named = ("、" if language == "zh" else ", ").join(labels)
    parts = [
        wording.text("list.role", language).format(count=len(texts), texts=named),
        *fence_prompt(prompt, criteria, tag=tag),
        *(fence(label, text, tag=tag) for label, text in zip(labels, texts, strict=True)),
        wording.text("list.task", language).format(measure=measure, count=len(texts)),
    ]
    return "\n\n".join(parts)


def listing_wording(wording: Wording | None) -> Wording:
    """The wording in which lists are asked about: the given one, or the current one if that is older than the question."""
    return load_wording(CURRENT) if wording is None or wording.version < LISTED_SINCE else wording
