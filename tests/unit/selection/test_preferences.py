import random
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Grade, Ladder, Prompt, Reference, Response
from longform.selection.preferences import LeftOut, Preferences, prefer_by_score, prefer_by_verdict, preference
from longform.text.structure import Thinking

LADDER = Ladder(
    id="p",
    prompt="Write.",
    references=[Reference(model="low", text="low text", score=1), Reference(model="high", text="high text", score=2)],
    policy_score=1,
    potential=1,
)


@pytest.fixture
def pair(tmp_path):
    return lambda grades, **rule: pair_in(tmp_path, grades, **rule)


def pair_in(folder, grades, *, texts=None, prompts=None, **rule):
    """Pairs of the given grades; texts are made up where `texts` has none, and are left out where it says None."""
    known = {(it.prompt_id, it.model, it.sample): f"{it.model} {it.sample} of {it.prompt_id}" for it in grades}
    known |= texts or {}
    ids = prompts or list(dict.fromkeys(it.prompt_id for it in grades))
    rows = [
        Response(prompt_id=id_, model=model, sample=sample, text=text)
        for (id_, model, sample), text in known.items()
        if text is not None
    ]
    write_rows(folder / "p.jsonl", [Prompt(id=id_, prompt=f"write {id_}") for id_ in ids])
    write_rows(folder / "r.jsonl", rows)
    write_rows(folder / "g.jsonl", grades)
    return prefer_by_score(
        folder / "p.jsonl", responses=[folder / "r.jsonl"], grades=[folder / "g.jsonl"], **{"margin": 0.0, **rule}
    )


def grade(model, score, *, id_="p", sample=0, judge="ann"):
    return Grade(prompt_id=id_, model=model, sample=sample, score=score, judge=judge)


def sides(made):
    return [(it.prompt_id, it.chosen_model, it.rejected_model) for it in made.rows]


def test_every_two_responses_with_different_scores_are_a_pair_in_the_order_of_prompts_and_models(pair):
    grades = [grade(model, score, id_=id_) for id_ in ("q", "p") for model, score in (("c", 3), ("a", 0), ("b", 1))]
    made = pair(grades, prompts=["p", "q"])
    expected = [("b", "a"), ("c", "a"), ("c", "b")]
    assert sides(made) == [(id_, *it) for id_ in ("p", "q") for it in expected]
    assert [it.margin for it in made.rows] == [1, 3, 2] * 2
    first = made.rows[0]
    assert (first.prompt, first.chosen, first.rejected, first.source) == ("write p", "b 0 of p", "a 0 of p", "scores")
    assert made.num_prompts == 2
    assert not made.left_out


def test_a_difference_of_the_margin_is_no_pair_however_it_was_summed(pair):
    grades = [grade("a", 0.1), grade("b", 0.2), grade("c", 0.1 + 0.2), grade("d", 0.5)]
    made = pair(grades, margin=0.1)
    assert sides(made) == [("p", "c", "a"), ("p", "d", "a"), ("p", "d", "b"), ("p", "d", "c")]
    assert made.left_out == {LeftOut.WITHIN_MARGIN: 2}


def test_a_score_is_the_mean_over_graders_and_counts_only_if_all_of_them_graded(pair):
    grades = [
        *(grade("a", score, judge=judge) for judge, score in (("ann", 1), ("bob", 2))),
        *(grade("b", score, judge=judge) for judge, score in (("ann", 3), ("bob", 1))),
        grade("c", 9),
    ]
    made = pair(grades)
    assert [(it.chosen_model, it.margin) for it in made.rows] == [("b", 0.5)]
    assert made.left_out == {LeftOut.INCOMPLETE: 1}


def test_graders_of_one_prompt_need_not_be_those_of_another(pair):
    grades = [grade(model, score, id_=id_, judge=id_) for id_ in "pq" for model, score in (("a", 1), ("b", 2))]
    assert len(pair(grades).rows) == 2


def test_samples_of_one_model_are_paired_too(pair):
    made = pair([grade("a", 1), grade("a", 2, sample=1)])
    assert [(it.chosen, it.rejected) for it in made.rows] == [("a 1 of p", "a 0 of p")]


