"""From prompts, responses and grades to ladders: every rule on small files."""

import itertools
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Grade, Prompt, Reference, Response
from longform.selection.select import SelectionOutcome, ladder_references, select
from longform.selection.settings import Floor, SelectionSettings


def _grade(prompt_id, model, score, *, sample=0, judge=None):
    return Grade(prompt_id=prompt_id, model=model, score=score, sample=sample, judge=judge)


def _response(prompt_id, model, text=None, *, sample=0):
    text = f"{model} {sample} on {prompt_id}" if text is None else text
    return Response(prompt_id=prompt_id, model=model, sample=sample, text=text)


def _fates(selection):
    return {it.id: it.fate for it in selection.prompts}


TWO = [_grade("p", "me", 4.0), _grade("p", "a", 8.0), _grade("q", "me", 5.0), _grade("q", "a", 7.0)]


def test_a_ladder_holds_the_prompt_and_its_texts_in_ascending_quality(choose):
    prompt = Prompt.model_validate(
        {"id": "p", "prompt": "Write.", "criteria": "c", "length_range": [5, 9], "meta": {"from": "x"}, "extra": 7}
    )
    grades = [_grade("p", "b", 9.0), _grade("p", "me", 4.0), _grade("p", "a", 6.5)]
    (ladder,) = choose(grades, prompts=[prompt]).ladders
    assert [(it.model, it.score, it.text) for it in ladder.references] == [
        ("me", 4.0, "me 0 on p"),
        ("a", 6.5, "a 0 on p"),
        ("b", 9.0, "b 0 on p"),
    ]
    assert (ladder.policy_score, ladder.potential) == (4.0, 5.0)
    kept = json.loads(ladder.model_dump_json())
    assert {name: kept[name] for name in ("prompt", "criteria", "length_range", "meta", "extra")} == {
        "prompt": "Write.", "criteria": "c", "length_range": [5, 9], "meta": {"from": "x"}, "extra": 7,
    }  # fmt: skip


def test_of_several_samples_the_best_stands_for_its_model(choose):
    grades = [
        _grade("p", "me", 4.0, sample=0),
        _grade("p", "me", 6.0, sample=1),
        _grade("p", "a", 8.0, sample=2),
        _grade("p", "a", 8.0, sample=1),
    ]
    (ladder,) = choose(grades).ladders
    assert [it.text for it in ladder.references] == ["me 1 on p", "a 1 on p"]
    assert ladder.potential == 2.0


def test_several_judges_are_averaged_before_the_best_sample_is_chosen(choose):
    grades = [
        _grade("p", "me", 3.0, judge="x"),
        _grade("p", "me", 5.0, judge="y"),
        _grade("p", "a", 9.0, judge="x", sample=0),
        _grade("p", "a", 3.0, judge="y", sample=0),
        _grade("p", "a", 7.0, judge="x", sample=1),
        _grade("p", "a", 7.0, judge="y", sample=1),
    ]
    (ladder,) = choose(grades).ladders
    assert [(it.text, it.score) for it in ladder.references] == [("me 0 on p", 4.0), ("a 1 on p", 7.0)]


def test_the_order_of_the_judges_never_matters(choose):
    scores = {"x": 0.1, "y": 0.2, "z": 0.3, "w": 1e16, "v": -1e16}
    grades = [_grade("p", "me", score, judge=judge) for judge, score in scores.items()]
    grades += [_grade("p", "a", 9.0, judge=judge) for judge in scores]
    one, other = (choose(order).ladders[0].policy_score for order in (grades, grades[::-1]))
    assert one == other == pytest.approx(0.12)


def test_of_identical_texts_the_policys_copy_stays(choose):
    grades = [_grade("p", "me", 4.0), _grade("p", "a", 8.0), _grade("p", "b", 6.0), _grade("p", "c", 5.0)]
    texts = {"me": "same", "a": "same", "b": "other", "c": "other"}
    (ladder,) = choose(grades, responses=[_response("p", model, text) for model, text in texts.items()]).ladders
    assert [(it.model, it.score) for it in ladder.references] == [("me", 4.0), ("c", 5.0)]


def test_an_empty_text_is_no_reference(choose):
    texts = {"me": "", "a": " \n", "b": "good"}
    grades = [_grade("p", model, score) for model, score in {"me": 1.0, "a": 9.0, "b": 5.0}.items()]
    (ladder,) = choose(grades, responses=[_response("p", model, text) for model, text in texts.items()]).ladders
    assert [it.model for it in ladder.references] == ["b"]
    assert ladder.potential == 4.0, "nobody can learn from the best competitor's empty text"


def test_a_ladder_of_the_policys_own_text_alone_is_none(choose):
    texts = {"me": "mine", "a": " \n"}
    chosen = choose(TWO, responses=[_response(id_, model, text) for id_ in "pq" for model, text in texts.items()])
    assert (chosen.ladders, _fates(chosen)) == ([], {"p": SelectionOutcome.NO_TEXT, "q": SelectionOutcome.NO_TEXT})


