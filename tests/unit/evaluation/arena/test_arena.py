"""Ratings from games: against evalica and hand computation, what must not change them, and what is refused."""

import itertools
import json
import math
from pathlib import Path

import evalica
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from longform.evaluation.arena.game_fields import counted_lengths, stated_lengths
from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.arena.tables import meeting_table, meetings, rating_tables
from longform.evaluation.tables import plain, render, show
from longform.records.errors import BadInputError
from longform.records.schemas import Game, Response
from longform.statistics.bootstrap import Interval

SCORES = Path(__file__).parents[5] / "shared" / "data" / "hellobench_htg_scores.jsonl"
OTHER_SIDE = {"a": "b", "b": "a", "tie": "tie"}


def game(prompt, a, b, winner, **more):
    return Game(prompt_id=str(prompt), model_a=a, model_b=b, winner=winner, **more)


def drawn(seed=0, *, strengths=(0.8, 0.2, -0.3, -0.7), prompts=30, lengths=0.0):
    """Every pair in both orders on each prompt; `lengths` is what longer texts gain."""
    rng = np.random.default_rng(seed)
    games = []
    for prompt, (a, b) in itertools.product(range(prompts), itertools.permutations(range(len(strengths)), 2)):
        words = rng.integers(200, 3000, size=2).tolist()
        odds = strengths[a] - strengths[b] + lengths * (words[0] - words[1]) / sum(words)
        winner = "tie" if rng.random() < 0.1 else "a" if rng.random() < 1 / (1 + math.exp(-odds)) else "b"
        games.append(game(prompt, f"m{a}", f"m{b}", winner, words_a=words[0], words_b=words[1]))
    return games


def turned(it):
    return it.model_copy(
        update={
            "model_a": it.model_b,
            "model_b": it.model_a,
            "winner": OTHER_SIDE[it.winner],
            "words_a": it.words_b,
            "words_b": it.words_a,
        }
    )


def numbers(standings):
    """[models, 8] everything that is a number."""
    return np.array([[*it.rating, *it.win_rate, it.games, it.prompts] for it in standings])


def same(one, other):
    assert [it.model for it in one] == [it.model for it in other]
    np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-6)


def test_two_models_stand_apart_by_the_log_of_their_odds():
    games = [game(i, "x", "y", winner) for i, winner in enumerate("aaaaaab" + "b") for _ in range(2)]
    games += [game(i, "y", "x", "tie") for i in range(4)]
    better, worse = rate_arena(games).standings  # 12 wins, 4 losses, 4 ties
    assert (better.model, better.games, better.prompts, better.component) == ("x", 20, 8, 0)
    assert better.win_rate.estimate == pytest.approx(14 / 20)
    assert better.rating.estimate == pytest.approx(1000 + 200 * math.log10(14 / 6), abs=0.1)
    assert better.rating.estimate + worse.rating.estimate == pytest.approx(2000)
    assert better.rating.low < better.rating.estimate < better.rating.high