def test_equal_texts_and_empty_chosen_ones_are_left_out_and_counted(pair):
    texts = {("p", "b", 0): " a 0 of p\n", ("p", "c", 0): " \n"}
    made = pair([grade("a", 1), grade("b", 2), grade("c", 3)], texts=texts)
    assert not made.rows
    assert made.left_out == {LeftOut.EQUAL: 1, LeftOut.EMPTY: 2}


def test_an_empty_text_may_be_rejected(pair):
    assert sides(pair([grade("a", 1), grade("b", 2)], texts={("p", "a", 0): ""})) == [("p", "b", "a")]


def test_a_response_without_a_text_and_a_prompt_with_one_response_are_counted(pair):
    made = pair([grade("a", 1), grade("b", 2)], texts={("p", "b", 0): None})
    assert not made.rows
    assert made.left_out == {LeftOut.NO_TEXT: 1, LeftOut.ALONE: 1}


def test_the_most_per_prompt_is_a_draw_that_the_seed_decides(pair):
    grades = [grade(f"m{i}", i, id_=id_) for id_ in "pq" for i in range(6)]
    everything, drawn = pair(grades), pair(grades, max_per_prompt=4)
    assert drawn.rows == pair(grades, max_per_prompt=4).rows != pair(grades, max_per_prompt=4, seed=1).rows
    assert drawn.left_out == {LeftOut.BEYOND_MOST: 22}
    assert [it for it in everything.rows if it in drawn.rows] == drawn.rows
    assert [sum(it.prompt_id == id_ for it in drawn.rows) for id_ in "pq"] == [4, 4]


def test_the_draw_of_a_prompt_does_not_depend_on_the_others(pair):
    grades = [grade(f"m{i}", i, id_=id_) for id_ in "pq" for i in range(6)]
    alone = pair([it for it in grades if it.prompt_id == "q"], max_per_prompt=3)
    assert [it for it in pair(grades, max_per_prompt=3).rows if it.prompt_id == "q"] == alone.rows


@given(
    scores=st.lists(st.lists(st.none() | st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=6),
    texts=st.lists(st.sampled_from(["", " ", "x", "x ", "y"]), min_size=6, max_size=6),
    margin=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=60)
def test_pairs_and_what_is_left_out_add_up(tmp_path_factory, scores, texts, margin):
    grades = [
        grade(f"m{i}", score, judge=judge)
        for i, given_ in enumerate(scores)
        for judge, score in zip(("ann", "bob"), given_, strict=True)
        if score is not None
    ]
    if not grades:
        return
    written = {("p", f"m{i}", 0): texts[i] for i in range(len(scores))}
    made = pair_in(tmp_path_factory.mktemp("pairs"), grades, texts=written, margin=margin)
    responses = len({it.model for it in grades}) - made.left_out[LeftOut.INCOMPLETE]
    of_pairs = (LeftOut.EQUAL, LeftOut.EMPTY, LeftOut.WITHIN_MARGIN)
    assert len(made.rows) + sum(made.left_out[it] for it in of_pairs) == len(list(combinations(range(responses), 2)))
    mean = {f"m{i}": fmean([it for it in given_ if it is not None] or [0]) for i, given_ in enumerate(scores)}
    for it in made.rows:
        assert it.margin is not None
        assert it.margin == mean[it.chosen_model] - mean[it.rejected_model] > margin
        assert it.chosen.strip()
        assert it.chosen.strip() != it.rejected.strip()


def test_a_bad_row_is_named(tmp_path, pair):
    pair([grade("a", 1), grade("b", 2)])
    (tmp_path / "g.jsonl").write_text('{"prompt_id": "p", "model": "a", "human_scores": [1]}\n')
    with pytest.raises(BadInputError, match=r"g\.jsonl:1: score"):
        prefer_by_score(tmp_path / "p.jsonl", responses=[tmp_path / "r.jsonl"], grades=[tmp_path / "g.jsonl"])


def rollout(row, outcome, *, text="own text", reference="low text", id_="p"):
    return RolloutRecord(
        step=1, row=row, prompt_id=id_, rung=0, text=text, reference=reference, tokens=1, words=1, think_words=0,
        finish_reason="stop", outcome=outcome, cause=None if outcome else "timeout", reward=None,
    )  # fmt: skip


def judge_all(*rollouts, prompts=(LADDER,), thinking: Thinking = "off"):
    return prefer_by_verdict(rollouts, prompts, thinking=thinking, policy="me")


def test_the_answer_is_chosen_where_it_wins_and_its_reference_where_it_loses():
    made = judge_all(rollout(0, "win", text="good"), rollout(1, "loss", text="bad", reference="high text"))
    assert [(it.chosen_model, it.chosen, it.rejected_model, it.rejected) for it in made.rows] == [
        ("me", "good", "low", "low text"),
        ("high", "high text", "me", "bad"),
    ]
    assert {it.source for it in made.rows} == {"verdicts"}
    assert made.rows[0].margin is None


def test_ties_and_missing_verdicts_are_counted():
    made = judge_all(rollout(0, "tie"), rollout(1, None), rollout(2, None, text="x"))
    assert not made.rows
    assert made.left_out == {LeftOut.TIE: 1, LeftOut.NO_VERDICT: 2}


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        (["win", "win", "loss"], "me"),
        (["loss", "tie", "loss"], "low"),
        (["win", None], "me"),
        (["win", "loss"], LeftOut.UNDECIDED),
        (["win", "tie"], LeftOut.UNDECIDED),
        (["win", "tie", "tie"], LeftOut.TIE),
    ],
)
def test_a_text_judged_several_times_counts_once_by_majority(outcomes, chosen):
    made = judge_all(*(rollout(row, outcome) for row, outcome in enumerate(outcomes)))
    assert len(made.rows) == (chosen in ("me", "low"))
    assert made.rows[0].chosen_model == chosen if made.rows else made.left_out[chosen] == 1


