"""Pairwise judging: does a response beat its reference? In one order, or in both with one outcome.

A single order says as much about the judge's position bias as about the texts.

A failed judge call (an error, a refusal, a time-out, an answer without a verdict) is never a loss: the reply has no
value and says why.

What the responses of a group share (role, request, criteria and, with the policy's response second, the reference) leads the
prompt, so a prefix cache serves the group. How to answer comes last, where it is read last. It is one user message, since
not every judge has a system turn.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Literal, TypeVar, get_args

from longform.endpoints.client import Endpoint
from longform.judging.answers import (
    Letter,
    criteria_text,
    fence,
    fence_prompt,
    parse_letter_probabilities,
    parse_structured_verdict,
    parse_verdict,
)
from longform.judging.judge import AnswerShape, BaseJudge, JudgeReply, ValueT, ask_all, combine_replies, total_cost
from longform.judging.judge_template import PAIRWISE_SLOTS
from longform.records.schemas import ORDERS, Game, Order, PromptRow, Winner
from longform.wording import Language, Wording, load_wording

TextT = TypeVar("TextT")


def in_order(a: TextT, b: TextT, order: Order) -> tuple[TextT, TextT]:
    """The two as the judge reads them: text A of its question, then text B. Applied twice it gives (a, b) again."""
    return (a, b) if order == "ab" else (b, a)


def winner_of(letter: Letter, order: Order) -> Winner:
    """The better text, from the letter (A, B, or C for a tie) of a judge that read the two in `order`."""
    if letter == "C":
        return "tie"
    return "a" if (letter == "A") == (order == "ab") else "b"


def agreed(ab: Winner, ba: Winner) -> Winner:
    """One outcome of both orders: agreement decides, disagreement is a tie."""
    return ab if ab == ba else "tie"


def split_pairs(games: Sequence[Game]) -> tuple[list[Game], list[Game]]:
    """The games whose pair of texts was decided in both orders, and those that are alone, each in their order.

    A game whose other order was requested but has no verdict has no outcome.
    """
    orders: dict[Hashable, set[str | None]] = defaultdict(set)
    for game in games:
        orders[_texts(game)].add(game.order)
    whole: list[Game] = []
    alone: list[Game] = []
    for game in games:
        (whole if orders[_texts(game)].issuperset(ORDERS) else alone).append(game)
    return whole, alone


def _texts(game: Game) -> Hashable:
    return game.prompt_id, game.sample, game.model_a, game.model_b, game.judge


Position = Literal["first", "second", "both"]
WinTieLoss = Literal["win", "tie", "loss"]
OUTCOMES: tuple[WinTieLoss, ...] = get_args(WinTieLoss)
WINNERS: dict[WinTieLoss, Winner] = {"win": "a", "tie": "tie", "loss": "b"}
"""The winner of a game in which the response is text a and the reference is text b."""
Combination = Literal["vote", "mean"]
Verdict = JudgeReply[WinTieLoss]
"""A judge's outcome for (response, reference)."""

STRUCTURED_VERDICT = (
    'Give the answer as JSON, {"reasoning": "...", "verdict": "A"}, with the letter A, B, or C for a tie, and without '
    "double square brackets."
)
"""Added to the question for an endpoint that constrains answers to a JSON schema."""

LETTER_ALONE = "Answer with the letter A or B alone, without brackets and without reasons."
"""Added to the question for a judge whose verdict is read from log-probabilities."""

_OUTCOMES: dict[Winner, WinTieLoss] = {winner: outcome for outcome, winner in WINNERS.items()}
_ORDERS: dict[Position, tuple[Order, ...]] = {"first": ("ab",), "second": ("ba",), "both": ORDERS}
"""With the response as text a."""


class PairwiseJudge(BaseJudge):
    """Asks a model which of two texts is better.

    Args:
        endpoint: the judge.
        position: where the response is read. `both` asks twice: agreement decides, disagreement is a tie, and one
            missing verdict makes the pair missing.
        secret: the run's secret, from which the tags of the fences are derived.
        retries: how often to ask again after an answer without a verdict.
        wording: of the question.

    Raises:
        BadInputError: the judge's own template cannot be read, lacks a slot, or cannot ask this question.
    """

    slots = PAIRWISE_SLOTS

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        position: Position = "second",
        secret: bytes,
        retries: int = 1,
        wording: Wording | None = None,
    ) -> None:
        super().__init__(endpoint, secret=secret, retries=retries, wording=wording)
        self.position: Position = position

    async def compare(self, prompt: PromptRow, *, response: str, reference: str, step: int, sample: int = 0) -> Verdict:
        """The verdict on `response` against `reference`; `sample` numbers several verdicts on one pair.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        verdicts = await ask_all(
            self.compare_in_order(prompt, response=response, reference=reference, order=order, step=step, sample=sample)
            for order in _ORDERS[self.position]
        )
        return verdicts[0] if len(verdicts) == 1 else combine_orders(*verdicts)

    async def compare_in_order(
        self, prompt: PromptRow, *, response: str, reference: str, order: Order, step: int, sample: int = 0
    ) -> Verdict:
        """The verdict of one order, whatever the judge's position; see `compare`."""
        text_a, text_b = in_order(response, reference, order)
        if self._template is not None:
            criteria = criteria_text(prompt)
            message = self._template.fill(request=prompt.request, text_a=text_a, text_b=text_b, criteria=criteria)
        else:
            message = ask_pairwise(
                prompt, text_a=text_a, text_b=text_b, tag=self._tag(prompt.id, step), wording=self._wording
            )

        def outcome(letter: Letter | None) -> WinTieLoss | None:
            return None if letter is None else _OUTCOMES[winner_of(letter, order)]

        spec = self.endpoint.spec
        verdict: Verdict
        if spec.verdict == "logprobs":
            verdict = await self._query(
                message if self._template is not None else f"{message}\n\n{LETTER_ALONE}",
                lambda answer: outcome(parse_letter_probabilities(answer, tie_band=spec.tie_band)),
                unparsed="no_verdict",
                sample=sample,
                letters=("A", "B"),
            )
        else:
            shape: AnswerShape[WinTieLoss] = verdict_shape(lambda answer: outcome(parse_structured_verdict(answer)))
            verdict = await self._query(
                message,
                lambda answer: outcome(parse_verdict(answer)),
                unparsed="no_verdict",
                sample=sample,
                shape=shape,
            )
        return replace(verdict, orders=(order,) * len(verdict.calls))


