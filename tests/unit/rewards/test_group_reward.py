"""The group reward: each `by` against an independent plain implementation, and what a missing verdict, an empty text, and a
text that is too long do.
"""

import asyncio
import math
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from longform.judging.judge import JudgeReply
from longform.records.errors import StoppedError
from longform.records.schemas import Ladder, Prompt, PromptRow, Reference
from longform.rewards.judged_group import ALONE, NOT_PLACED, JudgedGroupReward, anchor_texts
from longform.rewards.reward import PromptVisit, RewardResult
from longform.rewards.reward_set import ArrivingGroup, RewardSet, have_spread, score_groups
from longform.statistics.group_games import GroupGame, first_round, max_games, strength_scores, sub_groups
from longform.text.structure import parse_response

GROUPS = 1000
"""Random groups for each `by`."""
SHARES = {"win": 1.0, "tie": 0.5, "loss": 0.0}
LADDER = Ladder(
    id="p",
    prompt="Write.",
    references=[Reference(model=f"m{n}", text=f"anchor {n}", score=n) for n in range(4)],
    policy_score=0,
    potential=3,
)


class TablePanel:
    """Compares two texts by a table of verdicts, from the point of view of the response; None is missing."""

    combine = "vote"

    def __init__(self, table):
        self.table, self.asked = table, []

    async def compare(self, prompt, *, response, reference, step):
        self.asked.append((response, reference))
        value = self.table[response, reference]
        call = f"{response}|{reference}"
        return JudgeReply(value, None if value else "timeout", (call,), 2.0, orders=("ba",))


class TableLists:
    """Orders texts by their levels, and leaves out those without one; a list that has a text of `mute` has no answer."""

    def __init__(self, levels, *, mute=(), room=math.inf):
        self.levels, self.mute, self._room, self.asked = levels, mute, room, []

    async def room(self, prompt):
        return self._room

    async def order(self, prompt, texts, *, step, sample=0):
        self.asked.append(tuple(texts))
        levels: list[Any] = [(self.levels[sample][text], place) for place, text in enumerate(texts)]
        known = sorted({level for level, _ in levels if level is not None})
        order = tuple(tuple(place for at, place in levels if at == level) for level in known)
        calls = (f"{sample}/{len(self.asked)}",)
        if sample in self.mute or sum(map(len, order)) < 2:
            return JudgeReply(None, "no_verdict", calls, 4.0)
        return JudgeReply(order, None, calls, 4.0)


def _score(by, panel, texts, *, lists=(), prompt: PromptRow = LADDER, step=1, rung=1, **settings):
    reward = JudgedGroupReward(by, panel, lists=lists, **settings)
    reference = prompt.references[rung].text if isinstance(prompt, Ladder) else ""
    visit = PromptVisit(prompt, reference, rung, step)
    return asyncio.run(reward.score_group(visit, [parse_response(it, "off") for it in texts]))


def _values(results) -> list[float]:
    """The scores of a group that has them all."""
    return [float(it.score) for it in results]


def _table(draw, texts, others=()):
    """Verdicts of every pair, a fifth of them missing, consistent in both directions."""
    table = {}
    turned = {"win": "loss", "loss": "win", "tie": "tie", None: None}
    for one in texts:
        for other in [*texts, *others]:
            if one != other and (one, other) not in table:
                table[one, other] = draw.choice(["win", "loss", "win", "loss", "tie", None])
                table[other, one] = turned[table[one, other]]
    return table


def _plain_strengths(count, wins):
    """Penalised likelihood by Newton's method on a dense matrix of wins, [texts, texts], ties as halves: a text that played
    also has one tied game with a text of strength 0, and each pair that met a tied game of weight 0.001.
    """
    games = wins + wins.T
    wins = wins + 0.0005 * (games > 0)
    games = wins + wins.T
    alive = np.flatnonzero(games.sum(1) > 0)
    wins, games = wins[np.ix_(alive, alive)], games[np.ix_(alive, alive)]
    prior = 1.0 + 0.001
    x = np.zeros(len(alive))
    for _ in range(60):
        p = 1 / (1 + np.exp(x[None, :] - x[:, None]))  # of row over column
        q = 1 / (1 + np.exp(-x))
        slope = (wins - games * p).sum(1) + prior * (0.5 - q)
        curve = games * p * (1 - p)
        hessian = np.diag(curve.sum(1) + prior * q * (1 - q)) - curve
        move = np.linalg.solve(hessian, slope)
        x = x + move * min(1.0, 1.0 / max(np.abs(move).max(initial=0.0), 1e-12))
        if np.abs(move).max(initial=0.0) < 1e-11:
            break
    scores = {int(text): float(1 / (1 + np.exp(-value))) for text, value in zip(alive, x, strict=True)}
    found = [scores.get(place) for place in range(count)]
    return found if sum(it is not None for it in found) >= 2 else [None] * count


