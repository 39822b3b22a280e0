"""How much of a gain survives under other judges, and what judges are asked for it."""

import asyncio
import json

import numpy as np
import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.evaluation.compare.cross_judge import cross_judge, surviving
from longform.evaluation.compare.judging import JudgeAnswers, grade_texts, judge_pairs, merge_grades
from longform.evaluation.compare.measures import Measure, Sampling, contrast, measure_grades, measure_wins
from longform.evaluation.compare.pairing import PairedPrompt, Pairing, grade_rows
from longform.evaluation.compare.run import compare_pairing, measure_all
from longform.evaluation.compare.sides import GradedText
from longform.evaluation.compare.tables import compare_tables
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.tables import render
from longform.judging.answers import read_fences
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import DIMENSIONS, PointwiseJudge
from longform.records.calls import MemoryCallLog
from longform.records.schemas import Game, Prompt
from longform.statistics.agreement import cohen_kappa

SAMPLING = Sampling(resamples=500, draws=500)
BOOTSTRAP = Bootstrap(500, 0)


def pairing_of(texts):
    """Prompt id -> (texts of A, texts of B)."""
    written = {id_: [[GradedText(it) for it in side] for side in both] for id_, both in texts.items()}
    prompts = [
        PairedPrompt(id_, Prompt(id=id_, prompt=f"write {id_}"), a, b, None, "") for id_, (a, b) in written.items()
    ]
    return Pairing("old", "new", prompts, 0, 0, "", "")


def games(judge, outcomes):
    """Prompt -> winners in the orders ab and ba."""
    return [
        Game(prompt_id=id_, model_a="old", model_b="new", winner=winner, order=order, judge=judge, sample=0)
        for id_, winners in outcomes.items()
        for order, winner in zip(("ab", "ba"), winners, strict=True)
    ]


def answers(judge, outcomes):
    return JudgeAnswers(judge, games(judge, outcomes))


def test_the_share_that_survives_is_the_ratio_of_the_gains_on_common_prompts():
    reward = {"p0": 1.0, "p1": 0.5, "p2": 1.0, "p3": 0.5, "only here": 9.0}
    other = {"p0": 0.5, "p1": 0.5, "p2": 0.0, "p3": 0.5, "only there": 9.0}
    found = surviving(reward, other, BOOTSTRAP)
    assert found is not None
    assert found.share is not None
    assert found.share.value.estimate == pytest.approx(1.5 / 3)
    assert found.share.value.low < 0.5 < found.share.value.high
    assert found.share.prompts == 4
    assert found.reward_gain.value.estimate == pytest.approx(0.75)


def test_all_of_the_gain_survives_in_the_same_eyes_and_none_in_indifferent_ones():
    rng = np.random.default_rng(0)
    gains = {f"p{i}": float(gain) for i, gain in enumerate(rng.normal(1, 0.5, size=40))}
    same, none = surviving(gains, gains, BOOTSTRAP), surviving(gains, dict.fromkeys(gains, 0.0), BOOTSTRAP)
    assert same is not None
    assert same.share is not None
    assert same.share.value == pytest.approx((1, 1, 1))
    assert none is not None
    assert none.share is not None
    assert none.share.value == (0, 0, 0)


@pytest.mark.parametrize("gains", [{"p0": 1.0, "p1": -1.0, "p2": 0.5}, {"p0": -1.0, "p1": -2.0}, {"p0": 1.0}])
def test_without_a_clear_gain_of_the_reward_s_judge_there_is_no_share(gains):
    found = surviving(gains, dict.fromkeys(gains, 1.0), BOOTSTRAP)
    assert found is not None
    assert found.share is None


def test_judges_without_a_common_prompt_have_no_share():
    assert surviving({"p0": 1.0}, {"p1": 1.0}, BOOTSTRAP) is None


def test_the_matrix_names_the_reward_s_judge_and_tells_what_the_others_see():
    ids = [f"p{i}" for i in range(10)]
    reward = answers("reward", dict.fromkeys(ids, ("b", "b")))
    half = answers("half", {id_: ("b", "a") if i % 2 else ("b", "b") for i, id_ in enumerate(ids)})
    matrix = cross_judge([half, reward], [], SAMPLING, reward_judges=["reward"])
    first, second = matrix.rows
    assert (first.judge, first.gave_reward, first.games) == ("half", False, 20)
    assert first.wins is not None
    assert first.wins.b.value.estimate == pytest.approx(0.75)
    assert first.wins_survive is not None
    assert first.wins_survive.share is not None
    assert first.wins_survive.share.value.estimate == pytest.approx(
        0.5
    )  # a lead of 0.5 where the reward's judge sees 1
    assert (second.gave_reward, second.wins_survive, first.grades_survive) == (True, None, None)


