"""What verdicts on neighbouring rungs say about ladders, on cases worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from longform.evaluation.estimates import Bootstrap
from longform.evaluation.ladders.verdicts import collect_verdicts, free_figures, position_figures, reorder
from longform.records.schemas import Game, Ladder

BOOTSTRAP = Bootstrap(200, 0)


def ladder(models="abcd", *, scores=None, id_="p", **more):
    scores = scores or range(1, len(models) + 1)
    references = [{"model": it, "text": f"text {it}", "score": score} for it, score in zip(models, scores, strict=True)]
    fields = {"id": id_, "prompt": f"Write {id_}.", "references": references, "policy_score": 1, "potential": 1}
    return Ladder.model_validate(fields | more)


def games(of, *outcomes):
    """The games of a ladder; an outcome is the winners of the orders ab and ba, such as "bb", "ab" or "b-"."""
    rows = []
    for lower, winners in enumerate(outcomes):
        for order, winner in zip(("ab", "ba"), winners, strict=True):
            if winner != "-":
                winner = {"t": "tie"}.get(winner, winner)
                fields = {"model_a": of.rungs[lower], "model_b": of.rungs[lower + 1], "rung": lower, "order": order}
                rows.append(Game.model_validate({"prompt_id": of.id, "winner": winner, **fields}))
    return rows


def checked(of, *outcomes):
    return collect_verdicts([of], games(of, *outcomes))[0]


def test_agreement_decides_disagreement_ties_and_one_order_alone_is_no_outcome():
    assert checked(ladder("abcde"), "bb", "aa", "ab", "b-").winners == ("b", "a", "tie", None)
    assert checked(ladder("abc"), "tb", "tt").winners == ("tie", "tie")


def test_verdicts_of_another_ladder_do_not_count():
    one, other = ladder(id_="p"), ladder(id_="q")
    found = collect_verdicts([one, other], games(one, "bb", "bb", "bb"))
    assert [it.winners for it in found] == [("b", "b", "b"), (None, None, None)]


def test_shares_by_position_are_those_counted_by_hand():
    ladders = [ladder("abc", id_="p"), ladder("abc", id_="q"), ladder("ab", id_="r")]
    rows = [*games(ladders[0], "bb", "aa"), *games(ladders[1], "ab", "b-"), *games(ladders[2], "aa")]
    everything, first, second = position_figures(collect_verdicts(ladders, rows), BOOTSTRAP)
    assert (everything.lower, first.lower, second.lower) == (None, 1, 2)
    for figures, expected in ((everything, (1 / 4, 2 / 4, 1 / 4)), (first, (1 / 3, 1 / 3, 1 / 3)), (second, (0, 1, 0))):
        shares = (figures.in_order, figures.inverted, figures.tied)
        assert [it.value.estimate for it in shares if it] == pytest.approx(list(expected))
    assert (everything.missing, first.missing, second.missing) == (1, 0, 1)
    assert everything.in_order is not None
    assert (everything.in_order.n, everything.in_order.prompts) == (4, 3)


def test_intervals_resample_prompts():
    """Ten ladders of one prompt each, or of one prompt all: the outcomes are the same, the evidence is not."""
    outcomes = ["bb", "aa"] * 5
    apart = [ladder("ab", id_=str(n)) for n in range(10)]
    rows = [game for it, outcome in zip(apart, outcomes, strict=True) for game in games(it, outcome)]
    alike = [it.model_copy(update={"prompt": "Write."}) for it in apart]
    spread = position_figures(collect_verdicts(apart, rows), BOOTSTRAP)[0].inverted
    single = position_figures(collect_verdicts(alike, rows), BOOTSTRAP)[0].inverted
    assert spread is not None and single is not None
    assert spread.value.low < 0.5 < spread.value.high
    assert math.isnan(single.value.low)


@pytest.mark.parametrize(
    ("outcomes", "free"),
    [
        (("bb", "bb", "bb", "bb"), {0, 1}),
        (("aa", "bb", "bb", "bb"), {1}),
        (("bb", "ab", "bb", "bb"), set()),
        (("bb", "bb", "aa", "bb"), {0, 1, 3}),
        (("bb", "bb", "aa", "aa"), {0, 1, 3, 4}),
        (("bb", "b-", "tt", "aa"), set()),
    ],
)
def test_free_rungs_are_those_that_a_chain_of_wins_leads_to(outcomes, free):
    assert checked(ladder("abxcd"), *outcomes).free_rungs("x") == free


def test_a_ladder_without_the_policys_response_has_no_free_rungs_to_count():
    assert checked(ladder("abcd"), "bb", "bb", "bb").free_rungs("x") is None
    assert free_figures([checked(ladder("abcd"), "bb", "bb", "bb")], "x", BOOTSTRAP) == []


def test_the_share_of_free_rungs_leaves_out_the_own_response():
    found = [checked(ladder("axb", id_="p"), "bb", "bb"), checked(ladder("axb", id_="q"), "aa", "aa")]
    everything, first, third = free_figures(found, "x", BOOTSTRAP)
    assert [(it.rung, it.free.value.estimate, it.free.n) for it in (everything, first, third)] == [
        (None, 0.5, 4),
        (1, 0.5, 2),
        (3, 0.5, 2),
    ]


@pytest.mark.parametrize(
    ("scores", "top", "unreachable"),
    [
        ((5, 6, 9), "bb", True),
        ((5, 6, 8), "bb", True),
        ((5, 6, 7.9), "bb", False),
        ((5, 6, 9), "ab", False),
        ((5, 6, 9), "aa", False),
        ((5, 6, 9), "b-", None),
    ],
)
def test_a_top_is_unreachable_if_it_wins_and_stands_far_above_the_rung_below(scores, top, unreachable):
    assert checked(ladder("abc", scores=scores), "bb", top).is_top_unreachable(gap=2) is unreachable


def test_ranks_and_the_policys_own_response_are_not_unreachable():
    assert checked(ladder("ab", scores=(0, 9), meta={"scores": "ranks"}), "bb").is_top_unreachable(gap=2) is None
    assert checked(ladder("ax", scores=(0, 9)), "bb").is_top_unreachable(gap=2, policy="x") is False


def reordered(of, *outcomes, policy=None):
    new = reorder(checked(of, *outcomes), games(of, *outcomes), policy=policy)
    return None if new is None else "".join(new.rungs)


def test_verdicts_that_agree_with_the_grades_keep_the_order_and_an_inversion_changes_it():
    assert reordered(ladder("abcd"), "bb", "bb", "bb") == "abcd"
    assert reordered(ladder("abcd"), "aa", "tb", "bb") == "bcad", "b < c by half a win, a and d by two"
    assert reordered(ladder("ab"), "aa") == "ba"
    assert reordered(ladder("abcd"), "aa", "aa", "aa") == "dcba"


def test_equal_strengths_follow_the_score_then_the_own_response_then_the_name():
    assert reordered(ladder("abc"), "bb", "aa") == "acb", "a and c both lose to b alike, and a was graded lower"
    assert reordered(ladder("cab", scores=(5, 5, 5)), "ab", "ab") == "abc"
    assert reordered(ladder("cab", scores=(5, 5, 5)), "ab", "ab", policy="b") == "bac"
    assert reordered(ladder("xa", scores=(5, 5)), "tt") == "ax"


def test_strengths_of_neighbours_are_the_log_odds_of_their_games():
    """In a chain each edge is fitted by itself: with one tie and one win of two games, 1.5 to 0.5, and the faint prior."""
    of = ladder("abc")
    new = reorder(checked(of, "tb", "tt"), games(of, "tb", "tt"))
    assert new is not None
    strengths = [it.strength or 0.0 for it in new.references]
    assert strengths[1] - strengths[0] == pytest.approx(math.log(1.5005 / 0.5005), abs=1e-5)
    assert strengths[2] == strengths[1]
    assert [it.score for it in new.references] == [1, 2, 3], "scores stay as graded"


def test_a_ladder_with_a_missing_outcome_keeps_its_order():
    assert reordered(ladder("abcd"), "bb", "b-", "aa") is None
    assert reordered(ladder("a")) is None


@given(st.lists(st.sampled_from(["aa", "bb", "ab", "tt", "tb", "at"]), min_size=1, max_size=6))
def test_a_reordered_ladder_is_a_ladder_with_the_same_references(outcomes):
    of = ladder("abcdefg"[: len(outcomes) + 1])
    new = reorder(checked(of, *outcomes), games(of, *outcomes))
    assert new is not None
    assert sorted(new.rungs) == sorted(of.rungs)
    again = Ladder.model_validate_json(new.model_dump_json(exclude_none=True))
    assert again == new, "it is read as it was written"


def test_the_order_follows_the_strengths_only_if_every_reference_has_one():
    references = [{"model": "a", "text": "a", "score": 2, "strength": -1}, {"model": "b", "text": "b", "score": 1}]
    fields = {"id": "p", "prompt": "Write.", "policy_score": 1, "potential": 1}
    with pytest.raises(ValidationError, match="ascending order of score"):
        Ladder.model_validate({**fields, "references": references})
    references[1]["strength"] = 1
    assert Ladder.model_validate({**fields, "references": references}).rungs == ["a", "b"]
    references[1]["strength"] = -2
    with pytest.raises(ValidationError, match="ascending order of strength"):
        Ladder.model_validate({**fields, "references": references})
