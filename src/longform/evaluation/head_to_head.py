"""Two writers on the same held-out prompts, compared by an examiner in both orders.

Each order is a game of its own, so a judge that always favours the first text gives both writers half. A game without its
other order would let that bias count, so it is kept apart. The win rate counts ties half; its interval is a bootstrap over
prompts, since the two games of a prompt are one piece of evidence.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longform.endpoints.concurrency import map_bounded
from longform.judging.both_orders import split_pairs
from longform.judging.pairwise import WINNERS, PairwiseJudge
from longform.records.progress import Progress
from longform.records.schemas import GAME_SCORES, ORDERS, Game, Order, PromptRow
from longform.statistics.bootstrap import Interval, clustered_interval


@dataclass(slots=True)
class HeadToHead:
    """The games of two writers, and the missing verdicts."""

    games: list[Game] = field(default_factory=list)
    """Of prompts with a verdict in both orders."""
    alone: list[Game] = field(default_factory=list)
    """Verdicts without the other order; they are no outcome."""
    no_verdict: Counter[str] = field(default_factory=Counter)
    """Comparisons without a verdict, by cause."""


async def compare_writers(
    prompts: Sequence[PromptRow],
    texts_a: Mapping[str, str],
    texts_b: Mapping[str, str],
    examiner: PairwiseJudge,
    *,
    model_a: str,
    model_b: str,
    workers: int = 16,
    on_progress: Progress | None = None,
) -> HeadToHead:
    """Play two games on every prompt.

    Args:
        prompts: the held-out prompts.
        texts_a: writer a's response by prompt id.
        texts_b: writer b's.
        examiner: the judge; both orders are asked for, whatever its `position`.
        model_a: name of writer a in the games.
        model_b: name of writer b.
        workers: concurrent comparisons.
        on_progress: called with (done, total).
    """
    played: dict[tuple[int, Order], Game] = {}
    result = HeadToHead()
    pairings: list[tuple[int, Order]] = [(i, order) for i in range(len(prompts)) for order in ORDERS]

    async def play(pairing: tuple[int, Order]) -> None:
        i, order = pairing
        prompt = prompts[i]
        verdict = await examiner.compare_in_order(
            prompt, response=texts_a[prompt.id], reference=texts_b[prompt.id], order=order, step=0
        )
        if verdict.value is None:
            result.no_verdict[str(verdict.cause)] += 1
        else:
            played[pairing] = Game(
                prompt_id=prompt.id,
                model_a=model_a,
                model_b=model_b,
                winner=WINNERS[verdict.value],
                order=order,
                judge=examiner.endpoint.name,
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