def verdict_shape(parse: Callable[[str], ValueT | None]) -> AnswerShape[ValueT]:
    """The shape of a verdict, for a judge with structured output.

    Args:
        parse: the value of such an answer.
    """
    verdict = {"type": "string", "enum": list(get_args(Letter))}
    return AnswerShape({"verdict": verdict}, parse=parse, task=STRUCTURED_VERDICT)


class PairwisePanel:
    """Decides between a response and its reference by several votes.

    Args:
        judges: the members.
        samples: votes of each member; several show how consistent a judge is.
        combine: `vote`: the outcome of more than half of the valid votes, else a tie. `mean`: a win if the mean of the
            votes (win 1, tie 0.5, loss 0) is above a half, a loss if it is below.
    """

    def __init__(self, judges: Sequence[PairwiseJudge], *, samples: int = 1, combine: Combination = "vote") -> None:
        self.judges = judges
        self.samples = samples
        self.combine: Combination = combine

    async def compare(self, prompt: PromptRow, *, response: str, reference: str, step: int) -> Verdict:
        """The panel's verdict on `response` against `reference`.

        Raises:
            BadInputError: an endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        votes = await ask_all(
            judge.compare(prompt, response=response, reference=reference, step=step, sample=sample)
            for judge in self.judges
            for sample in range(self.samples)
        )
        return combine_replies(votes, majority if self.combine == "vote" else mean_outcome)


def ask_pairwise(prompt: PromptRow, *, text_a: str, text_b: str, tag: str, wording: Wording | None = None) -> str:
    """The message that asks a judge to compare two texts."""
    wording = wording or load_wording()
    language = wording.language_of(prompt.request)
    criteria = criteria_text(prompt, language)
    measure = pairwise_measure(wording, language, has_criteria=bool(criteria))
    parts = [
        wording.text("pairwise.role", language),
        *fence_prompt(prompt, criteria, tag=tag),
        fence("TEXT A", text_a, tag=tag),
        fence("TEXT B", text_b, tag=tag),
        wording.text("pairwise.task", language).format(measure=measure),
    ]
    return "\n\n".join(parts)


def pairwise_measure(wording: Wording, language: Language, *, has_criteria: bool) -> str:
    """What texts are compared by: the prompt's criteria, else the dimensions of a grade."""
    if has_criteria:
        return wording.text("pairwise.by_criteria", language)
    dimensions = wording.table("pointwise.dimensions", language)
    is_chinese = language == "zh" and language in wording.languages("pairwise.weigh")
    entry, joint = ("{}（{}）", "；") if is_chinese else ("{} ({})", "; ")
    return wording.text("pairwise.weigh", language).format(
        dimensions=joint.join(entry.format(name, meaning) for name, meaning in dimensions.items())
    )


def combine_orders(first: Verdict, second: Verdict) -> Verdict:
    """The verdicts of both orders as one: agreement decides, disagreement is a tie, one missing makes the pair missing."""
    calls = first.calls + second.calls
    orders = first.orders + second.orders
    cost = total_cost((first.cost, second.cost))
    if first.value is None or second.value is None:
        return JudgeReply(None, first.cause or second.cause, calls, cost, orders=orders)
    value = _OUTCOMES[agreed(WINNERS[first.value], WINNERS[second.value])]
    return JudgeReply(value, None, calls, cost, orders=orders)


def majority(outcomes: Sequence[WinTieLoss]) -> WinTieLoss:
    """The outcome of more than half of the votes, else a tie."""
    outcome, count = Counter(outcomes).most_common(1)[0]
    return outcome if 2 * count > len(outcomes) else "tie"


def mean_outcome(outcomes: Sequence[WinTieLoss]) -> WinTieLoss:
    """A win if there are more wins than losses, a loss if fewer, else a tie."""
    lead = outcomes.count("win") - outcomes.count("loss")
    return "win" if lead > 0 else "loss" if lead < 0 else "tie"


def vote_disagreement(votes: Sequence[WinTieLoss]) -> float | None:
    """Fraction of the valid votes that differ from the most common one; None for fewer than two."""
    if len(votes) < 2:
        return None
    return 1 - Counter(votes).most_common(1)[0][1] / len(votes)