def test_several_judges_of_a_panel_gave_the_reward_together():
    one = answers("one", {"p0": ("b", "b"), "p1": ("b", "b"), "p2": ("b", "b")})
    two = answers("two", {"p0": ("b", "tie"), "p1": ("b", "tie"), "p2": ("b", "tie")})
    other = answers("other", {"p0": ("b", "tie"), "p1": ("b", "tie"), "p2": ("a", "b")})
    row = cross_judge([one, two, other], [], SAMPLING, reward_judges=["one", "two"]).rows[2]
    assert row.wins_survive is not None
    assert row.wins_survive.share is not None
    assert row.wins_survive.reward_gain.value.estimate == pytest.approx(0.75)
    assert row.wins_survive.share.value.estimate == pytest.approx((1 / 3) / 0.75)


def test_gains_in_grades_survive_by_themselves():
    wins = {f"p{i}": ("b", "b") for i in range(4)}
    grades = [
        Measure("grade by reward", "grade", {f"p{i}": (4, 6 + i % 2) for i in range(4)}, "reward"),
        Measure("grade by other", "grade", {f"p{i}": (4, 5) for i in range(4)}, "other"),
    ]
    row = cross_judge(
        [answers("other", wins), answers("reward", wins)], grades, SAMPLING, reward_judges=["reward"]
    ).rows[0]
    assert row.grades is not None
    assert row.grades.difference.value.estimate == 1
    assert row.grades_survive is not None
    assert row.grades_survive.share is not None
    assert row.grades_survive.share.value.estimate == pytest.approx(1 / 2.5)


def test_judges_agree_on_the_games_that_both_decided():
    one = answers("one", {"p0": ("a", "b"), "p1": ("tie", "b"), "p2": ("b", "b")})
    two = answers("two", {"p0": ("a", "a"), "p1": ("tie", "b")})
    between = cross_judge([one, two], [], SAMPLING).between
    assert between is not None
    (pair,) = between.pairs
    said = ["a", "b", "tie", "b"], ["a", "a", "tie", "b"]
    assert (pair.agreement.value.estimate, pair.agreement.n) == (0.75, 4)
    assert pair.kappa.value.estimate == pytest.approx(cohen_kappa(*said, order=["a", "tie", "b"], weights="linear"))
    assert cross_judge([one], [], SAMPLING).between is None


def test_games_that_no_judge_was_asked_about_count_as_games_but_not_as_agreement():
    one, two = (answers(name, {"p0": ("a", "b"), "p1": ("tie", "b")}) for name in ("one", "two"))
    for it in (one, two):
        settled = games(it.judge, {"empty": ("b", "b")})
        it.games += [Game.model_validate({**game.model_dump(), "without_call": True}) for game in settled]
    matrix = cross_judge([one, two], [], SAMPLING)
    assert (matrix.rows[0].games, matrix.rows[0].without_call) == (6, 2)
    assert matrix.between is not None
    assert matrix.between.pairs[0].agreement.n == 4


def test_a_win_rate_counts_ties_half_and_each_prompt_once():
    found = measure_wins(games("j", {"p0": ("a", "tie"), "p1": ("b", "b")}), "j")
    assert found is not None
    assert found.values == {"p0": (0.75, 0.25), "p1": (0, 1)}
    assert measure_wins([], "j") is None


def test_a_pair_with_one_order_alone_counts_in_no_win_rate_and_that_is_told():
    both = games("first", {f"p{i}": ("a", "b") for i in range(4)})  # a judge that takes what it reads first
    half = [game for game in both if not (game.prompt_id in ("p0", "p1") and game.order == "ba")]
    found = measure_wins(half, "first")
    assert found is not None
    assert found.values == {"p2": (0.5, 0.5), "p3": (0.5, 0.5)}
    assert found.half_pairs == {"p0": 1, "p1": 1}
    told = contrast(found, SAMPLING, prompts={"p1", "p2"})
    assert told is not None
    assert (told.half_pairs, told.b.prompts) == (1, 1)
    pairing = pairing_of({f"p{i}": (["x"], ["y"]) for i in range(4)})
    for played, note in (
        (half, "Pairs with a verdict of first in only one order, left out of its win rate: 2."),
        (both[::2], "No win rate for first: no pair has a verdict in both orders."),
    ):
        asked = [JudgeAnswers("first", played)]
        compared = compare_pairing(pairing, measure_all(pairing, asked), asked, sampling=SAMPLING)
        assert note in "\n".join(map(render, compare_tables(compared)))


