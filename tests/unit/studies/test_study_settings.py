"""The study file: what it may say, and the one line that says what is wrong with it."""

import pytest
from pydantic import ValidationError
from study_files import STUDY, changed, validated, write_study

from longform.records.errors import BadInputError
from longform.studies.settings import StudyExamination, load_study

GRADE = {"grade": True, "prompts": "p", "judge": "exam"}


def test_an_examination_is_due_at_its_steps_of_a_run():
    examination = StudyExamination.model_validate({**GRADE, "at": [0, 3, "every 4", "last"]})
    assert examination.steps(10) == [0, 3, 4, 8, 10]
    assert examination.steps(2) == [0, 2]
    assert examination.steps(0) == [0]


@pytest.mark.parametrize(("at", "interval"), [([0, "last"], 0), (["every 20", 30], 10), ([0, "every 50"], 50)])
def test_the_interval_of_the_policies_that_have_to_be_kept(at, interval):
    assert StudyExamination.model_validate({**GRADE, "at": at}).interval == interval


def test_each_judge_gives_a_column():
    assert validated().columns.keys() == {"grade", "against start, exam", "against start, other"}


WRONG = {
    "no such column": {"curves": [{"y": "length"}]},
    "no such arm": {"tables": [{"paired_with": "static"}]},
    "twice the same column": {"examine": [{**GRADE, "name": "a"}, {**GRADE, "name": "a"}]},
    "twice the same seed": {"seeds": [1, 1]},
    "a seed that is no number": {"seeds": [True, 2]},
    "a seed below 0": {"seeds": [-1]},
    "no steps": {"examine": [{**GRADE, "at": []}]},
    "a step that is no number": {"examine": [{**GRADE, "at": [True]}]},
    "twice the same judge": {"examine": [{**GRADE, "judge": ["exam", "exam"]}]},
    "an infinite rating": {"examine": [{"elo": {"big": float("inf")}, "prompts": "p", "judge": "exam"}]},
    "no kind": {"examine": [{"prompts": "p", "judge": "exam"}]},
    "two kinds": {"examine": [{**GRADE, "compare": "start"}]},
    "no judge": {"examine": [{"grade": True, "prompts": "p"}]},
    "no step": {"examine": [{**GRADE, "at": "sometimes"}]},
    "every 0": {"examine": [{**GRADE, "at": "every 0"}]},
    "a name for two judges": {"examine": [{"compare": "start", "prompts": "p", "judge": ["a", "b"], "name": "c"}]},
    "a benchmark without data": {"examine": [{"bench": "writingbench", "judge": "exam"}]},
    "a step called as a section of recipes": {"prepare": {"curriculum": {"sft": "sft.yaml"}}},
    "a step of no kind": {"prepare": {"start": {"fine_tune": "sft.yaml"}}},
    "an unknown key of a step": {"prepare": {"start": {"sft": "sft.yaml", "steps": 3}}},
    "an unknown key": {"arm": {}},
    "no arms": {"arms": {}},
    "a seed of an arm's own": {"arms": {"a": {"run.seed": 3}}},
    "a name of its run": {"train": {"run": {"name": "mine"}}},
    "an Elo against nobody": {"examine": [{"elo": {}, "prompts": "p", "judge": "exam"}]},
    "an arm against itself": {"hypotheses": [{"claim": "c", "larger": "mixed", "smaller": "mixed", "column": "grade"}]},
    "an interaction of one column": {
        "hypotheses": [{"claim": "c", "larger": "mixed", "smaller": "dynamic", "column": "grade", "beyond": "grade"}]
    },
    "an answer that a judge is asked about": {"examine": [{"answer": "exact", "prompts": "p", "judge": "exam"}]},
    "several games with one prompt": {"examine": [{"compare": "big", "prompts": "p", "judge": "exam", "samples": 2}]},
    "a step that is no mapping": {"prepare": ["start"]},
    "a name with a slash": {"arms": {"a/b": {}}},
}


@pytest.mark.parametrize("parts", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_study_is_one_line_that_names_the_file(tmp_path, parts):
    path = write_study(tmp_path, changed(**parts))
    with pytest.raises(BadInputError) as error:
        load_study(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_an_error_names_the_key(tmp_path):
    path = write_study(tmp_path, changed(curves=[{"y": "length"}]))
    with pytest.raises(BadInputError, match="curves: no column 'length'; columns: against start, exam"):
        load_study(path)
    path = write_study(tmp_path, changed(prepare={"start": {"sft": "sft.yaml", "steps": 3}}))
    with pytest.raises(BadInputError, match=r"start\.steps: unknown key"):
        load_study(path)
    path = write_study(tmp_path, STUDY)
    path.write_text(path.read_text().replace("arms:", "arm:"))
    with pytest.raises(BadInputError, match=r"arm: unknown key; did you mean 'arms'\?"):
        load_study(path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"curve": [{"y": "grade"}]}, "curve: unknown key; did you mean 'curves'?"),
        ({"examine": [{**GRADE, "limits": 3}]}, "examine.0.limits: unknown key; did you mean 'limit'?"),
        (
            {"prepare": {"start": {"sft": "sft.yaml", "sets": {}}}},
            "prepare: start.sets: unknown key; did you mean 'set'?",
        ),
        ({"colour": "red"}, "colour: unknown key"),
    ],
)
def test_an_unknown_key_that_looks_like_one_that_may_be_left_out_is_told_which(tmp_path, parts, message):
    path = write_study(tmp_path, changed(**parts))
    with pytest.raises(BadInputError) as error:
        load_study(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_recipe_is_no_study(tmp_path):
    write_study(tmp_path)
    with pytest.raises(BadInputError, match="not a study"):
        load_study(tmp_path / "base.yaml")


def test_the_study_of_the_other_tests_is_valid(tmp_path):
    assert load_study(write_study(tmp_path)).arms.keys() == STUDY["arms"].keys()


@pytest.mark.parametrize(
    ("examination", "message"),
    [
        ({"grade": True, "prompts": "held-out.jsonl", "judge": "exam", "where": {"need": 2}}, "must be meta.FIELD"),
        ({"metric": "validation/grade", "where": {"meta.need": 2}}, "only valid with grade, compare and answer"),
        ({"answer": "exact", "prompts": "held-out.jsonl", "judge": "exam"}, "no `judge`"),
        ({"answer": "exact"}, "needs `prompts`"),
        ({"answer": "essay", "prompts": "held-out.jsonl"}, "exact"),
    ],
)
def test_an_examination_of_part_of_the_prompts_or_of_answers_says_what_it_needs(examination, message):
    with pytest.raises(ValidationError, match=message):
        StudyExamination.model_validate(examination)


def test_an_interaction_names_two_columns_of_the_study():
    wrong = {"claim": "x", "larger": "dynamic", "smaller": "mixed", "column": "grade", "beyond": "another"}
    with pytest.raises(ValidationError, match="no column 'another'"):
        validated(hypotheses=[wrong])