def _close(results, expected):
    return all(
        (it.score is None and wanted is None)
        or (it.score is not None and wanted is not None and abs(it.score - wanted) < 1e-6)
        for it, wanted in zip(results, expected, strict=True)
    )


def _groups(seed):
    draw = random.Random(seed)
    for number in range(GROUPS):
        count = draw.randrange(2, 8)
        yield draw, number, [f"text {place}" for place in range(count)]


def test_peer_is_a_win_a_tie_or_a_loss_against_one_response():
    peers = set()
    for draw, number, texts in _groups(1):
        panel = TablePanel(_table(draw, texts))
        results = _score("peer", panel, texts, step=number)
        (peer,) = {reference for _, reference in panel.asked}
        peers.add(peer)
        assert sorted(response for response, _ in panel.asked) == sorted(set(texts) - {peer})
        verdicts = {text: panel.table[text, peer] for text in texts if text != peer}
        expected = [SHARES.get(verdicts[text]) if text != peer else 0.5 for text in texts]
        heard = sum(it is not None for it in verdicts.values())
        assert _close(results, expected if heard else [None] * len(texts))
        assert len(panel.asked) == max_games("peer", len(texts))
    assert len(peers) > 5, "another one each time"


def test_anchors_are_the_rungs_around_the_current_one():
    for draw, _, texts in _groups(2):
        rung, width = draw.randrange(4), draw.randrange(3)
        rungs = [it for it in range(4) if abs(it - rung) <= width]
        anchors = [f"anchor {it}" for it in rungs]
        panel = TablePanel(_table(draw, texts, anchors))
        results = _score("anchors", panel, texts, rung=rung, anchors=width)
        wins = np.zeros((len(texts) + len(anchors),) * 2)
        for row, text in enumerate(texts):
            for place, anchor in enumerate(anchors):
                if (verdict := panel.table[text, anchor]) is not None:
                    wins[row, len(texts) + place] += SHARES[verdict]
                    wins[len(texts) + place, row] += 1 - SHARES[verdict]
        assert _close(results, _plain_strengths(len(texts), wins))
        assert [it.outcome for it in results] == [panel.table[text, f"anchor {rung}"] for text in texts]
        assert len(panel.asked) == max_games("anchors", len(texts), anchors=len(anchors))


def test_round_robin_is_every_pair_once_with_each_in_both_places():
    for draw, _, texts in _groups(3):
        panel = TablePanel(_table(draw, texts))
        results = _score("round-robin", panel, texts)
        wins = np.zeros((len(texts), len(texts)))
        for i, one in enumerate(texts):
            for j, other in enumerate(texts):
                if i < j and (verdict := panel.table[one, other]) is not None:
                    wins[i, j], wins[j, i] = SHARES[verdict], 1 - SHARES[verdict]
        assert _close(results, _plain_strengths(len(texts), wins))
        assert (
            len({frozenset(pair) for pair in panel.asked}) == len(panel.asked) == max_games("round-robin", len(texts))
        )
        as_response = [sum(response == text for response, _ in panel.asked) for text in texts]
        assert max(as_response) - min(as_response) <= 1 + len(texts) % 2