def test_the_same_text_against_another_reference_is_another_comparison():
    assert len(judge_all(rollout(0, "win"), rollout(1, "loss", reference="high text")).rows) == 2


def test_the_plan_is_no_part_of_a_pair():
    text = "<think>win, of course</think><answer> good </answer>"
    assert judge_all(rollout(0, "win", text=text), thinking="on").rows[0].chosen == "good"


def test_an_answer_without_text_is_never_chosen():
    made = judge_all(rollout(0, "win", text="<think>no answer"), thinking="on")
    assert made.left_out == {LeftOut.EMPTY: 1}


def test_a_reference_that_no_ladder_holds_is_the_policys_own():
    (row,) = judge_all(rollout(0, "loss", reference="what I wrote before")).rows
    assert (row.chosen_model, row.rejected_model) == ("me", "me")


def test_pairs_of_verdicts_stand_in_the_order_of_the_prompts():
    other = LADDER.model_copy(update={"id": "q"})
    made = judge_all(rollout(0, "win"), rollout(1, "win", id_="q"), prompts=(other, LADDER))
    assert [it.prompt_id for it in made.rows] == ["q", "p"]


def test_length_bias_is_the_share_of_pairs_whose_longer_text_is_chosen():
    made, prompt = Preferences(), Prompt(id="p", prompt="Write.")
    for chosen, rejected in (("one two", "one"), ("one two", "three"), ("one", "two three four"), ("one", "two")):
        made.add(preference(prompt, ("a", chosen), ("b", rejected), source="scores"))
    assert made.length_bias() == (2, 3)
    assert made.length_bias().share == pytest.approx(2 / 3)
    assert Preferences().length_bias().share is None


def test_without_a_length_bias_half_of_the_longer_texts_are_chosen():
    made, prompt, stream = Preferences(), Prompt(id="p", prompt="Write."), random.Random(0)
    for _ in range(2000):
        one, other = (" ".join(["word"] * stream.randint(1, 50)) for _ in range(2))
        made.add(preference(prompt, ("a", one), ("b", other), source="scores"))
    assert made.length_bias().share == pytest.approx(0.5, abs=0.04)
