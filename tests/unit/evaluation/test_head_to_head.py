"""Two writers on the same prompts: both orders, missing verdicts, intervals over prompts."""

import asyncio
from dataclasses import dataclass

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.evaluation.head_to_head import HeadToHead, compare_writers, win_rate
from longform.judging.answers import read_fences
from longform.judging.pairwise import PairwiseJudge
from longform.records.calls import MemoryCallLog
from longform.records.schemas import Game, Prompt

PROMPTS = [Prompt(id=f"p{i}", prompt=f"write {i}") for i in range(6)]


@dataclass
class Judged:
    """What the scripted judge read and what came of it."""

    result: HeadToHead
    games: list[Game]
    fences: list[tuple[str, str, str]]
    progress: list[tuple[int, int]]


def _play(serve, verdict, texts_a=None, texts_b=None):
    """Play all games against a judge that answers `verdict(TEXT A, TEXT B)`."""
    fences, progress = [], []

    def script(request, number):
        read = read_fences(request["messages"][0]["content"])
        fences.append((read["REQUEST"], read["TEXT A"], read["TEXT B"]))
        return verdict(read["TEXT A"], read["TEXT B"])

    async def work():
        spec = ModelSpec(base_url=serve(script).url, model="e", retries=0)
        async with Endpoint("examiner", spec, call_log=MemoryCallLog(), backoff_seconds=0.001) as endpoint:
            return await compare_writers(
                PROMPTS,
                texts_a or {it.id: f"new {it.id}" for it in PROMPTS},
                texts_b or {it.id: f"old {it.id}" for it in PROMPTS},
                PairwiseJudge(endpoint, secret=b"s"),
                model_a="new",
                model_b="old",
                on_progress=lambda *it: progress.append(it),
            )

    result = asyncio.run(work())
    return Judged(result, result.games, fences, progress)


def test_every_prompt_is_played_in_both_orders(serve):
    judged = _play(serve, lambda a, b: "[[C]]")
    assert [(game.prompt_id, game.order) for game in judged.games] == [
        (prompt.id, order) for prompt in PROMPTS for order in ("ab", "ba")
    ]
    assert sorted(judged.fences) == sorted(
        (prompt.prompt, *texts)
        for prompt in PROMPTS
        for texts in ((f"new {prompt.id}", f"old {prompt.id}"), (f"old {prompt.id}", f"new {prompt.id}"))
    )
    assert {(game.model_a, game.model_b, game.judge, game.winner) for game in judged.games} == {
        ("new", "old", "examiner", "tie")
    }
    assert judged.progress == [(done, 12) for done in range(1, 13)]


def test_a_judge_that_always_favours_one_place_gives_both_writers_half(serve):
    for letter in "AB":
        rate = win_rate(_play(serve, lambda a, b, letter=letter: f"[[{letter}]]").games)
        assert rate == (0.5, 0.5, 0.5), "each prompt is one win and one loss: there is nothing to vary"


def test_the_better_text_wins_wherever_it_stands(serve):
    judged = _play(serve, lambda a, b: "[[A]]" if a.startswith("new") else "[[B]]")
    assert {game.winner for game in judged.games} == {"a"}
    assert win_rate(judged.games).estimate == 1.0
    judged = _play(serve, lambda a, b: "[[A]]" if a.startswith("old") else "[[B]]")
    assert {game.winner for game in judged.games} == {"b"}


def test_a_missing_verdict_is_counted_by_cause_and_is_nobodys_loss(serve, reply):
    def verdict(a, b):
        if "p0" in a:
            return "I cannot decide."
        if "new p1" in a:
            return reply("busy", status=500)
        return "[[A]]" if a.startswith("new") else "[[B]]"

    judged = _play(serve, verdict)
    assert judged.result.no_verdict == {"no_verdict": 2, "server_error": 1}
    assert len(judged.games) == 8
    assert win_rate(judged.games).estimate == 1.0
    assert {game.prompt_id for game in judged.games} == {"p2", "p3", "p4", "p5"}
    assert [(game.prompt_id, game.order) for game in judged.result.alone] == [("p1", "ba")]


def test_a_verdict_without_its_other_order_is_no_outcome(serve, reply):
    """A judge that takes the first text and fails on every second order would give the writer read first everything."""
    judged = _play(serve, lambda a, b: "[[A]]" if a.startswith("new") or "p0" in a else reply("busy", status=500))
    assert len(judged.result.alone) == 5
    assert [game.winner for game in judged.games] == ["a", "b"]
    assert win_rate(judged.games).estimate == 0.5


def _games(*winners):
    return [
        Game(prompt_id=f"p{i}", model_a="x", model_b="y", winner=winner)
        for i, both in enumerate(winners)
        for winner in both
    ]


def test_ties_count_half():
    assert win_rate(_games(("a", "tie"), ("tie", "b"))).estimate == 0.5
    assert win_rate(_games(("a", "a"), ("tie", "b"))).estimate == 0.625


def test_the_interval_varies_over_prompts_and_not_over_games():
    one_game = win_rate(_games(*[("a",), ("b",)] * 20))
    two_alike = win_rate(_games(*[("a", "a"), ("b", "b")] * 20))
    assert two_alike == one_game, "a second game with the same outcome is no further evidence"
    assert one_game.low < 0.4 < 0.6 < one_game.high


def test_no_games_have_no_win_rate():
    with pytest.raises(ValueError, match="at least one"):
        win_rate([])
