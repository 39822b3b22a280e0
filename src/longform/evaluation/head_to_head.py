"""Two writers on the same held-out prompts, compared by an examiner in both orders.

Each order is a game of its own, so a judge that always favours the first text gives both writers half. A game without its
other order would let that favour count, so it is kept apart. The win rate counts ties half; its interval is a bootstrap over
prompts, since the two games of a prompt are one piece of evidence.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from longform.endpoints.concurrency import map_bounded
from longform.judging.pairwise import WINNERS, PairwiseJudge
from longform.records.schemas import GAME_SCORES, ORDERS, Game, Order, PromptRow
from longform.statistics.bootstrap import Interval, clustered_interval


@dataclass(slots=True)
class HeadToHead:
    """The games of two writers, and what is missing."""

    games: list[Game] = field(default_factory=list)
    """Of prompts with a verdict in both orders."""
    alone: list[Game] = field(default_factory=list)
    """Verdicts whose other order has none: no outcome."""
    no_verdict: Counter[str] = field(default_factory=Counter)
    """Comparisons that got none, by cause."""


async def compare_writers(
    prompts: Sequence[PromptRow],
    texts_a: Mapping[str, str],
    texts_b: Mapping[str, str],
    examiner: Callable[[Literal["first", "second"]], PairwiseJudge],
    *,
    model_a: str,
    model_b: str,
    workers: int = 16,
    on_progress: Callable[[int, int], None] | None = None,
) -> HeadToHead:
    """Play two games on every prompt.

    Args:
        prompts: the held-out prompts.
        texts_a: writer a's response by prompt id.
        texts_b: writer b's.
        examiner: gives the judge that reads writer a's text in the position named.
        model_a: name of writer a in the games.
        model_b: name of writer b.
        workers: comparisons under way at once.
        on_progress: called with (done, total).
    """
    judges: dict[Order, PairwiseJudge] = {"ab": examiner("first"), "ba": examiner("second")}
    played: dict[tuple[int, Order], Game] = {}
    result = HeadToHead()
    pairings: list[tuple[int, Order]] = [(i, order) for i in range(len(prompts)) for order in judges]

    async def play(pairing: tuple[int, Order]) -> None:
        i, order = pairing
        prompt, judge = prompts[i], judges[order]
        verdict = await judge.compare(prompt, response=texts_a[prompt.id], reference=texts_b[prompt.id], step=0)
        if verdict.value is None:
            result.no_verdict[str(verdict.cause)] += 1
        else:
            played[pairing] = Game(
                prompt_id=prompt.id,
                model_a=model_a,
                model_b=model_b,
                winner=WINNERS[verdict.value],
                order=order,
                judge=judge.endpoint.name,
            )
        if on_progress is not None:
            on_progress(len(played) + result.no_verdict.total(), len(pairings))

    await map_bounded(pairings, play, workers=workers)
    result.games, result.alone = split_pairs([played[pairing] for pairing in pairings if pairing in played])
    return result


def win_rate(games: Sequence[Game], *, seed: int = 0) -> Interval:
    """Win rate of `model_a`, ties half, with a 95% interval clustered by prompt.

    Raises:
        ValueError: there are no games.
    """
    scores = [GAME_SCORES[game.winner] for game in games]
    return clustered_interval(scores, [game.prompt_id for game in games], seed=seed)


def split_pairs(games: Sequence[Game]) -> tuple[list[Game], list[Game]]:
    """The games whose pair of texts was decided in both orders, and those that are alone, each in their order."""
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