def test_one_judge_that_grades_a_response_twice_is_refused(choose):
    with pytest.raises(BadInputError, match="judge 'unnamed' graded 'a', sample 0, twice"):
        choose([*TWO, _grade("p", "a", 3.0, judge="unnamed")])


def test_a_prompt_with_nothing_but_empty_texts_has_no_ladder_and_is_counted(choose):
    responses = [_response("p", "me", ""), _response("p", "a", ""), _response("q", "me"), _response("q", "a")]
    chosen = choose(TWO, responses=responses)
    assert [ladder.id for ladder in chosen.ladders] == ["q"]
    assert _fates(chosen) == {"p": SelectionOutcome.NO_TEXT, "q": SelectionOutcome.CHOSEN}


def test_prompts_without_a_grade_of_the_policy_or_a_competitor_are_left_out_and_counted(choose):
    prompts = [Prompt(id=id_, prompt="w") for id_ in ("p", "q", "nobody", "policy alone", "others alone")]
    chosen = choose(
        [*TWO, _grade("policy alone", "me", 1.0), _grade("others alone", "a", 9.0)],
        prompts=prompts,
    )
    assert [ladder.id for ladder in chosen.ladders] == ["p", "q"]
    assert _fates(chosen) == {
        "p": SelectionOutcome.CHOSEN,
        "q": SelectionOutcome.CHOSEN,
        "nobody": SelectionOutcome.NO_GRADE,
        "policy alone": SelectionOutcome.NO_COMPETITOR_GRADE,
        "others alone": SelectionOutcome.NO_POLICY_GRADE,
    }


def test_the_floor_drops_prompts_that_nobody_writes_well(choose):
    chosen = choose(TWO, floor=Floor(7.5))
    assert [ladder.id for ladder in chosen.ladders] == ["p"]
    expected = {"p": SelectionOutcome.CHOSEN, "q": SelectionOutcome.BELOW_FLOOR}
    assert (_fates(chosen), chosen.floors) == (expected, {"all": 7.5})
    assert len(choose(TWO, floor=Floor(7.0)).ladders) == 2, "a prompt at the floor passes"


def test_a_percentile_floor_is_taken_over_the_prompts_that_are_graded(choose):
    grades = [grade for i in range(10) for grade in (_grade(f"p{i}", "me", 0), _grade(f"p{i}", "a", i))]
    chosen = choose([*grades, _grade("ungraded", "a", 1000)], floor=Floor(50, is_percentile=True))
    assert chosen.floors == {"all": 4.5}
    assert [ladder.id for ladder in chosen.ladders] == ["p9", "p8", "p7", "p6", "p5"]


def test_top_k_keeps_the_first_of_each_value_of_a_field(choose):
    prompts = [Prompt(id=f"p{i}", prompt="w", meta={"dataset": "xy"[i % 2]}) for i in range(6)]
    grades = [grade for i in range(6) for grade in (_grade(f"p{i}", "me", 0), _grade(f"p{i}", "a", i))]
    assert [it.id for it in choose(grades, prompts=prompts, top_k=2).ladders] == ["p5", "p4"]
    chosen = choose(grades, prompts=prompts, top_k=1, group_by="meta.dataset")
    assert [it.id for it in chosen.ladders] == ["p5", "p4"]
    chosen = choose(grades, prompts=prompts, top_k=2, group_by="meta.dataset")
    assert [it.id for it in chosen.ladders] == ["p5", "p4", "p3", "p2"]


def test_a_prompt_without_the_field_of_per_is_named_and_the_others_counted(choose):
    with pytest.raises(
        BadInputError, match=r"^prompt p: meta\.dataset: missing, but required by --group-by \(missing in 2 of 2 "
    ):
        choose(TWO, top_k=1, group_by="meta.dataset")
    prompts = [Prompt(id="p", prompt="w", meta={"dataset": "x"}), Prompt(id="q", prompt="w", meta={"dataset": None})]
    with pytest.raises(BadInputError, match=r"^prompt q: meta\.dataset: missing, but required by --group-by$"):
        choose(TWO, prompts=prompts, group_by="meta.dataset")


def test_a_percentile_floor_is_taken_within_each_group_and_a_score_is_the_same_for_all(choose):
    prompts = [Prompt(id=f"p{i}", prompt="w", meta={"dataset": "xy"[i % 2]}) for i in range(8)]
    best = {i: i + (100 if i % 2 else 0) for i in range(8)}  # the judge of y has another scale
    grades = [grade for i in best for grade in (_grade(f"p{i}", "me", 0), _grade(f"p{i}", "a", best[i]))]
    chosen = choose(grades, prompts=prompts, group_by="meta.dataset", floor=Floor(50, is_percentile=True))
    assert chosen.floors == {"x": 3.0, "y": 104.0}
    assert sorted(ladder.id for ladder in chosen.ladders) == ["p4", "p5", "p6", "p7"]
    over_all = choose(grades, prompts=prompts, floor=Floor(50, is_percentile=True))
    assert sorted(ladder.id for ladder in over_all.ladders) == ["p1", "p3", "p5", "p7"]
    assert choose(grades, prompts=prompts, group_by="meta.dataset", floor=Floor(5.0)).floors == {"x": 5.0, "y": 5.0}