def ask(serve, pairing, script, *, with_grades=False):
    """What a scripted judge makes of a pairing, the number of its requests, and the progress shown."""
    server, found, seen = serve(script), JudgeAnswers("judge"), []

    async def work():
        spec = ModelSpec(base_url=server.url, model="m", retries=0)
        async with Endpoint("judge", spec, call_log=MemoryCallLog(), backoff_seconds=0.001) as endpoint:
            await judge_pairs(
                pairing,
                PairwiseJudge(endpoint, secret=b"s", retries=0),
                found,
                workers=2,
                on_progress=lambda *it: seen.append(it),
            )
            if with_grades:
                grader = PointwiseJudge(endpoint, secret=b"s", retries=0)
                await grade_texts(pairing, grader, found, workers=2, on_progress=lambda *it: None)

    asyncio.run(work())
    return found, len(server.requests), seen


def prefers_new(request, number):
    """The longer text wins; a text is worth its words."""
    read = read_fences(request["messages"][0]["content"])
    if "TEXT" in read:
        return json.dumps({"scores": dict.fromkeys(DIMENSIONS, len(read["TEXT"].split()))})
    return "[[A]]" if len(read["TEXT A"]) > len(read["TEXT B"]) else "[[B]]"


def test_equal_and_empty_texts_are_settled_without_a_call(serve):
    texts = {"equal": (["x"], ["x "]), "empty": (["x"], [""]), "both": ([" "], [""]), "asked": (["x"], ["x y"])}
    found, requests, seen = ask(serve, pairing_of(texts), prefers_new)
    winners = {id_: [it.winner for it in found.games if it.prompt_id == id_] for id_ in texts}
    assert winners == {"equal": ["tie", "tie"], "empty": ["a", "a"], "both": ["tie", "tie"], "asked": ["b", "b"]}
    assert [it.order for it in found.games] == ["ab", "ba"] * 4
    assert [(it.model_extra or {}).get("without_call") for it in found.games][::2] == [True, True, True, None]
    assert requests == 2
    assert seen[-1] == (8, 8)


def test_samples_are_paired_in_their_order_as_many_as_both_have(serve):
    found, requests, _ = ask(
        serve, pairing_of({"p": (["a", "a b c"], ["a b", "a b"]), "q": (["a"], ["a b", "a b"])}), prefers_new
    )
    assert [(it.prompt_id, it.sample, it.winner) for it in found.games[::2]] == [
        ("p", 0, "b"),
        ("q", 0, "b"),
        ("p", 1, "a"),
    ]
    assert requests == 6


def test_what_has_no_verdict_is_no_game_but_counted(serve):
    found, _, seen = ask(serve, pairing_of({"p": (["a"], ["b"]), "q": (["c"], ["d"])}), lambda request, number: "Well.")
    assert (found.games, dict(found.no_verdict)) == ([], {"no_verdict": 4})
    assert seen[-1] == (4, 4)
    row = cross_judge([found], [], SAMPLING).rows[0]
    assert (row.wins, row.games, row.no_verdict) == (None, 0, {"no_verdict": 4})


def test_grades_on_record_are_not_asked_for_and_an_empty_text_gets_the_lowest(serve):
    pairing = pairing_of({"p": (["one two"], [""]), "q": (["one"], ["one two three"])})
    pairing = pairing.with_grades({("q", "a", 0): {"judge": 9.0}})
    found, requests, _ = ask(serve, pairing, prefers_new, with_grades=True)
    assert found.grades == {("p", "a", 0): 2, ("p", "b", 0): 1, ("q", "b", 0): 3}
    assert requests == 2 + 2  # the games of q, and two texts
    graded = pairing.with_grades(merge_grades([found]))
    (measure,) = measure_grades(graded)
    assert measure.values == {"p": (2, 1), "q": (9, 3)}
    rows = [(it.prompt_id, it.model, it.score) for it in grade_rows(graded, ["judge"])]
    assert rows == [("p", "old", 2), ("p", "new", 1), ("q", "old", 9), ("q", "new", 3)]
