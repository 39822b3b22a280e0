import pytest
from hypothesis import given
from hypothesis import strategies as st
from longform.judging.panel import combine_grades, combine_verdicts

from longform.judging.pairwise import Verdict
from longform.judging.pointwise import Graded

OUTCOMES = st.sampled_from(["win", "tie", "loss"])
MIRROR = {"win": "loss", "tie": "tie", "loss": "win", None: None}


def _votes(*outcomes):
    return [Verdict(it, None if it else "timeout", (f"call-{n}",), 0.5) for n, it in enumerate(outcomes)]


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
    assert combine_verdicts(_votes(*outcomes), combine="vote").outcome == vote
    assert combine_verdicts(_votes(*outcomes), combine="mean").outcome == mean


def test_a_panel_that_is_not_heard_says_why():
    assert combine_verdicts(_votes("win", None, None), combine="vote").cause == "timeout"


def test_a_panel_tells_all_its_calls_and_their_cost():
    verdict = combine_verdicts(_votes("win", "loss", None), combine="vote")
    assert verdict.calls == ("call-0", "call-1", "call-2")
    assert verdict.cost == 1.5
    assert combine_verdicts([*_votes("win"), Verdict("win", cost=None)], combine="vote").cost is None


@given(st.lists(OUTCOMES, min_size=2, max_size=7), st.sampled_from(["vote", "mean"]))
def test_mirrored_votes_give_the_mirrored_verdict_in_any_order(outcomes, combine):
    verdict = combine_verdicts(_votes(*outcomes), combine=combine)
    mirrored = combine_verdicts(_votes(*[MIRROR[it] for it in reversed(outcomes)]), combine=combine)
    assert mirrored.outcome == MIRROR[verdict.value]
    assert mirrored.disagreement == verdict.disagreement


@given(st.lists(OUTCOMES, min_size=2, max_size=7))
def test_votes_disagree_exactly_where_they_differ(outcomes):
    disagreement = combine_verdicts(_votes(*outcomes), combine="vote").disagreement
    assert (disagreement == 0) == (len(set(outcomes)) == 1)
    assert disagreement is not None and 0 <= disagreement < 0.7


def test_grades_are_averaged_and_their_spread_is_told():
    grades = [Graded(4.0, {"style": 3.0, "depth": 5.0}), Graded(8.0, {"style": 7.0, "depth": 9.0})]
    combined = combine_grades([*grades, Graded(None, None, "timeout")])
    assert (combined.score, combined.dimensions, combined.disagreement) == (6.0, {"style": 5.0, "depth": 7.0}, 2.0)
    assert combine_grades([grades[0], Graded(None, None, "timeout")]).score is None
