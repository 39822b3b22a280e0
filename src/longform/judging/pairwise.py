"""The pairwise judge: does a response beat its reference?

A judge that cannot be heard (an error, a refusal, a time-out, an answer without a verdict) makes no loser: the verdict has
no outcome and says why.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from longform.endpoints.client import Endpoint
from longform.judging.answers import parse_verdict
from longform.judging.asking import total_cost
from longform.judging.both_orders import agreed, in_order, winner_of
from longform.judging.questioner import Questioner
from longform.judging.templates import ask_pairwise
from longform.records.schemas import ORDERS, Order, PromptRow, Winner

Position = Literal["first", "second", "both"]
WinTieLoss = Literal["win", "tie", "loss"]
OUTCOMES: tuple[WinTieLoss, ...] = get_args(WinTieLoss)
WINNERS: dict[WinTieLoss, Winner] = {"win": "a", "tie": "tie", "loss": "b"}
"""Who wins a game in which the response is text a and the reference is text b."""

_OUTCOMES: dict[Winner, WinTieLoss] = {winner: outcome for outcome, winner in WINNERS.items()}
_ORDERS: dict[Position, tuple[Order, ...]] = {"first": ("ab",), "second": ("ba",), "both": ORDERS}
"""With the response as text a."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's outcome for (response, reference)."""

    outcome: WinTieLoss | None
    """None: no verdict."""
    cause: str | None = None
    """Why there is no verdict: a cause of `EndpointError`, `no_verdict`, `cut_off` or `too_long`."""
    calls: tuple[str, ...] = ()
    """Request hashes of the answers behind it."""
    cost: float | None = 0.0
    """What those answers cost, also if another request paid for them; None where it is not known."""
    votes: tuple[WinTieLoss, ...] = ()
    """Of a panel: the votes that were heard."""
    unheard: int = 0
    """Of a panel: votes that did not come in."""
    first_vote: WinTieLoss | None = None
    """Of a panel: that of its first member; None where it was not heard."""

    @property
    def disagreement(self) -> float | None:
        """Share of a panel's votes against the most common one; None where fewer than two were heard."""
        if len(self.votes) < 2:
            return None
        return 1 - Counter(self.votes).most_common(1)[0][1] / len(self.votes)


class PairwiseJudge(Questioner):
    """Asks a model which of two texts is better.

    Args:
        endpoint: the judge.
        position: where the response stands. `both` asks twice: agreement decides, disagreement is a tie, and one
            missing verdict is no verdict.
        secret: the run's, behind the tags of the fences.
        retries: how often to ask again after an answer without a verdict.

    Raises:
        BadInputError: the endpoint has a template of its own, which is not used here.
    """

    def __init__(self, endpoint: Endpoint, *, position: Position = "second", secret: bytes, retries: int = 1) -> None:
        super().__init__(endpoint, secret=secret, retries=retries)
        self.position: Position = position

    async def compare(self, prompt: PromptRow, *, response: str, reference: str, step: int, sample: int = 0) -> Verdict:
        """The verdict on `response` against `reference`; `sample` numbers several verdicts on one pair.

        Raises:
            BadInputError: the endpoint needs mending.
            StoppedError: the budget is spent.
        """
        verdicts = await asyncio.gather(
            *(
                self.compare_in_order(
                    prompt, response=response, reference=reference, order=it, step=step, sample=sample
                )
                for it in _ORDERS[self.position]
            )
        )
        return verdicts[0] if len(verdicts) == 1 else _combine(*verdicts)

    async def compare_in_order(
        self, prompt: PromptRow, *, response: str, reference: str, order: Order, step: int, sample: int = 0
    ) -> Verdict:
        """The verdict of one order, whatever the judge's `position`: `ab` reads the response first.

        Raises:
            BadInputError: the endpoint needs mending.
            StoppedError: the budget is spent.
        """
        text_a, text_b = in_order(response, reference, order)
        message = ask_pairwise(prompt, text_a=text_a, text_b=text_b, tag=self._tag(prompt.id, step))
        asked = await self._ask(message, parse_verdict, nothing="no_verdict", sample=sample)
        outcome = None if asked.found is None else _OUTCOMES[winner_of(asked.found, order)]
        return Verdict(outcome, asked.cause, asked.calls, asked.cost)


def _combine(first: Verdict, second: Verdict) -> Verdict:
    """Two orders, one verdict."""
    calls = first.calls + second.calls
    cost = total_cost((first.cost, second.cost))
    if first.outcome is None or second.outcome is None:
        return Verdict(None, first.cause or second.cause, calls, cost)
    return Verdict(_OUTCOMES[agreed(WINNERS[first.outcome], WINNERS[second.outcome])], None, calls, cost)