def _plain_elimination(texts, panel, *, step):
    """Seeds by a round against one peer; in a round of m slots, slot s meets slot m - 1 - s."""
    draw = random.Random(f"0/{step}/p/elimination")
    count = len(texts)
    peer, drawn = draw.randrange(count), draw.sample(range(count), count)
    played = {}

    def result(one, other):
        value = panel.table[texts[one], texts[other]]
        share = None if value is None else SHARES[value]
        played[min(one, other), max(one, other)] = share if one < other or share is None else 1 - share
        return share

    def level(one):
        return 0.5 if one == peer else 0.5 if (share := result(one, peer)) is None else share

    seeds = sorted(range(count), key=lambda one: (-level(one), drawn.index(one)))
    slots = dict(enumerate(seeds))
    size = 1
    while size < count:
        size *= 2
    while size > 1:
        for slot in range(size // 2):
            rival = slots.pop(size - 1 - slot, None)
            if rival is None:
                continue
            better, worse = sorted((slots[slot], rival), key=seeds.index)
            share = result(better, worse)
            slots[slot] = worse if share is not None and share < 0.5 else better
        size //= 2
    wins = np.zeros((count, count))
    for (one, other), share in played.items():
        if share is not None:
            wins[one, other], wins[other, one] = share, 1 - share
    return _plain_strengths(count, wins), len(played)


def test_elimination_is_a_seeded_bracket_in_which_no_two_meet_twice():
    most = 0
    for draw, number, texts in _groups(4):
        panel = TablePanel(_table(draw, texts))
        results = _score("elimination", panel, texts, step=number)
        asked = {frozenset(pair) for pair in panel.asked}
        expected, played = _plain_elimination(texts, panel, step=number)
        assert len(asked) == len(panel.asked) == played <= max_games("elimination", len(texts))
        most += len(asked) == max_games("elimination", len(texts))
        assert _close(results, expected)
    assert most > 100, "the bound is reached"


def test_a_list_counts_as_a_game_between_each_two_of_its_texts():
    for draw, number, texts in _groups(5):
        samples = draw.randrange(1, 4)
        levels: list[dict[str, Any]] = [
            {text: draw.choice([0, 1, 2, 3, None]) for text in texts} for _ in range(samples)
        ]
        mute = [sample for sample in range(samples) if draw.random() < 0.2]
        lists = TableLists(levels, mute=mute)
        results = _score("list", None, texts, lists=[lists], samples=samples, step=number)
        wins, heard = np.zeros((len(texts), len(texts))), np.zeros(len(texts))
        for sample, of_sample in enumerate(levels):
            placed = [place for place, text in enumerate(texts) if of_sample[text] is not None]
            if sample in mute or len(placed) < 2:
                continue
            heard[placed] += 1
            for i in placed:
                for j in placed:
                    if i < j:
                        a, b = of_sample[texts[i]], of_sample[texts[j]]
                        share = 0.5 if a == b else float(a < b)
                        wins[i, j] += share
                        wins[j, i] += 1 - share
        scores = _plain_strengths(len(texts), wins)
        known = [score if of > samples / 2 else None for score, of in zip(scores, heard, strict=True)]
        assert _close(results, known if sum(it is not None for it in known) > 1 else [None] * len(texts))
        assert [sorted(it) for it in lists.asked] == [sorted(texts)] * samples


def test_each_sample_of_a_list_has_a_shuffle_of_its_own_that_repeats_itself():
    texts = [f"text {place}" for place in range(6)]
    levels = [dict.fromkeys(texts, 0)] * 8
    asked = []
    for _ in range(2):
        lists = TableLists(levels)
        _score("list", None, texts, lists=[lists], samples=8)
        asked.append(lists.asked)
    assert asked[0] == asked[1]
    assert len(set(asked[0])) > 6


def test_a_text_that_an_order_leaves_out_is_missing_and_loses_nothing():
    lists = TableLists([{"a": 0, "b": 1, "c": None}])
    found = _score("list", None, ["a", "b", "c"], lists=[lists])
    assert (found[2].score, found[2].cause, found[2].calls) == (None, NOT_PLACED, ("0/1",))
    assert found[2].cost == pytest.approx(4 / 3)
    best, worst = _values(found[:2])
    assert best > 0.5 > worst and best + worst == pytest.approx(1)


def test_a_list_that_is_too_long_is_split_into_lists_that_share_texts():
    texts = [f"text {place} " + "word " * 100 for place in range(7)]
    levels = [{text.strip(): place for place, text in enumerate(texts)}]
    lists = TableLists(levels, room=3 * 200)
    results = _score("list", None, texts, lists=[lists])
    assert len(lists.asked) > 2 and max(map(len, lists.asked)) == 3
    for one, other in pairwise(lists.asked):
        assert set(one) & set(other)
    scores = _values(results)
    pairs = [(one, other) for place, one in enumerate(scores) for other in scores[place + 1 :]]
    assert sum(one > other for one, other in pairs) > 0.8 * len(pairs)


def test_texts_that_fit_beside_no_other_are_missing_before_any_call():
    lists = TableLists([{}], room=10)
    results = _score("list", None, ["a " * 50, "b " * 50], lists=[lists])
    assert [(it.score, it.cause) for it in results] == [(None, "too_long")] * 2
    assert lists.asked == []


@pytest.mark.parametrize("by", ["peer", "anchors", "round-robin", "elimination"])
def test_a_judge_that_says_nothing_leaves_a_group_without_scores(by):
    class Silent(dict):
        def __missing__(self, key):
            return None

    results = _score(by, TablePanel(Silent()), ["a", "b", "c"])
    assert [(it.score, it.cause, it.outcome) for it in results] == [(None, "timeout", None)] * 3
    assert all(it.calls for it in results)


def test_an_empty_response_loses_without_a_question():
    panel = TablePanel({("a", "b"): "win", ("b", "a"): "loss"})
    results = _score("round-robin", panel, ["", "a", "b"])
    assert results[0] == RewardResult(0.0)
    _, winner, loser = _values(results)
    assert winner > 0.5 > loser > 0
    assert len(panel.asked) == 1


def test_one_written_response_needs_no_question():
    results = _score("round-robin", TablePanel({}), ["", "a", ""])
    assert [it.score for it in results] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("by", ["peer", "anchors", "list", "round-robin", "elimination"])
def test_fewer_than_two_responses_have_no_score_and_are_no_loss(by):
    for texts in (["a"], [""], []):
        results = _score(by, TablePanel({}), texts, lists=[TableLists([{}])], promotes_best=by != "anchors")
        assert [(it.score, it.cause, it.outcome) for it in results] == [(None, ALONE, None)] * len(texts)


def test_each_call_is_charged_once_and_recorded_with_both_responses():
    panel = TablePanel({("a", "b"): "win", ("b", "a"): "loss"})
    results = _score("round-robin", panel, ["a", "b"])
    assert [it.cost for it in results] == [1.0, 1.0]
    assert results[0].calls == results[1].calls and len(results[0].calls) == 1


def test_the_best_response_alone_faces_the_reference_where_it_promotes():
    table = {("a", "b"): "win", ("b", "a"): "loss", ("a", "anchor 2"): "win"}
    panel = TablePanel(table)
    results = _score("round-robin", panel, ["a", "b"], rung=2, promotes_best=True)
    assert [it.outcome for it in results] == ["win", None]
    assert [pair for pair in panel.asked if "anchor" in pair[1]] == [("a", "anchor 2")]
    assert "a|anchor 2" in results[0].calls and results[0].cost == 3.0 and results[1].cost == 1.0
    silent = TablePanel(table | {("a", "anchor 2"): None})
    results = _score("round-robin", silent, ["a", "b"], rung=2, promotes_best=True)
    assert [it.outcome for it in results] == [None, None] and results[0].score is not None
    assert _score("round-robin", panel, ["a", "b"], prompt=Prompt(id="p", prompt="Write."), promotes_best=True)


def test_above_the_ladder_the_last_references_are_below():
    assert anchor_texts(PromptVisit(LADDER, "own", 4, 1), width=1) == {3: "anchor 3", 4: "own"}
    assert anchor_texts(PromptVisit(LADDER, "own", 9, 1), width=2) == {2: "anchor 2", 3: "anchor 3", 9: "own"}
    assert anchor_texts(PromptVisit(LADDER, "anchor 0", 0, 1), width=1) == {0: "anchor 0", 1: "anchor 1"}


def test_a_bracket_keeps_the_first_two_seeds_apart_and_gives_byes_to_the_best():
    assert first_round([10, 11, 12, 13, 14]) == [10, None, 13, 14, 11, None, 12, None]
    assert first_round([3]) == [3]


def test_strength_tells_a_winner_of_two_from_one_that_won_and_lost():
    scores: list[Any] = strength_scores(4, [GroupGame(0, 1, 1.0), GroupGame(1, 2, 1.0), GroupGame(0, 3, 1.0)])
    assert scores[0] > scores[1] > scores[3] > scores[2]


def test_random_lists_are_split_into_joined_parts_that_fit():
    draw = random.Random(7)
    for _ in range(500):
        count, most = draw.randrange(2, 12), draw.randrange(2, 6)
        sizes = [draw.randrange(1, 10) for _ in range(count)]
        room = draw.randrange(2, 30)
        order = draw.sample(range(count), count)
        parts = sub_groups(order, sizes, room=room, max_texts=most)
        assert all(2 <= len(part) <= most and sum(sizes[it] for it in part) <= room for part in parts)
        assert all(set(one) & set(other) for one, other in pairwise(parts))
        placeable = {it for it in order for other in order if it != other and sizes[it] + sizes[other] <= room}
        assert set().union(*parts) == placeable, "a text is left out only if it fits beside no other"
        if count <= most and sum(sizes) <= room:
            assert parts == [order]


# Whole groups among the other rewards.


class Fixed:
    """Worth what a table says of a text, or missing."""

    def __init__(self, scores):
        self.scores = scores

    async def score(self, prompt, *, response, reference, step):
        score = self.scores[response.answer]
        if isinstance(score, Exception):
            raise score
        return RewardResult(score, cause=None if score is not None else "timeout")


class Counting:
    """Gives each response its place, and keeps what it saw."""

    def __init__(self):
        self.seen = []

    async def score_group(self, visit, responses):
        self.seen.append([it.answer for it in responses])
        return [RewardResult(place / 10, calls=(visit.prompt.id,)) for place in range(len(responses))]


def _with_groups(scores, *, flat_only=False):
    counting = Counting()
    rewards = RewardSet({"length": Fixed(scores)}, groups={"group": counting}, flat_groups_only=flat_only)
    return rewards, counting


def _arriving(rewards, texts, order) -> list[Any]:
    async def scored():
        group = ArrivingGroup(rewards, PromptVisit(LADDER, "anchor 1", 1, 1), len(texts))
        tasks = {}
        for place in order:
            tasks[place] = asyncio.create_task(group.score(place, parse_response(texts[place], "off")))
            await asyncio.sleep(0)
        return await asyncio.gather(*(tasks[place] for place in range(len(texts))), return_exceptions=True)

    return asyncio.run(scored())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_group_is_judged_when_its_last_response_is_there_in_the_order_of_its_rows(order):
    rewards, counting = _with_groups({"a": 0.1, "b": 0.2, "c": 0.3})
    found = _arriving(rewards, ["a", "b", "c"], order)
    assert counting.seen == [["a", "b", "c"]]
    assert [it["group"].score for it in found] == [0.0, 0.1, 0.2]
    assert [it["length"].score for it in found] == [0.1, 0.2, 0.3]


def test_a_response_without_a_score_of_another_reward_takes_no_part():
    rewards, counting = _with_groups({"a": 0.1, "b": None, "c": 0.3})
    found = _arriving(rewards, ["a", "b", "c"], (0, 1, 2))
    assert counting.seen == [["a", "c"]]
    assert (found[1]["group"].score, found[1]["group"].cause) == (None, "timeout")


def test_an_error_of_one_reward_ends_the_wait_of_all():
    rewards, counting = _with_groups({"a": 0.1, "b": StoppedError("the budget is spent"), "c": 0.3})
    found = _arriving(rewards, ["a", "b", "c"], (0, 1, 2))
    assert all(isinstance(it, StoppedError) for it in found) and counting.seen == []


def test_only_flat_groups_go_to_the_judge_where_that_is_asked():
    for texts, judged in ((["a", "a"], True), (["a", "c"], False)):
        rewards, counting = _with_groups({"a": 0.1, "c": 0.3}, flat_only=True)
        found = _arriving(rewards, texts, (0, 1))
        assert bool(counting.seen) == judged
        assert all(("group" in it) == judged for it in found)


def test_spread_is_a_difference_in_any_reward():
    def of(*scores):
        return {str(kind): RewardResult(score) for kind, score in enumerate(scores)}

    assert have_spread([of(1, 0), of(1, 1)])
    assert not have_spread([of(1, 0), of(1, 0)])
    assert not have_spread([{}, {}])


def test_the_groups_of_a_step_are_scored_apart_and_one_without_a_reference_to_face_is_left_alone():
    rewards, counting = _with_groups({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    responses = [parse_response(it, "off") for it in "abcd"]
    results = [{"length": RewardResult(0.5)} for _ in responses]
    visits = [PromptVisit(LADDER, "anchor 1", 1, 1), None]
    found = asyncio.run(score_groups(rewards, visits, responses, results))
    assert counting.seen == [["a", "b"]]
    assert [sorted(it) for it in found] == [["group", "length"]] * 2 + [["length"]] * 2
