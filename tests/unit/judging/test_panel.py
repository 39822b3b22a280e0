from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.judging.judge import JudgeReply, combine_replies
from longform.judging.pairwise import majority, mean_outcome, vote_disagreement
from longform.judging.pointwise import GradeResult, mean_grade, score_spread

OUTCOMES = st.sampled_from(["win", "tie", "loss"])
MIRROR = {"win": "loss", "tie": "tie", "loss": "win", None: None}


def _votes(*outcomes: Any) -> list[JudgeReply[Any]]:
    return [JudgeReply(it, None if it else "timeout", (f"call-{n}",), 0.5) for n, it in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "vote", "mean"),
    [
        (["win", "win", "loss"], "win", "win"),
        (["win", "loss"], "tie", "tie"),
        (["win", "tie", "loss"], "tie", "tie"),
        (["tie", "tie", "win"], "tie", "win"),
        (["win", "tie", "tie", "loss", "loss"], "tie", "loss"),
        (["win", "win", None], "win", "win"),
        (["win", None], None, None),
        (["win", None, None], None, None),
    ],
)
def test_panels_of_votes(outcomes, vote, mean):
    assert combine_replies(_votes(*outcomes), majority).value == vote
    assert combine_replies(_votes(*outcomes), mean_outcome).value == mean


def test_a_panel_that_is_not_heard_says_why():
    assert combine_replies(_votes("win", None, None), majority).cause == "timeout"


def test_a_panel_tells_all_its_calls_and_their_cost():
    verdict = combine_replies(_votes("win", "loss", None), majority)
    assert verdict.calls == ("call-0", "call-1", "call-2")
    assert verdict.cost == 1.5
    assert combine_replies([*_votes("win"), replace(_votes("win")[0], cost=None)], majority).cost is None


@given(st.lists(OUTCOMES, min_size=2, max_size=7), st.sampled_from([majority, mean_outcome]))
def test_mirrored_votes_give_the_mirrored_verdict_in_any_order(outcomes, combine: Any):
    verdict = combine_replies(_votes(*outcomes), combine)
    mirrored = combine_replies(_votes(*[MIRROR[it] for it in reversed(outcomes)]), combine)
    assert mirrored.value == MIRROR[verdict.value]
    assert vote_disagreement(mirrored.valid_votes) == vote_disagreement(verdict.valid_votes)


@given(st.lists(OUTCOMES, min_size=2, max_size=7))
def test_votes_disagree_exactly_where_they_differ(outcomes):
    disagreement = vote_disagreement(combine_replies(_votes(*outcomes), majority).valid_votes)
    assert (disagreement == 0) == (len(set(outcomes)) == 1)
    assert disagreement is not None and 0 <= disagreement < 0.7


def test_grades_are_averaged_and_their_spread_is_measured():
    timeout: JudgeReply[GradeResult] = JudgeReply(None, "timeout")
    grades = [JudgeReply(GradeResult(score, {"style": score - 1, "depth": score + 1})) for score in (4.0, 8.0)]
    combined = combine_replies([*grades, timeout], mean_grade)
    assert combined.value == GradeResult(6.0, {"style": 5.0, "depth": 7.0})
    assert score_spread(combined.valid_votes) == 2.0
    assert combined.missing_votes == pytest.approx(1 / 3)
    assert combine_replies([grades[0], timeout], mean_grade).value is None
