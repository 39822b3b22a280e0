"""Two writers on the same held-out prompts, compared by an examiner in both orders.

Each order is a separate game, so a judge that always prefers the first text gives both writers half. A game without its
other order would let that bias count, so it is excluded. Win rates count ties half; intervals are a bootstrap over
prompts, because the two games of a prompt are one piece of evidence.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longform.endpoints.concurrency import map_bounded
from longform.judging.pairwise import WINNERS, PairwiseJudge, split_pairs
from longform.records.progress import Progress
from longform.records.schemas import GAME_SCORES, ORDERS, Game, Order, PromptRow
from longform.statistics.bootstrap import Interval, clustered_interval


@dataclass(slots=True)
class HeadToHead:
    """Games of two writers, and the missing verdicts."""

    games: list[Game] = field(default_factory=list)
    """Games of prompts with verdicts in both orders."""
    alone: list[Game] = field(default_factory=list)
    """Verdicts without the other order, which are not counted."""
    no_verdict: Counter[str] = field(default_factory=Counter)
    """Missing verdicts by cause."""


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
        prompts: Held-out prompts.
        texts_a: Writer a's responses by prompt id.
        texts_b: Writer b's responses by prompt id.
        examiner: The judge; queried in both orders, whatever its `position`.
        model_a: Name of writer a in the games.
        model_b: Name of writer b.
        workers: Number of concurrent comparisons.
        on_progress: Called with (done, total).
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
                calls=verdict.calls,
            )
        if on_progress is not None:
            on_progress(len(played) + result.no_verdict.total(), len(pairings))

    await map_bounded(pairings, play, workers=workers)
    result.games, result.alone = split_pairs([played[pairing] for pairing in pairings if pairing in played])
    return result


def win_rate(games: Sequence[Game], *, seed: int = 0) -> Interval:
    """Return the win rate of `model_a`, ties half, with a 95% interval clustered by prompt.

    Raises:
        ValueError: there are no games.
    """
    scores = [GAME_SCORES[game.winner] for game in games]
    return clustered_interval(scores, [game.prompt_id for game in games], seed=seed)