@pytest.mark.parametrize("seed", range(4))
def test_ratings_are_evalicas_but_for_a_constant(seed):
    games = drawn(seed, strengths=np.random.default_rng(seed).normal(size=7).tolist(), prompts=12)
    winner = {"a": evalica.Winner.X, "b": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    a, b, won = zip(*[(it.model_a, it.model_b, winner[it.winner]) for it in games], strict=True)
    theirs = evalica.bradley_terry(a, b, won, tolerance=1e-12, limit=10_000).scores.to_dict()
    ours = rate_arena(games, resamples=1).standings
    assert [it.model for it in ours] == sorted(theirs, key=theirs.__getitem__, reverse=True)
    apart = np.array([it.rating.estimate - 400 * math.log10(theirs[it.model]) for it in ours])
    assert np.ptp(apart) < 1
    assert np.mean([it.rating.estimate for it in ours]) == pytest.approx(1000)


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_neither_the_order_of_games_nor_which_text_is_called_a_matters(random, control):
    games = drawn(3, prompts=8, lengths=1.0)
    mixed = [turned(it) if random.random() < 0.5 else it for it in random.sample(games, len(games))]
    one, other = (
        rate_arena(it, lengths=stated_lengths(it) if control else None, resamples=50) for it in (games, mixed)
    )
    same(one.standings, other.standings)
    for before, after in zip(one.lengths, other.lengths, strict=True):
        assert list(after.coefficient) == pytest.approx(list(before.coefficient))
        assert after.deviation == pytest.approx(before.deviation)


@settings(max_examples=10, deadline=None)
@given(st.floats(-3000, 3000), st.floats(-500, 500))
def test_adding_to_an_anchor_shifts_all(points, more):
    games = drawn(1, prompts=10)
    before, after = (rate_arena(games, anchors={"m1": it}, resamples=50).standings for it in (points, points + more))
    for one, other in zip(before, after, strict=True):
        moved = [0.0 if math.isnan(it) else more for it in one.rating]
        np.testing.assert_allclose(np.array(other.rating), np.array(one.rating) + moved, atol=1e-4)


def test_one_anchor_is_a_shift_and_several_stay_where_they_are():
    games = drawn(1)
    free, one = ({it.model: it for it in rate_arena(games, anchors=it).standings} for it in (None, {"m1": 1200.0}))
    for model, standing in one.items():
        shift = free["m1"].rating.estimate - 1200
        assert standing.rating.estimate == pytest.approx(free[model].rating.estimate - shift, abs=1e-3)
    assert [it.model for it in one.values() if it.anchored] == ["m1"]
    assert plain(one["m1"])["rating"]["no_interval"] == "fixed"
    several = {it.model: it for it in rate_arena(games, anchors={"m0": 1300.0, "m3": 900.0}).standings}
    assert (several["m0"].rating.estimate, several["m3"].rating.estimate) == pytest.approx((1300, 900))
    assert math.isnan(several["m0"].rating.low)
    assert 900 < several["m2"].rating.low < several["m2"].rating.high < 1300


def test_more_prompts_narrow_the_interval_and_more_games_on_them_do_not():
    games = drawn(2, prompts=20)
    elsewhere = [it.model_copy(update={"prompt_id": f"{it.prompt_id}-{i}"}) for i in range(4) for it in games]
    rated = [rate_arena(it).standings for it in (games, games * 4, elsewhere)]
    for once, again, apart in zip(*rated, strict=True):
        widths = [it.rating.high - it.rating.low for it in (once, again, apart)]
        assert widths[1] == pytest.approx(widths[0], rel=0.01)
        assert widths[2] < 0.7 * widths[0]


def test_models_that_never_met_are_rated_apart():
    games = [*drawn(0, prompts=6), *[game(i, "x", "y", "a" if i % 3 else "b") for i in range(9)]]
    standings = rate_arena(games, anchors={"x": 1500.0}).standings
    assert [it.component for it in standings] == [0, 0, 0, 0, 1, 1]
    assert np.mean([it.rating.estimate for it in standings[:4]]) == pytest.approx(1000)
    assert [it.model for it in standings[4:]] == ["x", "y"]
    same(standings[:4], rate_arena(games[:-9]).standings)
    first, second = rating_tables(rate_arena(games), "Ratings")
    assert (first.title, second.title) == ("Ratings, group 1 of 2", "Ratings, group 2 of 2")
    assert "No games connect" in render(second)


def test_a_single_game_links_models_and_says_nothing_of_the_spread():
    games = [*drawn(0, prompts=6), game(0, "m0", "late", "tie")]
    (late,) = (it for it in rate_arena(games).standings if it.model == "late")
    assert late.component == 0
    assert math.isnan(late.rating.low)
    assert not late.unbounded
    shown = render(rating_tables(rate_arena(games), "Ratings")[0])
    assert f"{late.rating.estimate:.0f} (a single prompt)" in shown
    assert "a single prompt: the model is connected" in shown
    assert plain(late)["rating"] == {"estimate": late.rating.estimate, "low": None, "high": None} | {
        "no_interval": "a single prompt"
    }


def test_who_only_won_has_a_place_and_no_distance():
    standings = rate_arena([game(i, "new", "old", "a") for i in range(24)]).standings
    assert [(it.model, it.unbounded) for it in standings] == [("new", True), ("old", True)]
    assert all(math.isfinite(it.rating.estimate) and math.isnan(it.rating.low) for it in standings)
    assert [plain(it)["rating"]["no_interval"] for it in standings] == ["rank only"] * 2
    assert "(rank only)" in render(rating_tables(rate_arena([game(0, "new", "old", "a")]), "Ratings")[0])


def test_models_of_which_each_beats_all_below_stand_in_that_order():
    models = [f"m{i:02}" for i in range(30)]
    standings = rate_arena(
        [game(i, a, b, "a") for i in range(3) for a, b in itertools.combinations(models, 2)]
    ).standings
    assert [it.model for it in standings] == models
    assert all(it.unbounded for it in standings)


# --- length


def test_control_takes_out_what_length_explains():
    strengths, effect = (0.6, 0.2, -0.2, -0.6), 1.5
    games = drawn(7, strengths=strengths, prompts=80, lengths=effect)
    arena = rate_arena(games, lengths=stated_lengths(games))
    (found,) = arena.lengths
    a, b = np.array(stated_lengths(games)).T
    assert found.deviation == pytest.approx(np.sqrt(np.mean(((a - b) / (a + b)) ** 2)))
    assert found.coefficient.low < 0.9 * effect * found.deviation < found.coefficient.high
    assert found.twice_as_long.estimate == pytest.approx(
        found.coefficient.estimate / found.deviation / 3 * 400 / math.log(10)
    )


def test_a_model_that_wins_by_length_alone_loses_its_lead_under_control():
    rng = np.random.default_rng(0)
    games = []
    for prompt in range(300):
        long, short = int(rng.integers(500, 3000)), int(rng.integers(300, 1500))
        wins = rng.random() < 1 / (1 + math.exp(-2 * (long - short) / (long + short)))
        games.append(game(prompt, "long", "short", "a" if wins else "b", words_a=long, words_b=short))
    plain, controlled = rate_arena(games), rate_arena(games, lengths=stated_lengths(games))
    lead, left = ({it.model: it for it in arena.standings}["long"].rating for arena in (plain, controlled))
    assert lead.low > 1000 + 15
    assert left.low < 1000 < left.high
    assert plain.lengths == []


def test_lengths_are_read_from_rows_or_counted_from_texts():
    played = [game("p", "x", "y", "a", words_a=10, words_b=2.5), game("p", "y", "x", "a", words_a=0, words_b=1)]
    assert stated_lengths(played) == [(10, 2.5), (0, 1)]
    texts = [
        Response(prompt_id="p", model="x", text="one two"),
        Response(prompt_id="p", model="y", text="one"),
        Response(prompt_id="p", model="y", sample=1, text=""),
    ]
    assert counted_lengths(played, texts) == [(2, 1), (1, 2)]
    with pytest.raises(BadInputError, match="no response of 'x' to prompt 'p', sample 1"):
        counted_lengths([game("p", "x", "y", "a", sample=1)], texts)


@pytest.mark.parametrize("words", [None, -1, True, "12", [3]])
def test_words_that_are_no_number_of_words_are_refused(words):
    with pytest.raises(BadInputError, match="words_b"):
        stated_lengths([game("p", "x", "y", "a", words_a=3, words_b=words)])


def test_lengths_that_follow_from_the_models_are_not_controlled_for_and_that_is_said():
    """Texts of x are always twice as long as those of y, so neither can be told from the other."""
    words = {"x": 400, "y": 200, "z": 300}
    rng = np.random.default_rng(0)

    def play(names, spread):
        return [
            game(i, a, b, "ab"[int(rng.integers(2))], words_a=words[a] + int(rng.integers(spread)), words_b=words[b])
            for i in range(24)
            for a, b in itertools.combinations(names, 2)
        ]

    games = play("xy", 1)
    arena = rate_arena(games, lengths=stated_lengths(games), resamples=50)
    assert (arena.lengths, arena.inseparable) == ([], [0])
    same(arena.standings, rate_arena(games, resamples=50).standings)
    assert "collinear with the model" in render(rating_tables(arena, "Ratings")[0], width=300)
    games = play("xy", 300)
    arena = rate_arena(games, lengths=stated_lengths(games), resamples=50)
    assert (len(arena.lengths), arena.inseparable) == (1, [])


def test_a_draw_of_prompts_that_says_nothing_of_length_does_not_stop_the_bootstrap():
    games = [game(i, "x", "y", "ab"[i % 2], words_a=200 if i else 100, words_b=100) for i in range(4)]
    (effect,) = rate_arena(games, lengths=stated_lengths(games)).lengths
    assert math.isfinite(effect.coefficient.low)


def test_empty_texts_and_texts_of_one_length_have_nothing_to_control():
    games = drawn(0, prompts=5)
    arena = rate_arena(games, lengths=[(0, 0)] * len(games))
    assert arena.lengths == []
    same(arena.standings, rate_arena(games).standings)


# --- what is refused


@pytest.mark.parametrize(
    ("games", "anchors", "said"),
    [
        ([], {}, "there are no games"),
        ([game("p", "x", "x", "a")], {}, "prompt 'p': model_a and model_b are both 'x'"),
        ([game("p", "x", "y", "a")], {"z": 1000}, "anchor 'z': has no games"),
        ([game("p", "x", "y", "a")], {"x": math.inf}, "anchor 'x': needs a finite rating"),
        ([game("p", "x", "y", "a")], {"x": 9000, "y": 0}, "anchors 'y' and 'x': ratings must be at most 5000"),
    ],
)
def test_what_cannot_be_rated_is_refused(games, anchors, said):
    with pytest.raises(BadInputError, match=said):
        rate_arena(games, anchors=anchors)


# --- who beat whom


def test_the_two_sides_of_a_meeting_add_up():
    games = drawn(4, prompts=10)
    met = meetings(games)
    for a, b in itertools.permutations(met, 2):
        assert met[a][b].win_rate.estimate + met[b][a].win_rate.estimate == pytest.approx(1)
        assert (met[a][b].games, met[a][b].prompts) == (20, 10)
    table = meeting_table(met, sorted(met))
    assert [row[:2] for row in table.rows] == [list(it) for it in itertools.combinations(sorted(met), 2)]
    assert all(isinstance(row[2], Interval) and row[3:] == [20, 10] for row in table.rows)
    assert table.notes == ["Intervals from fewer than 20 prompts are too narrow."]


def test_a_meeting_on_one_prompt_says_why_it_has_no_interval():
    met = meetings([game("p", "x", "y", "a"), game("p", "y", "z", "tie")])
    table = meeting_table(met, ["x", "y", "z"])
    assert [show(row[2], digits=2) for row in table.rows] == ["1.00 (a single prompt)", "0.50 (a single prompt)"]
    assert len(table.rows) == 2  # x and z never met
    assert plain(met)["x"]["y"]["win_rate"] == {"estimate": 1.0, "low": None, "high": None} | {
        "no_interval": "a single prompt"
    }


# --- what games may state besides


def test_a_game_that_counts_for_three_moves_ratings_as_three_and_win_rates_as_one():
    outcomes = [(i, "a" if i % 3 else "b") for i in range(30)]
    weighted = [game(i, "x", "y", winner, weight=3 if winner == "a" else 1) for i, winner in outcomes]
    repeated = [game(i, "x", "y", winner) for i, winner in outcomes for _ in range(3 if winner == "a" else 1)]
    plain_games = [game(i, "x", "y", winner) for i, winner in outcomes]
    ours, theirs, once = (rate_arena(it).standings for it in (weighted, repeated, plain_games))
    assert [it.rating for it in ours] == [it.rating for it in theirs]
    assert ours[0].rating.estimate > once[0].rating.estimate + 50
    for one, other in zip(ours, once, strict=True):
        assert one.win_rate.estimate == pytest.approx(other.win_rate.estimate)
        assert (one.win_rate.low, one.win_rate.high) == pytest.approx(other.win_rate[1:], abs=0.05)
        assert (one.games, one.prompts) == (30, 30)


def test_prompts_of_one_cluster_are_one_piece_of_evidence():
    games = drawn(2, prompts=20)
    apart = [it.model_copy(update={"prompt_id": f"{it.prompt_id}#{i % 3}"}) for i, it in enumerate(games)]
    together = [it.model_copy(update={"cluster": it.prompt_id.split("#")[0]}) for it in apart]
    same(rate_arena(together).standings, rate_arena(games).standings)
    assert rate_arena(apart).standings[0].prompts == 60
    assert meetings(together) == meetings(games)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (name, value)
        for name, values in {"weight": (0, 1.5, True, "2", 101), "cluster": (3, "")}.items()
        for value in values
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_one_line(field, value):
    with pytest.raises(BadInputError, match=rf"^{field}: the game of 'x' and 'y' on prompt 'p' needs .*, got"):
        rate_arena([game("p", "x", "y", "a", **{field: value})])


def test_few_prompts_are_warned_of_and_enough_are_not():
    for prompts, warned in ((19, True), (20, False)):
        tables = rating_tables(rate_arena(drawn(1, prompts=prompts)), "Ratings")
        assert ("too narrow" in render(tables[0])) == warned


@pytest.mark.skipif(not SCORES.exists(), reason="../shared/data with the HelloBench files is not there")
def test_real_scores_make_games_whose_ratings_rank_the_models_as_their_means():
    rows = [json.loads(line) for line in SCORES.read_text(encoding="utf-8").split("\n") if line]
    rows.sort(key=lambda it: it["prompt_id"])
    games, scores = [], {}
    for prompt, group in itertools.groupby(rows, key=lambda it: it["prompt_id"]):
        for one, other in itertools.combinations(list(group), 2):
            difference = one["score"] - other["score"]
            winner = "a" if difference > 0 else "b" if difference else "tie"
            games.append(game(prompt, one["model"], other["model"], winner))
    for row in rows:
        scores.setdefault(row["model"], []).append(row["score"])
    standings = rate_arena(games).standings
    assert len(standings) == 23
    assert standings[-1].model == "suri_7b"
    means = [np.mean(scores[it.model]) for it in standings]
    assert spearmanr([it.rating.estimate for it in standings], means).statistic >= 0.95  # pyright: ignore
    assert all(20 < it.rating.high - it.rating.low < 200 for it in standings)
