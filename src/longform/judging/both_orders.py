"""Two texts, a and b, judged in both orders: which one is read first, what the answer then means, and one outcome of both.

A single order says as much about the judge's position bias as about the texts.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

from longform.judging.answers import Letter
from longform.records.schemas import ORDERS, Game, Order, Winner

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

    A game whose other order was asked for and has no verdict is no outcome.
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
