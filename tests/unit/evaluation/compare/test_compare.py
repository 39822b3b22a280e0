"""Two sides on the same prompts: who is read, what is paired, and what the numbers are."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from longform.evaluation.compare.measures import Measure, Sampling, contrast, measure_grades, measure_texts
from longform.evaluation.compare.pairing import pair_sides
from longform.evaluation.compare.run import compare_pairing, measure_all, rank_gains
from longform.evaluation.compare.sides import find_prompts, read_sides
from longform.evaluation.compare.tables import compare_tables
from longform.evaluation.tables import render
from longform.recipe.loading import dump_recipe
from longform.recipe.recipe import Recipe
from longform.records.database import ValidationText
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Grade, Prompt, Response

DATA = Path(__file__).parents[5] / "shared" / "data" / "hellobench_htg_scores.jsonl"
SAMPLING = Sampling(resamples=200, draws=500)
REQUESTS = {f"p{i}": f"write {i}" for i in range(4)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def responses(path, *models, prompts=REQUESTS, samples=1, text="{model} {id} {sample}"):
    rows = [
        Response(prompt_id=id_, model=model, sample=sample, text=text.format(model=model, id=id_, sample=sample))
        for id_ in prompts
        for model in models
        for sample in range(samples)
    ]
    write_rows(path, rows)
    return str(path)


def run(path, grades, *, think="off", examiner="examiner", requests=REQUESTS, text="step {step} of {id}"):
    """A run with a validation at each step of `grades`: step -> the grade of each prompt."""
    recipe = {
        "policy": "start",
        "data": {"ladders": "l.jsonl"},
        "rewards": [{"kind": "pairwise", "judge": ["judge", "second"]}],
        "validation": {"prompts": "validation.jsonl", "judge": examiner},
        "generation": {"think": think},
        "run": {"name": "r", "steps": 8},
    }
    with RunDirectory.open(path) as directory:
        directory.recipe_path.write_text(dump_recipe(Recipe.model_validate(recipe)))
        for step, scores in grades.items():
            texts = [
                ValidationText(step, id_, request, text.format(step=step, id=id_), score)
                for (id_, request), score in zip(requests.items(), scores, strict=True)
            ]
            directory.database.record_step(step, seconds=1, metrics={"validation/no_grade": 0.0}, validations=texts)
    return str(path)


def paired(a, b, *, prompts=None, grades=(), group_by=None):
    sides = read_sides(a, b, [Path(it) for it in grades])
    return pair_sides(*sides, *find_prompts(*sides, None if prompts is None else Path(prompts)), group_by=group_by)


def texts(pairing, side):
    return {it.id: [one.text for one in getattr(it, side)] for it in pairing.prompts}


def test_a_run_without_a_step_is_its_last_validation():
    run("r", {0: [1, 2, 3, 4], 4: [2, 3, 4, 5], 8: [3, 4, 5, 6]})
    pairing = paired("r@0", "r")
    assert (pairing.a, pairing.b) == ("r@0", "r@8")
    assert texts(pairing, "b")["p1"] == ["step 8 of p1"]
    assert paired("r@0", "r@4").b == "r@4"


def test_the_answer_of_a_run_that_thinks_is_compared():
    run("r", {0: [1] * 4, 1: [1] * 4}, think="on", text="<think>a plan</think><answer>{step} {id}</answer>")
    assert texts(paired("r@0", "r"), "a")["p0"] == ["0 p0"]


def test_grades_of_a_run_are_those_of_its_examiner():
    run("r", {0: [1, 2, 3, None], 1: [2, 2, 1, 5]})
    (measure,) = measure_grades(paired("r@0", "r"))
    assert (measure.name, measure.judge) == ("grade by examiner", "examiner")
    assert measure.values == {"p0": (1, 2), "p1": (2, 2), "p2": (3, 1)}


def test_grades_of_different_examiners_are_not_compared():
    run("r", {1: [1] * 4})
    run("s", {1: [9] * 4}, examiner="another")
    assert measure_grades(paired("r", "s")) == []


def test_prompts_keep_criteria_and_meta_where_the_recipe_s_file_still_asks_the_same():
    run("r", {0: [1] * 4, 1: [1] * 4})
    rows = [Prompt(id=id_, prompt=request, criteria="be brief") for id_, request in REQUESTS.items()]
    write_rows("validation.jsonl", [*rows[:3], Prompt(id="p3", prompt="something else", criteria="be long")])
    pairing = paired("r@0", "r")
    assert pairing.prompts_from == "validation.jsonl"
    assert [it.prompt.criteria for it in pairing.prompts if it.prompt] == ["be brief"] * 3 + [None]
    assert [it.prompt.request for it in pairing.prompts if it.prompt] == list(REQUESTS.values())


def test_only_prompts_that_both_answered_count_and_the_others_are_counted():
    a = responses("a.jsonl", "alpha", prompts=["p0", "p1", "p2"])
    b = responses("b.jsonl", "beta", prompts=["p2", "p3", "p1", "p4"])
    pairing = paired(a, b)
    assert ([it.id for it in pairing.prompts], pairing.only_a, pairing.only_b) == (["p1", "p2"], 1, 2)


def test_names_with_an_at_sign_are_found():
    responses("a@b.jsonl", "x@1", "x@2")
    pairing = paired("a@b.jsonl@x@1", "a@b.jsonl@x@2")
    assert (pairing.a, pairing.b) == ("x@1", "x@2")


def test_two_sides_of_one_name_are_told_apart():
    responses("a.jsonl", "m")
    responses("b.jsonl", "m", text="other {id}")
    assert (paired("a.jsonl", "b.jsonl").a, paired("a.jsonl", "b.jsonl").b) == ("a.jsonl@m", "b.jsonl@m")
    run("one/r", {1: [1] * 4})
    run("two/r", {1: [1] * 4})
    assert paired("one/r", "two/r").a == "one/r@1"


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("many.jsonl", "one.jsonl", r"many.jsonl: contains several models \(alpha, beta\)"),
        ("many.jsonl@alpa", "one.jsonl", "did you mean 'alpha'"),
        ("one.jsonl", "one.jsonl@m", "the same texts"),
        ("r", "./r@4", "the same texts"),
        ("r@3", "r", r"r@3: step '3' has no validation; available: 0, 4"),
        ("r@last", "r", "has no validation; available"),
        ("empty.jsonl", "r", "empty.jsonl: contains no rows"),
        ("twice.jsonl", "r", "twice.jsonl:2: prompt_id='p0', model='m', sample=0: duplicate key"),
        ("gone.jsonl", "r", "gone.jsonl: no such run"),
        ("gone@3", "r", "gone@3: no such run"),
        ("bare", "r", "bare: not a run directory"),
        ("untested", "r", "untested: has no recorded validation"),
        ("other.jsonl", "r", "no prompt in common"),
        ("asks", "r", r"asks and r: prompt 'p0' has different requests \(4 prompts differ\)"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(a, b, said, tmp_path):
    run("r", {0: [1] * 4, 4: [1] * 4})
    run("asks", {0: [1] * 4}, requests=dict.fromkeys(REQUESTS, "another thing"))
    run("untested", {})
    (tmp_path / "bare").mkdir()
    (tmp_path / "empty.jsonl").write_text("")
    responses("many.jsonl", "alpha", "beta")
    responses("one.jsonl", "m")
    responses("other.jsonl", "m", prompts=["q"])
    line = '{"prompt_id": "p0", "model": "m", "text": "x"}\n'
    (tmp_path / "twice.jsonl").write_text(line + line)
    with pytest.raises(BadInputError, match=said) as caught:
        paired(a, b)
    assert "\n" not in str(caught.value)


def test_a_prompts_file_must_know_the_prompts_and_ask_what_the_run_asked():
    run("r", {1: [1] * 4})
    responses("a.jsonl", "m")
    write_rows("less.jsonl", [Prompt(id="p0", prompt="write 0")])
    with pytest.raises(BadInputError, match=r"less.jsonl: no prompt 'p1'"):
        paired("a.jsonl", "r", prompts="less.jsonl")
    write_rows("else.jsonl", [Prompt(id=id_, prompt="sing") for id_ in REQUESTS])
    with pytest.raises(BadInputError, match="has different requests"):
        paired("a.jsonl", "r", prompts="else.jsonl")


def test_grades_files_are_for_responses_files_and_must_know_their_model():
    run("r", {0: [1] * 4, 1: [1] * 4})
    responses("a.jsonl", "m")
    write_rows("g.jsonl", [Grade(prompt_id="p0", model="stranger", score=1)])
    with pytest.raises(BadInputError, match=r"--grades: g.jsonl: no grades of 'm'"):
        read_sides("a.jsonl", "r", [Path("g.jsonl")])
    with pytest.raises(BadInputError, match="--grades: only valid with responses files"):
        read_sides("r@0", "r", [Path("g.jsonl")])


def test_several_samples_are_one_value_of_their_prompt():
    responses("a.jsonl", "m", samples=2)
    responses("b.jsonl", "n")
    grades = [Grade(prompt_id=id_, model="m", sample=k, score=4 + k, judge="j") for id_ in REQUESTS for k in range(2)]
    write_rows("g.jsonl", [*grades, *(Grade(prompt_id=id_, model="n", score=6, judge="j") for id_ in REQUESTS)])
    pairing = paired("a.jsonl", "b.jsonl", grades=["g.jsonl"])
    (measure,) = measure_grades(pairing)
    assert measure.values == dict.fromkeys(REQUESTS, (4.5, 6))
    found = contrast(measure, SAMPLING)
    assert found is not None
    assert (found.difference.value.estimate, found.difference.n, found.difference.prompts) == (1.5, 4, 4)


def test_a_contrast_is_what_a_hand_computes():
    measure = Measure("grade", "grade", {"p0": (1, 2), "p1": (5, 5 + 1e-12), "p2": (3, 2), "p3": (2, 5), "p4": (1, 3)})
    found = contrast(measure, SAMPLING)
    assert found is not None
    assert found.a.value.estimate == pytest.approx(12 / 5)
    assert found.b.value.estimate == pytest.approx(17 / 5)
    assert found.difference.value.estimate == pytest.approx(1)
    assert found.difference.value.low < 1 < found.difference.value.high
    # Differences 1, -1, 3, 2: of sixteen sign patterns those with |sum| >= 5 are ++++ (7), +-++ (5), -+++ (5) and mirrors.
    assert (found.test.p, found.test.exact) == (6 / 16, True)
    shares = [it.value.estimate for it in (found.higher, found.equal, found.lower)]
    assert shares == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert contrast(measure, SAMPLING, prompts={"q"}) is None


def test_one_prompt_has_no_interval():
    found = contrast(Measure("grade", "grade", {"p": (1, 3)}), SAMPLING)
    assert found is not None
    assert found.difference.value.estimate == 2
    assert math.isnan(found.difference.value.low)


def test_an_empty_text_has_words_but_repeats_nothing():
    write_rows(
        "a.jsonl", [Response(prompt_id="p", model="m", text=" "), Response(prompt_id="q", model="m", text="one two")]
    )
    write_rows("b.jsonl", [Response(prompt_id=id_, model="n", text="a b c") for id_ in "pq"])
    measures = {it.name: it.values for it in measure_texts(paired("a.jsonl", "b.jsonl"))}
    assert measures["words"] == {"p": (0, 3), "q": (2, 3)}
    assert list(measures["repeated word 4-grams"]) == ["q"]


def test_bins_count_the_words_asked_for_or_else_those_of_both_texts():
    responses("a.jsonl", "m", text="word " * 600)
    responses("b.jsonl", "n", text="word " * 5000)
    of_both = paired("a.jsonl", "b.jsonl")
    assert (of_both.bins_of, {it.bin for it in of_both.prompts}) == ("mean words of both texts", {"2000 to 3999"})
    assert paired("b.jsonl", "a.jsonl").prompts[0].bin == "2000 to 3999"
    ranges = [(400, 598), (400, 600), (3000, 5000), (1, 2)]
    rows = [Prompt(id=id_, prompt="x", length_range=span) for id_, span in zip(REQUESTS, ranges, strict=True)]
    write_rows("prompts.jsonl", rows)
    asked = paired("a.jsonl", "b.jsonl", prompts="prompts.jsonl")
    assert asked.bins_of == "requested words"
    assert [it.bin for it in asked.prompts] == ["below 500", "500 to 1999", "4000 and more", "below 500"]
    write_rows("prompts.jsonl", [*rows[:3], Prompt(id="p3", prompt="x")])
    assert paired("a.jsonl", "b.jsonl", prompts="prompts.jsonl").bins_of == "mean words of both texts"


def test_groups_are_the_values_of_a_field_and_a_prompt_without_it_is_an_error():
    responses("a.jsonl", "m")
    responses("b.jsonl", "n", text="more words than the other")
    kinds = ["essay", "story", "essay", "essay"]
    rows = [Prompt(id=id_, prompt="x", meta={"kind": kind}) for id_, kind in zip(REQUESTS, kinds, strict=True)]
    write_rows("prompts.jsonl", rows)
    pairing = paired("a.jsonl", "b.jsonl", prompts="prompts.jsonl", group_by="meta.kind")
    compared = compare_pairing(pairing, measure_all(pairing), sampling=SAMPLING)
    assert [(it.name, it.prompts) for it in compared.groups] == [("essay", 3), ("story", 1)]
    assert all(it.a.prompts == group.prompts for group in compared.groups for it in group.contrasts)
    with pytest.raises(BadInputError, match=r"meta.knd: missing, but required by --group-by; did you mean meta.kind\?"):
        paired("a.jsonl", "b.jsonl", prompts="prompts.jsonl", group_by="meta.knd")
    with pytest.raises(BadInputError, match=r"--group-by meta.kind: needs the prompts"):
        paired("a.jsonl", "b.jsonl", group_by="meta.kind")


def test_the_largest_gain_is_first_and_ties_go_by_id():
    run("r", {0: [5, 5, 5, 5], 1: [5, 7, 2, 7]})
    pairing = paired("r@0", "r")
    ranked = rank_gains(pairing, measure_all(pairing)[0])
    assert [(it.prompt.id, it.gain) for it in ranked] == [("p1", 2), ("p3", 2), ("p0", 0), ("p2", -3)]


def test_tables_show_every_measure_with_interval_and_n_and_few_prompts_are_warned_of():
    run("r", {0: [5, 5, 5, 5], 1: [5, 7, 2, 7]})
    pairing = paired("r@0", "r")
    means, shares = compare_tables(compare_pairing(pairing, measure_all(pairing), sampling=SAMPLING))
    shown = render(means, width=200)
    assert "grade by examiner 5.00 (5.00 to 5.00)" in " ".join(shown.split())
    assert all("too narrow" in render(it) for it in (means, shares))
    assert [row[0] for row in means.rows][:2] == ["grade by examiner", "words"]
    assert all(row[-1] == 4 for row in means.rows)
    assert [str(cell)[:4] for cell in shares.rows[0][1:4]] == ["0.50", "0.25", "0.25"]


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data with the HelloBench files is not there")
def test_two_real_models_differ_as_scipy_says():
    scores: dict[str, dict[str, float]] = {}
    for line in DATA.read_text(encoding="utf-8").split("\n"):
        if line:
            row = json.loads(line)
            scores.setdefault(row["model"], {})[row["prompt_id"]] = row["score"]
    old, new = scores["qwen2_7b"], scores["claude35"]
    for path, model in (("a.jsonl", "qwen2_7b"), ("b.jsonl", "claude35")):
        responses(path, model, prompts=scores[model])
    rows = [Grade(prompt_id=id_, model=model, score=score) for model in scores for id_, score in scores[model].items()]
    write_rows("g.jsonl", rows)
    (measure,) = measure_grades(paired("a.jsonl", "b.jsonl", grades=["g.jsonl"]))
    found = contrast(measure, Sampling())
    assert found is not None
    gains = np.array([new[id_] - old[id_] for id_ in old if id_ in new])
    theirs = stats.bootstrap((gains,), np.mean, method="percentile", n_resamples=5000, rng=1)
    bounds = theirs.confidence_interval.low, theirs.confidence_interval.high
    assert found.difference.value == pytest.approx((gains.mean(), *bounds), abs=0.002)
    assert [round(it.value.estimate * 123) for it in (found.higher, found.equal, found.lower)] == [71, 31, 21]
    assert found.test.p < 0.001
