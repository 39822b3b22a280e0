"""Several judges and samples, some grades missing: like is compared with like, and what is left out is counted."""

import random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from longform.records.errors import BadInputError
from longform.records.schemas import Grade, Prompt
from longform.selection.select import SelectionOutcome
from longform.selection.settings import Floor


def _grade(prompt_id, model, score, *, sample=0, judge=None):
    return Grade(prompt_id=prompt_id, model=model, score=score, sample=sample, judge=judge)


def _fates(selection):
    return {it.id: it.fate for it in selection.prompts}


BIASED = {"strict": -3.0, "mild": 0.0}
"""What each judge adds to a text's worth."""


def test_a_judge_who_skips_a_response_cannot_shift_the_margin(choose):
    worth = {"me": 6.0, "a": 7.0, "b": 6.5}
    grades = [_grade("p", model, worth[model] + bias, judge=judge) for model in worth for judge, bias in BIASED.items()]
    whole = choose(grades).ladders[0]
    assert whole.potential == 1.0
    unlucky = [it for it in grades if (it.model, it.judge) != ("b", "strict")]  # b's mean would be 6.5, a's is 5.5
    (ladder,) = choose(unlucky).ladders
    assert (ladder.potential, [it.model for it in ladder.references]) == (1.0, ["me", "a"])
    chosen = choose(unlucky)
    assert (chosen.scores.num_responses, chosen.scores.num_incomplete, chosen.scores.lacking) == (3, 1, {"strict": 1})
    assert chosen.num_partial == 1


def test_a_prompt_whose_policy_was_not_graded_by_every_judge_is_left_out_and_counted(choose):
    grades = [_grade(id_, model, 5.0, judge=judge) for id_ in "pqr" for model in ("me", "a") for judge in BIASED]
    lost = [("p", "me"), ("q", "a")]
    chosen = choose([it for it in grades if (it.prompt_id, it.model) not in lost or it.judge == "mild"])
    it = SelectionOutcome
    assert _fates(chosen) == {"p": it.INCOMPLETE, "q": it.INCOMPLETE, "r": it.CHOSEN}


def test_the_judges_of_another_group_are_not_asked_for(choose):
    prompts = [Prompt(id=id_, prompt="w", meta={"dataset": id_}) for id_ in "pq"]
    grades = [_grade(id_, model, 5.0, judge=f"judge of {id_}") for id_ in "pq" for model in ("me", "a")]
    chosen = choose(grades, prompts=prompts, group_by="meta.dataset")
    assert len(chosen.ladders) == 2
    assert chosen.scores.panels == {"p": ("judge of p",), "q": ("judge of q",)}
    assert _fates(choose(grades, prompts=prompts)) == {
        "p": SelectionOutcome.INCOMPLETE,
        "q": SelectionOutcome.INCOMPLETE,
    }


def test_grades_of_prompts_that_are_not_in_the_file_set_no_panel(choose):
    grades = [_grade(id_, model, 5.0) for id_ in "pq" for model in ("me", "a")]
    elsewhere = _grade("other", "me", 1.0, judge="another")
    chosen = choose([*grades, elsewhere], prompts=[Prompt(id=id_, prompt="w") for id_ in "pq"])
    assert len(chosen.ladders) == 2
    assert chosen.scores.panels == {"all": ("unnamed",)}


def test_judges_can_be_named(choose):
    grades = [_grade("p", m, s + b, judge=j) for m, s in (("me", 4.0), ("a", 6.0)) for j, b in BIASED.items()]
    assert choose(grades[1:]).ladders == []
    (ladder,) = choose(grades[1:], judges=("mild",)).ladders
    assert (ladder.policy_score, ladder.potential) == (4.0, 2.0)
    with pytest.raises(BadInputError, match=r"--judges nobody: no grades by this judge; available: mild, strict"):
        choose(grades, judges=("mild", "nobody"))


def test_equally_many_samples_can_be_asked_for(choose):
    grades = [_grade("p", "me", score, sample=sample) for sample, score in enumerate([4.0, 9.0, 8.0])]
    chosen = choose([*grades, _grade("p", "a", 7.0)])
    assert (chosen.ladders[0].potential, chosen.num_unequal_samples) == (-2.0, 1)
    chosen = choose([*grades, _grade("p", "a", 7.0)], samples=1)
    assert (chosen.ladders[0].potential, chosen.num_unequal_samples) == (3.0, 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), lost=st.floats(0, 0.6), top_k=st.one_of(st.none(), st.integers(1, 3)))
def test_the_fates_add_up_and_every_score_is_a_mean_over_the_whole_panel(choose, seed, lost, top_k):
    rng = random.Random(seed)
    prompts = [Prompt(id=f"p{i}", prompt="w", meta={"n": rng.choice("xy")}) for i in range(10)]
    grades = [
        _grade(prompt.id, model, rng.randint(1, 9), sample=sample, judge=judge)
        for prompt in prompts
        for model in ("me", "a", "b")
        for sample in range(2)
        for judge in ("j", "k")
        if rng.random() > lost
    ]
    assume(any(grade.model == "me" for grade in grades))
    chosen = choose(grades, prompts=prompts, group_by="meta.n", top_k=top_k, floor=Floor(5.0))
    assert sum(chosen.count().values()) == len(prompts) == len(chosen.prompts)
    assert chosen.count()[SelectionOutcome.CHOSEN] == len(chosen.ladders)
    given = {}
    for grade in grades:
        given.setdefault((grade.prompt_id, grade.model, grade.sample), {})[grade.judge] = grade.score
    for ladder in chosen.ladders:
        panel = set(chosen.scores.panels[ladder.meta["n"]])
        for reference in ladder.references:
            sample = int(reference.text.split()[1])
            scores = given[ladder.id, reference.model, sample]
            assert set(scores) == panel
            assert reference.score == sum(scores.values()) / len(scores)
