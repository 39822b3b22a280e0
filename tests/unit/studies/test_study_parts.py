"""Examinations of part of the prompts and of answers, interactions, and think prompts that a step makes."""

import json
from typing import Any

import pytest
from study_files import RECIPE, changed, planned

from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.progress import no_progress
from longform.records.schemas import Prompt, Response
from longform.studies.examine import AnswerExam, GradeExam, read_values, write_values
from longform.studies.results import Conclusion, read_results
from longform.studies.tables import study_tables
from longform.studies.work import TaskContext, WriteWork

CONTEXT = TaskContext(make_world=None, progress=no_progress)
EASY, HARD = (
    {"name": name, "grade": True, "prompts": "kinds.jsonl", "judge": "exam", "where": {"meta.need": need}}
    for name, need in {"easy": 0, "hard": 2}.items()
)
CLAIM = {
    "claim": "more",
    "larger": "dynamic",
    "smaller": "mixed",
    "column": "hard",
    "beyond": "easy",
    "difference": 0.5,
}


def with_kinds(tmp_path, **parts: Any):
    """The plan of a study whose prompts have needs 0, 1, 2, 0, 1, 2."""
    rows = (f'{{"id": "k{n}", "prompt": "Write {n}.", "meta": {{"need": {n % 3}}}}}\n' for n in range(6))
    (tmp_path / "kinds.jsonl").write_text("".join(rows))
    return planned(tmp_path, changed(**{"examine": [EASY, HARD], "seeds": [1, 2, 3], **parts}))


def fill(plan, value):
    """Write the values of every grade: `value(arm, seed, prompt)`."""
    for it in plan.measurements:
        folder = plan.tasks[it.task].folder
        folder.mkdir(parents=True, exist_ok=True)
        write_values(folder, {f"k{n}": value(it.arm, it.seed, n) for n in range(6)}, prompts=6)


def test_columns_of_parts_of_the_prompts_share_one_grading_and_average_over_their_own(tmp_path):
    plan = with_kinds(tmp_path)
    assert len([it for it in plan.tasks.values() if isinstance(it.work, GradeExam)]) == 3 * 3
    fill(plan, lambda arm, seed, n: float(n % 3))
    results: Any = read_results(plan)
    assert results.mean("easy", "dynamic").interval.estimate == 0.0
    assert results.mean("hard", "dynamic").interval.estimate == 2.0
    assert results.mean("hard", "dynamic").prompts == 2


def test_a_part_that_no_prompt_belongs_to_is_one_line(tmp_path):
    plan = with_kinds(tmp_path, examine=[{**EASY, "where": {"meta.need": 7}}])
    fill(plan, lambda arm, seed, n: 1.0)
    with pytest.raises(BadInputError, match=r"no prompt has meta\.need: 7; change `where` of the column 'easy'"):
        read_results(plan)


@pytest.mark.parametrize(
    ("gain", "finding"), [(1.0, Conclusion.SHOWN), (-1.0, Conclusion.CONTRADICTED), (0.0, Conclusion.NOT_SHOWN)]
)
def test_an_interaction_is_the_difference_of_two_differences_by_seed(tmp_path, gain, finding):
    plan = with_kinds(tmp_path, hypotheses=[CLAIM])

    def value(arm, seed, n):
        noise = 0.1 * seed * (arm == "dynamic") * (1 if n % 3 == 2 else -1) - (0.2 * (n % 3 == 2) - 0.1) * 2 * (
            arm == "dynamic"
        )
        return 5.0 + (arm == "dynamic") * (3.0 + gain * (n % 3 == 2)) + noise

    fill(plan, value)
    results = read_results(plan)
    (tested,) = results.verdicts()
    assert tested.difference is not None
    assert tested.difference.mean.interval.estimate == pytest.approx(gain, abs=0.21)
    assert tested.difference.mean.seeds == 3
    assert tested.finding == finding
    assert "in hard, more than in easy" in str(study_tables(results)[-1].rows[0][0])


def test_an_interaction_without_one_of_its_columns_is_not_measured(tmp_path):
    plan = with_kinds(tmp_path, hypotheses=[CLAIM])
    (tested,) = read_results(plan).verdicts()
    assert tested.finding == Conclusion.MISSING


def test_answers_are_compared_with_the_expected_ones_without_a_judge(tmp_path):
    rows = [Prompt(id=f"q{n}", prompt="Which?", meta={"answer": "lantern"}) for n in range(4)]
    texts = ["The answer is lantern.", "The answer is key.", "A lantern.", "The answer is Lantern."]
    write_rows(tmp_path / "questions.jsonl", rows)
    write_rows(
        tmp_path / "responses.jsonl",
        [Response(prompt_id=row.id, model="it", text=text) for row, text in zip(rows, texts, strict=True)],
    )
    exam = AnswerExam(tmp_path / "responses.jsonl", tmp_path / "questions.jsonl", "exact")
    exam.do(tmp_path / "exam", CONTEXT)
    assert read_values(tmp_path / "exam") == {"q0": 1.0, "q1": 0.0, "q2": 0.0, "q3": 1.0}


def test_an_answer_that_was_cut_off_is_wrong_and_a_prompt_without_an_answer_is_one_line(tmp_path):
    write_rows(tmp_path / "questions.jsonl", [Prompt(id="q", prompt="Which?", meta={"answer": "key"})])
    cut = Response(prompt_id="q", model="it", text="The answer is key", finish_reason="length")
    write_rows(tmp_path / "responses.jsonl", [cut])
    AnswerExam(tmp_path / "responses.jsonl", tmp_path / "questions.jsonl", "exact").do(tmp_path / "exam", CONTEXT)
    assert read_values(tmp_path / "exam") == {"q": 0.0}
    write_rows(tmp_path / "questions.jsonl", [Prompt(id="q", prompt="Which?")])
    with pytest.raises(BadInputError, match=r"questions\.jsonl: prompt q: meta\.answer"):
        AnswerExam(tmp_path / "responses.jsonl", tmp_path / "questions.jsonl", "exact").do(tmp_path / "exam", CONTEXT)


def test_a_think_prompt_of_a_step_is_read_where_it_is_made_and_its_making_changes_no_hash(tmp_path):
    parts: dict[str, Any] = {
        "world": {"trails": True},
        "prepare": {"start": {"sft": "sft.yaml"}},
        "train": {"policy": "$start", "data.prompts": "prompts.jsonl"},
        "arms": {"think": {"generation.think": "on", "generation.think_prompt": "$world/think.txt"}},
        "examine": [{"name": "grade", "at": [0, "last"], "grade": True, "prompts": "held-out.jsonl", "judge": "exam"}],
        "seeds": [1],
    }
    recipe = {**RECIPE, "method": "grpo", "data": {"per_step": 4, "group": 4, "prompts": "prompts.jsonl"}}
    recipe["rewards"] = [{"kind": "pointwise", "judge": "judge"}]
    parts["base"] = "grpo.yaml"
    (tmp_path / "grpo.yaml").write_text(json.dumps(recipe))
    before = planned(tmp_path, changed(**parts))
    writers = [it.work.writer for it in before.tasks.values() if isinstance(it.work, WriteWork)]
    (world,) = [it.folder for it in before.tasks.values() if it.title == "world, seed 1"]
    assert [it.generation.think_prompt for it in writers] == [world / "think.txt"] * 2
    world.mkdir(parents=True)
    (world / "think.txt").write_text("Think first. {request}\n")
    assert set(planned(tmp_path, changed(**parts)).tasks) == set(before.tasks)