def test_groups_are_counted_one_by_one_and_add_up(choose):
    prompts = [Prompt(id=f"p{i}", prompt="w", meta={"n": i % 2}) for i in range(6)] + [
        Prompt(id="extra", prompt="w", meta={"n": 1})
    ]
    grades = [grade for i in range(6) for grade in (_grade(f"p{i}", "me", 0), _grade(f"p{i}", "a", i))]
    chosen = choose(grades, prompts=prompts, group_by="meta.n", top_k=1, floor=Floor(1.0))
    occurring = {
        group: {fate: count for fate, count in counts.items() if count}
        for group, counts in chosen.count_groups().items()
    }
    assert occurring == {
        "0": {SelectionOutcome.CHOSEN: 1, SelectionOutcome.BELOW_FLOOR: 1, SelectionOutcome.BEYOND_TOP_K: 1},
        "1": {SelectionOutcome.CHOSEN: 1, SelectionOutcome.BEYOND_TOP_K: 2, SelectionOutcome.NO_GRADE: 1},
    }
    assert chosen.count()[SelectionOutcome.CHOSEN] == 2
    assert sum(chosen.count().values()) == len(prompts)


def test_a_policy_that_nobody_graded_is_an_error_that_names_the_models(choose):
    with pytest.raises(BadInputError, match=r"g\.jsonl: no grade of the policy 'you'; available models: a, me"):
        choose(TWO, policy="you")


def test_a_graded_response_that_is_missing_is_an_error(choose):
    with pytest.raises(BadInputError, match=r"r\.jsonl: missing the graded response of 'a', sample 0, to 'p'"):
        choose(TWO, responses=[_response("p", "me"), _response("q", "me"), _response("q", "a")])


def test_a_missing_response_to_a_prompt_that_is_not_chosen_does_not_matter(choose):
    chosen = choose(TWO, responses=[_response("p", "me"), _response("p", "a")], top_k=1)
    assert [ladder.id for ladder in chosen.ladders] == ["p"]


@pytest.mark.parametrize("kind", ["responses", "grades"])
def test_a_row_that_stands_in_two_files_is_refused(tmp_path, kind):
    write_rows(tmp_path / "p.jsonl", [Prompt(id="p", prompt="w")])
    write_rows(tmp_path / "responses.jsonl", [_response("p", "me"), _response("p", "a")])
    write_rows(tmp_path / "grades.jsonl", [_grade("p", "me", 1.0), _grade("p", "a", 2.0)])
    again = tmp_path / "again.jsonl"
    again.write_bytes((tmp_path / f"{kind}.jsonl").read_bytes())
    files = {name: [tmp_path / f"{name}.jsonl"] for name in ("responses", "grades")}
    files[kind].append(again)
    with pytest.raises(BadInputError, match=rf"again\.jsonl:1: .*duplicate key, first in row 1 of .*{kind}\.jsonl"):
        select(
            prompts=tmp_path / "p.jsonl",
            responses=files["responses"],
            grades=files["grades"],
            settings=SelectionSettings("me"),
        )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    strategy=st.sampled_from(["margin", "difficulty", "random"]),
    top_k=st.one_of(st.none(), st.integers(1, 8)),
)
def test_the_order_of_the_files_rows_never_matters(choose, seed, strategy, top_k):
    rng = random.Random(seed)
    models, ids = ("me", "a", "b", "z"), [f"p{i}" for i in range(6)]
    grades = [_grade(id_, model, rng.randint(1, 4)) for id_ in ids for model in models]
    responses = [_response(id_, model, rng.choice(["", "one", "two", "three"])) for id_ in ids for model in models]
    prompts = [Prompt(id=id_, prompt="w") for id_ in ids]
    one, other = (
        choose(
            rng.sample(grades, len(grades)),
            responses=rng.sample(responses, len(responses)),
            prompts=rng.sample(prompts, len(prompts)),
            strategy=strategy,
            top_k=top_k,
        )
        for _ in range(2)
    )
    assert one == other


@given(
    st.lists(
        st.builds(
            Reference,
            model=st.sampled_from(["me", "a", "b", "z"]),
            text=st.sampled_from(["", " ", "one", "two"]),
            score=st.integers(1, 3).map(float),
        ),
        unique_by=lambda it: it.model,
    )
)
def test_a_ladder_ascends_has_no_text_twice_and_never_loses_the_policys_own(references):
    kept = ladder_references(references, policy="me")
    assert [it.score for it in kept] == sorted(it.score for it in kept)
    assert {it.text for it in kept} == {it.text for it in references if it.text.strip()}
    assert len({it.text for it in kept}) == len(kept)
    assert {it for it in references if it.model == "me" and it.text.strip()} <= set(kept)
    for lower, upper in itertools.pairwise(kept):
        assert (lower.score, lower.model != "me", lower.model) < (upper.score, upper.model != "me", upper.model)
