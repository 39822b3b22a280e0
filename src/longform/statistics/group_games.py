"""Games within a group of responses: who meets whom, and scores from their results.

Responses are numbered 0 to n - 1; fixed texts that they are compared with (anchors) follow from n on. A game says which
share of a win its first text got: 1, a half (a tie), 0, or anything in between; None if there is no verdict. A game without
a verdict is ignored. A response without any game has no score, and if fewer than two responses have a score, none has.

- `peer`: one response, drawn at random, is the opponent of all others (BRPO, arXiv 2506.00103). A win scores 1, a tie a
  half, a loss 0; the drawn response scores a half (ours).
- All other methods fit Bradley-Terry strengths. A score is the chance of beating an average text of the group:
  sigma(strength), where each text that played also has one tied game against a text of strength 0. That prior (ours)
  keeps strengths finite after a few games, and ranks two wins above one win.

Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

TIE = 0.5
PRIOR_GAMES = 1.0
"""Tied games of each text against one of strength 0."""
MIN_SCORED = 2
"""Minimum number of scored responses in a group; a single one could not be compared with another."""


ComparisonMethod = Literal["peer", "anchors", "list", "round-robin", "elimination"]
"""How the responses of a group are compared."""


class GroupGame(NamedTuple):
    """A game of a response against another response, or against an anchor."""

    first: int
    second: int
    share: float | None = None
    """Of a win, for `first`; None without a verdict."""


def peer_games(count: int, peer: int) -> list[GroupGame]:
    """Return the games of all others against `peer`: n - 1."""
    return [GroupGame(member, peer) for member in range(count) if member != peer]


def max_games(by: ComparisonMethod, count: int, *, anchors: int = 0) -> int:
    """Return the maximum number of games of a group; for `list`, the number of questions for one order of all texts."""
    if count < MIN_SCORED:
        return 0
    match by:
        case "peer":
            return count - 1
        case "anchors":
            return count * anchors
        case "list":
            return 1
        case "round-robin":
            return count * (count - 1) // 2
        case "elimination":  # n - 1 to seed; of the n - 1 of the bracket, one at least has been played then
            return 2 * count - 3


def anchor_games(count: int, anchors: int) -> list[GroupGame]:
    """Return the games of each response against each anchor: n x anchors."""
    return [GroupGame(member, count + anchor) for member in range(count) for anchor in range(anchors)]


def all_games(count: int) -> list[GroupGame]:
    """Return the games of all pairs: n (n - 1) / 2."""
    return [as_game(one, other) for one in range(count) for other in range(one + 1, count)]


def as_game(one: int, other: int) -> GroupGame:
    """Return the game of two responses. Each is `first` in about half of its games, so position bias favours no response."""
    low, high = min(one, other), max(one, other)
    return GroupGame(low, high) if (high - low) % 2 else GroupGame(high, low)


def seeded(count: int, peer: int, games: Iterable[GroupGame], *, drawn: Sequence[int]) -> list[int]:
    """Return the responses in the order in which they are seeded, by their games against `peer`.

    Args:
        count: Responses.
        peer: The opponent of all.
        games: Their results; a missing verdict counts as a tie, because every response needs a seed.
        drawn: [count] random order of the responses, which decides among equals.
    """
    shares = {game.first: game.share for game in games if game.second == peer}
    level = [TIE if (share := shares.get(member)) is None else share for member in range(count)]
    return sorted(range(count), key=lambda member: (-level[member], drawn.index(member)))


def first_round(order: Sequence[int]) -> list[int | None]:
    """Return the positions in a bracket, neighbours to meet: seed 1 can meet seed 2 only at the end.

    Args:
        order: Responses from the first seed to the last. The best seeds have a bye (None) where the number is no power of
            two.
    """
    seeds = [0]
    while len(seeds) < len(order):
        seeds = [seed for high in seeds for seed in (high, 2 * len(seeds) - 1 - high)]
    return [order[seed] if seed < len(order) else None for seed in seeds]


def round_games(bracket: Sequence[int | None]) -> list[GroupGame]:
    """Return the games of a round; a response with a bye has none."""
    pairs = zip(bracket[::2], bracket[1::2], strict=True)
    return [as_game(one, other) for one, other in pairs if one is not None and other is not None]


def next_round(bracket: Sequence[int | None], games: Iterable[GroupGame], *, order: Sequence[int]) -> list[int | None]:
    """Return the bracket of the next round. After a tie, or without a verdict, the better seed advances.

    Args:
        bracket: Of this round.
        games: Results of its pairs, whichever of the two is first; others are ignored.
        order: Responses from the first seed to the last.
    """
    shares: dict[tuple[int, int], float] = {}
    for first, second, share in games:
        if share is not None:
            shares |= {(first, second): share, (second, first): 1 - share}
    advancing: list[int | None] = []
    for one, other in zip(bracket[::2], bracket[1::2], strict=True):
        if one is None or other is None:
            advancing.append(other if one is None else one)
            continue
        better, worse = sorted((one, other), key=order.index)
        advancing.append(worse if shares.get((better, worse), TIE) < TIE else better)
    return advancing


def peer_scores(count: int, peer: int, games: Iterable[GroupGame]) -> list[float | None]:
    """Return the scores of a group whose responses played against one of them, [count]."""
    shares = {game.first: game.share for game in games}
    scores = [shares.get(member) for member in range(count)]
    if any(share is not None for share in shares.values()):
        scores[peer] = TIE
    return _if_enough(scores)


def strength_scores(count: int, games: Iterable[GroupGame]) -> list[float | None]:
    """Return the chance of each response to beat an average text, [count]; None for those without a game.

    Args:
        count: Responses; texts from this number on are anchors.
        games: Their results, several of a pair included.
    """
    # Recipes name the ways to compare; SciPy is loaded where one is used.
    from scipy.special import expit

    from longform.statistics.bradley_terry import Cells, fit

    played = [game for game in games if game.share is not None]
    texts = sorted({text for game in played for text in (game.first, game.second)})
    index = {text: number for number, text in enumerate(texts)}
    scores: list[float | None] = [None] * count
    if not played:
        return scores
    average = len(texts)  # an opponent of its own, whose strength is 0
    first = [index[game.first] for game in played] + list(range(average))
    second = [index[game.second] for game in played] + [average] * average
    weight = np.array([1.0] * len(played) + [PRIOR_GAMES] * average)
    share = np.array([game.share for game in played] + [TIE] * average)
    cells = Cells(np.array(first), np.array(second))
    strengths = fit(cells, weight[:, None], (weight * share)[:, None], models=average + 1, fixed={average: 0.0}).models[
        :average, 0
    ]
    for text, chance in zip(texts, expit(strengths).tolist(), strict=True):
        if text < count:
            scores[text] = chance
    return _if_enough(scores)


class ListedOrder(NamedTuple):
    """An order of some responses, as a judge was asked for it and gave it."""

    asked: tuple[int, ...]
    """The responses that it saw."""
    order: tuple[tuple[int, ...], ...] | None
    """From the best to the worst, equals together; those that it left out are not in it. None without an answer."""


def order_games(orders: Iterable[ListedOrder]) -> list[GroupGame]:
    """Return the games that orders amount to: one for each two responses that an order placed."""
    games: list[GroupGame] = []
    for _, order in orders:
        placed = [(member, level) for level, equals in enumerate(order or ()) for member in equals]
        games += [
            GroupGame(one, other, TIE if level == lower else 1.0)
            for number, (one, level) in enumerate(placed)
            for other, lower in placed[number + 1 :]
        ]
    return games


def list_scores(count: int, orders: Sequence[ListedOrder]) -> list[float | None]:
    """Return the scores of responses from orders of them, [count].

    A response has a score if more than half of the orders that were asked about it placed it, as a panel has a verdict if
    more than half of its votes came in.
    """
    placed = [{member for equals in it.order or () for member in equals} for it in orders]
    asked = [sum(member in it.asked for it in orders) for member in range(count)]
    found = [sum(member in some for some in placed) for member in range(count)]
    scores = strength_scores(count, order_games(orders))
    known = [score if 2 * of > all_ else None for score, of, all_ in zip(scores, found, asked, strict=True)]
    return _if_enough(known)


def sub_groups(
    order: Sequence[int], sizes: Sequence[float], *, room: float, max_texts: int, shared: int = 2
) -> list[list[int]]:
    """Split texts that do not fit into one question into sub-groups that do, each sharing texts with the one before.

    Args:
        order: The responses, in the order in which they are taken.
        sizes: Size of each response, by its number.
        room: Largest sum of sizes.
        max_texts: Maximum number of texts of a sub-group, at least 2.
        shared: Texts that a sub-group has from the one before, if they fit; at least one.

    Returns:
        The sub-groups, of at least two texts each. A text that fits beside no other is in none.
    """

    def fits(texts: Sequence[int]) -> bool:
        return len(texts) <= max_texts and sum(sizes[text] for text in texts) <= room

    if len(order) > 1 and fits(order):
        return [list(order)]
    smallest = min(order, key=lambda it: sizes[it], default=0)
    placeable = [text for text in order if text == smallest or fits([smallest, text])]
    if len(placeable) < 2:
        return []
    groups: list[list[int]] = []
    current: list[int] = []
    for text in placeable:
        if text == smallest and any(smallest in group for group in (*groups, current)):
            continue
        if fits([*current, text]):
            current.append(text)
            continue
        least = min(current, key=lambda it: sizes[it])
        kept = current[-shared:] if len(current) > shared < max_texts else current[-1:]
        joint = next((it for it in (kept, [least]) if fits([*it, text])), None)
        if len(current) > 1:
            groups.append(current)
        if joint is None:  # the smallest text, which fits beside every other, joins both
            groups.append([least, smallest])
            joint = [smallest]
        current = [*joint, text]
    if len(current) > 1:
        groups.append(current)
    return groups


def _if_enough(scores: list[float | None]) -> list[float | None]:
    """Return no scores where fewer than two responses have one."""
    return scores if sum(score is not None for score in scores) >= MIN_SCORED else [None] * len(scores)
