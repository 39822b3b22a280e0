"""The plan of a study: what arms share, what a change makes anew, and which task needs which."""

import json
import re
from typing import Any

import pytest
import yaml
from study_files import RECIPE, STUDY, changed, planned, write_study

from longform.records.errors import BadInputError
from longform.records.progress import no_progress
from longform.studies.check import check_study
from longform.studies.examine import AnswerExam, CompareExam, EloExam, GradeExam
from longform.studies.plan import plan_study
from longform.studies.settings import load_study
from longform.studies.tasks import FinishedTask
from longform.studies.work import GradeWork, PoolWork, SelectWork, SftWork, TaskContext, TrainWork, WriteWork


def of_kind(plan, kind) -> list[Any]:
    return [task for task in plan.tasks.values() if isinstance(task.work, kind)]


def keys(plan):
    return set(plan.tasks)


def test_arms_share_what_they_have_in_common_and_seeds_what_does_not_depend_on_them(tmp_path):
    plan = planned(tmp_path)
    assert len(of_kind(plan, SftWork)) == 2  # one for each seed
    written = [task.work for task in of_kind(plan, WriteWork) if task.work.prompts.name == "prompts.jsonl"]
    assert sorted(it.writer.name for it in written) == ["big", "start", "start"]  # big writes once for both seeds
    assert len(of_kind(plan, GradeWork)) == 2
    assert len(of_kind(plan, SelectWork)) == 4  # by margin and at random, for each seed
    assert len(of_kind(plan, TrainWork)) == 6


def test_every_task_comes_after_those_that_it_needs(tmp_path):
    done = set()
    for task in planned(tmp_path).tasks.values():
        assert done.issuperset(task.needs), task.title
        done.add(task.key)


def test_a_run_reads_what_its_own_steps_make_and_keeps_the_policies_that_are_examined(tmp_path):
    plan = planned(tmp_path)
    by_name = {task.title: task.work for task in of_kind(plan, TrainWork)}
    recipe = by_name["random, seed 2: training"].recipe
    (select,) = [
        task.work
        for task in of_kind(plan, SelectWork)
        if task.work.settings.strategy == "random" and task.work.settings.seed == 2
    ]
    assert recipe.data.ladders == select.out
    assert (recipe.run.seed, recipe.run.keep_policies) == (2, 2)
    assert by_name["mixed, seed 1: training"].recipe.curriculum.mode == "mixed"


def test_the_start_is_examined_once_for_all_arms_of_a_seed(tmp_path):
    plan = planned(tmp_path)
    grades = of_kind(plan, GradeExam)
    # Steps 0, 2, 4 and 6 of three arms and two seeds, where the arms of a seed have step 0 in common.
    assert len(grades) == 2 * (3 * 3 + 1)
    assert len([it for it in plan.measurements if it.column == "grade"]) == 2 * 3 * 4


def test_the_hash_of_a_task_does_not_depend_on_where_the_study_is(tmp_path, monkeypatch):
    found = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        found.append(keys(planned(folder)))
    assert found[0] == found[1]


def test_a_change_makes_anew_only_what_depends_on_it(tmp_path):
    before = planned(tmp_path)
    arms = {**STUDY["arms"], "mixed": {"curriculum.mode": "staged"}}
    after = planned(tmp_path, changed(arms=arms))
    new = {after.tasks[key].title.partition(",")[0] for key in keys(after) - keys(before)}
    assert new == {"mixed"}


def test_another_prompt_makes_everything_anew_that_was_made_from_it(tmp_path):
    source = write_study(tmp_path)
    before = plan_study(load_study(source), tmp_path / "out", source=source)
    (tmp_path / "held-out.jsonl").write_text('{"id": "x", "prompt": "Another."}\n')
    after = plan_study(load_study(source), tmp_path / "out", source=source)
    assert {type(after.tasks[key].work) for key in keys(after) - keys(before)} == {WriteWork, GradeExam, CompareExam}


def test_another_model_under_a_judges_name_makes_its_judgements_anew(tmp_path):
    source = write_study(tmp_path)
    before = plan_study(load_study(source), tmp_path / "out", source=source)
    models = yaml.safe_load((tmp_path / "models.yaml").read_text())
    models["exam"]["model"] = "another"
    models["other"]["concurrency"] = 3
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    after = plan_study(load_study(source), tmp_path / "out", source=source)
    new: list[Any] = [after.tasks[key] for key in keys(after) - keys(before)]
    judges = {getattr(it.work, "judge", None) or it.work.grading.judge for it in new}
    assert judges == {"exam"}


@pytest.mark.parametrize("operation", [{"run.checkpoint_every": 3}, {"run.budget": 4.0}, {"run.show_every": 0}])
def test_how_a_run_is_operated_is_no_part_of_its_hash(tmp_path, operation):
    assert keys(planned(tmp_path)) == keys(planned(tmp_path, changed(train={**STUDY["train"], **operation})))


def test_a_key_that_is_stated_with_its_default_is_no_change(tmp_path):
    stated = {"curriculum.mode": "dynamic", "generation.think": "off"}
    assert keys(planned(tmp_path)) == keys(planned(tmp_path, changed(train={**STUDY["train"], **stated})))


def collected(folder, **changes):
    """The study with prompts and lessons from a file of conversations."""
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "Once."}]}
        for text in (
            "Write of a fox who lost a key",
            "Describe the town where nobody ever sleeps",
            "Tell how rivers bend and why",
        )
    ]
    (folder / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare = {
        "prompts": {"pool": [str(folder / "talk.jsonl")], "held_out": 1, **changes},
        "start": {
            "sft": "sft.yaml",
            "set": {"data": {"prompts": "$prompts/prompts.jsonl", "responses": ["$prompts/responses.jsonl"]}},
        },
        "candidates": {
            "generate": "$prompts/prompts.jsonl",
            "writers": ["$start"],
            "responses": ["$prompts/responses.jsonl"],
        },
        "grades": {**STUDY["prepare"]["grades"], "prompts": "$prompts/prompts.jsonl"},
        "ladders": {**STUDY["prepare"]["ladders"], "prompts": "$prompts/prompts.jsonl"},
    }
    return planned(folder, changed(prepare=prepare))


def test_prompts_held_out_prompts_and_responses_come_from_published_data(tmp_path):
    plan = collected(tmp_path)
    (task,) = [it for it in plan.tasks.values() if isinstance(it.work, PoolWork)]
    task.work.do(task.folder, TaskContext(None, no_progress))
    sizes = {
        name: len((task.folder / f"{name}.jsonl").read_text().splitlines())
        for name in ("prompts", "held-out", "responses")
    }
    assert sizes == {"prompts": 2, "held-out": 1, "responses": 2}
    assert not {*ids(task.folder / "prompts.jsonl")} & {*ids(task.folder / "held-out.jsonl")}
    grading: Any = next(it.work for it in plan.tasks.values() if isinstance(it.work, GradeWork))
    assert [it.parent == task.folder for it in grading.responses] == [False, True]
    before = keys(plan)
    (tmp_path / "talk.jsonl").write_text((tmp_path / "talk.jsonl").read_text().replace("fox", "wolf"))
    assert task.key in before - keys(planned(tmp_path))


def ids(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_too_few_prompts_and_an_unknown_file_of_a_collection_are_named(tmp_path):
    plan = collected(tmp_path, held_out=3)
    (task,) = [it for it in plan.tasks.values() if isinstance(it.work, PoolWork)]
    with pytest.raises(BadInputError, match="held_out 3: only 3 prompts are left"):
        task.work.do(task.folder, TaskContext(None, no_progress))
    prepare = {**STUDY["prepare"], "prompts": {"pool": ["rows.jsonl"]}}
    wrong = changed(prepare=prepare, train={**STUDY["train"], "validation": {"prompts": "$prompts", "judge": "exam"}})
    with pytest.raises(
        BadInputError, match=r"\$prompts: must be \$prompts/prompts.jsonl, /held-out.jsonl or /responses.jsonl"
    ):
        planned(tmp_path, wrong)


def test_arms_that_differ_in_name_alone_are_one_run_with_one_examination(tmp_path):
    plan = planned(tmp_path, changed(arms={"one": {}, "other": {"curriculum.mode": "dynamic"}}))
    assert len(of_kind(plan, TrainWork)) == 2
    by_arm = {(it.arm, it.seed): it.task for it in plan.measurements if it.column == "grade" and it.is_last}
    assert by_arm["one", 1] == by_arm["other", 1]
    for exam in (task.work for task in of_kind(plan, GradeExam)):
        (responses,) = exam.grading.responses
        assert responses in {work.out for work in (task.work for task in of_kind(plan, WriteWork))}


def test_studies_in_one_folder_share_what_is_done_under_whatever_name(tmp_path):
    first = planned(tmp_path)
    task: Any = next(task for task in first.tasks.values() if task.title == "dynamic, seed 1: training")
    FinishedTask(task.title, task.folder.relative_to(first.folder).as_posix(), 1.0).write(first.folder, task.key)
    second = planned(tmp_path, changed(study="another", arms={"paper": {}, "random": STUDY["arms"]["random"]}))
    found: Any = second.tasks[task.key]
    assert (found.folder, found.work.recipe.run_path) == (task.folder, task.folder)


def test_baselines_and_fixed_models_are_arms(tmp_path):
    arms = {"dynamic": {}, "continued": {"sft": "sft.yaml", "set": {"policy": "$start"}}, "before": {"model": "$start"}}
    plan = planned(tmp_path, changed(arms={**arms, "published": {"model": "anchor"}}))
    continued = [task for task in of_kind(plan, SftWork) if task.title.startswith("continued")]
    start = next(task for task in of_kind(plan, SftWork) if task.title == "start, seed 1: fine-tuning")
    assert continued[0].work.recipe.policy == str(start.work.recipe.out)
    last = {it.arm for it in plan.measurements if it.column == "grade" and it.is_last}
    assert last == {"dynamic", "continued", "before", "published"}
    # What is not trained is not compared with itself before training.
    assert {it.arm for it in plan.measurements if it.column == "against start, exam"} == {"dynamic"}


def test_elo_is_from_games_with_each_anchor(tmp_path):
    elo = {"elo": {"anchor": 1200.0, "big": 900.0}, "prompts": "held-out.jsonl", "judge": "exam"}
    plan = planned(tmp_path, changed(examine=[elo]))
    exams = of_kind(plan, EloExam)
    assert len(exams) == 6
    assert {name: path.name for name, path in exams[0].work.opponents.items()} == dict.fromkeys(
        ("anchor", "big"), "responses.jsonl"
    )
    assert len([task for task in of_kind(plan, WriteWork) if task.work.writer.name == "anchor"]) == 1


def test_an_arm_can_be_compared_with_another_one(tmp_path):
    against = {"compare": "mixed", "prompts": "held-out.jsonl", "judge": "exam"}
    plan = planned(tmp_path, changed(examine=[against]))
    assert {(it.arm, it.seed) for it in plan.measurements} == {
        (arm, seed) for arm in ("dynamic", "random") for seed in (1, 2)
    }


def test_examinations_of_answers_and_against_a_served_model_are_planned_for_every_arm(tmp_path):
    against = {"name": "won", "compare": "anchor", "prompts": "held-out.jsonl", "judge": "exam"}
    plan = planned(tmp_path, changed(examine=[{"answer": "exact", "prompts": "held-out.jsonl"}, against]))
    assert {(it.column, it.arm) for it in plan.measurements} == {
        (column, arm) for column in ("answer", "won") for arm in STUDY["arms"]
    }
    (opponent,) = {task.work.opponent for task in of_kind(plan, CompareExam)}
    assert opponent.parent.name.startswith("anchor-")
    assert len(of_kind(plan, AnswerExam)) == len(of_kind(plan, CompareExam)) == 3 * 2
    check_study(plan)


def test_files_and_models_outside_the_study_are_part_of_what_depends_on_them(tmp_path):
    (tmp_path / "think.txt").write_text("Think. {request}\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    recipe = {
        **RECIPE,
        "method": "grpo",
        "policy": "model",
        "data": {"per_step": 4, "group": 4, "prompts": "prompts.jsonl"},
    }
    recipe |= {"rewards": [{"kind": "pointwise", "judge": "judge"}]}
    recipe |= {"generation": {"think": "on", "think_prompt": "think.txt"}}
    (tmp_path / "grpo.yaml").write_text(json.dumps(recipe))
    examine = [{"name": "grade", "grade": True, "prompts": "held-out.jsonl", "judge": "exam"}]
    study = changed(base="grpo.yaml", train={}, prepare={}, arms={"one": {}}, examine=examine, seeds=[1])
    found = [keys(planned(tmp_path, study))]
    (tmp_path / "think.txt").write_text("Think twice. {request}\n")
    found.append(keys(planned(tmp_path, study)))
    (tmp_path / "model" / "config.json").write_text('{"layers": 2}')
    found.append(keys(planned(tmp_path, study)))
    assert not (found[0] & found[1] or found[1] & found[2]), "training, writing and grading depend on each"


def test_the_responses_of_one_writer_are_an_input_of_other_steps(tmp_path):
    def plan(reference):
        lessons = {"sft": "sft.yaml", "set": {"data": {"prompts": "prompts.jsonl", "responses": [reference]}}}
        return planned(tmp_path, changed(prepare={**STUDY["prepare"], "start": {"sft": "sft.yaml"}, "more": lessons},
                       arms={"more": {"model": "$more"}}))  # fmt: skip

    taught: Any = next(
        it for it in of_kind(plan("$candidates/big"), SftWork) if it.title == "more, seed 1: fine-tuning"
    )
    assert taught.work.recipe.data.responses[0].parent.name.startswith("big-")
    with pytest.raises(BadInputError, match=r"\$candidates: must name a writer of the step: \$candidates/start"):
        plan("$candidates")


WRONG = {
    "a model that is no name": ({"arms": {"a": {"model": 3}}}, r"arms\.a: model: must be a name of models\.yaml"),
    "an unknown step": ({"train": {"data.ladders": "$ladder"}}, r"arms\.dynamic: \$ladder: no such step"),
    "an unknown key of a recipe": ({"arms": {"a": {"curriculum.modes": "mixed"}}}, r"arms\.a: .*curriculum\.modes"),
    "an unknown key of a step": ({"arms": {"a": {"ladders.strategies": "x"}}}, r"arms\.a: ladders\.strategies"),
    "an unknown recipe": ({"base": "nothing.yaml"}, "no recipe 'nothing.yaml'"),
    "no recipe": ({"base": None}, "set `base`"),
    "responses that are none": (
        {"prepare": {**STUDY["prepare"], "grades": {"grade": "$start", "prompts": "prompts.jsonl", "judge": "judge"}}},
        "must be a step that generates",
    ),
    "a step that depends on itself": (
        {"prepare": {**STUDY["prepare"], "start": {"sft": "sft.yaml", "set": {"data.rows": ["$ladders"]}}}},
        r"prepare\.start: depends on itself: \$start needs \$ladders needs \$start; remove",
    ),
    "an unknown strategy": (
        {"arms": {"a": {"ladders.strategy": "randm"}}},
        r"arms\.a: prepare\.ladders\.strategy: unknown strategy 'randm'.*did you mean 'random'",
    ),
    "a policy that writes nothing": (
        {"arms": {"a": {"ladders.policy": "nobody"}}},
        r"arms\.a: prepare\.ladders\.policy: 'nobody' writes none of \$candidates; its writers are start, big",
    ),
    "two writers of one name": (
        {"arms": {"a": {"candidates.writers": ["$start", "big", "models/big"]}}},
        r"arms\.a: prepare\.candidates\.writers: two are called 'big'",
    ),
    "an unknown benchmark": (
        {"examine": [{"bench": "writingbenc", "data": "no", "judge": "exam"}]},
        "unknown benchmark 'writingbenc'",
    ),
    "a benchmark whose data is missing": (
        {"examine": [{"bench": "writingbench", "data": "no", "judge": "exam"}]},
        "no: no such file; `longform bench fetch writingbench --out no` downloads it",
    ),
    "overrides of a model": ({"arms": {"a": {"model": "big", "curriculum.mode": "mixed"}}}, "only valid for an arm"),
    "no such file": ({"examine": [{"grade": True, "prompts": "none.jsonl", "judge": "exam"}]}, r"none\.jsonl: no such"),
}


@pytest.mark.parametrize(("parts", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_planned_is_one_line_that_names_the_study(tmp_path, parts, message):
    with pytest.raises(BadInputError, match=message) as error:
        planned(tmp_path, changed(**parts))
    assert str(tmp_path / "study.yaml") in str(error.value)


GRADE = {"name": "grade", "grade": True, "prompts": "held-out.jsonl", "judge": "exam"}
UNMEASURABLE = {
    "study.yaml: arms.same: is the same as arms.dynamic": {
        "arms": {"dynamic": {}, "same": {"curriculum.mode": "dynamic"}, "mixed": {"curriculum.mode": "mixed"}}
    },
    "study.yaml: examine: grade: at: step 500 is after the last step of every arm, 6; name an earlier one": {
        "examine": [{**GRADE, "at": [0, 500]}]
    },
    "examine: grade: no arm has a policy to measure": {"examine": [{**GRADE, "at": "every 50"}]},
    "no prompt has meta.kind: poem; change `where` of the column 'grade'": {
        "examine": [{**GRADE, "where": {"meta.kind": "poem"}}]
    },
    "none.jsonl: cannot be read: No such file": {
        "train": {**STUDY["train"], "validation": {"prompts": "none.jsonl", "judge": "exam", "every": 2}}
    },
    "study.yaml: examine: longbench-write: needs `judge`": {
        "examine": [{"bench": "longbench-write", "data": "rows.jsonl"}]
    },
    "study.yaml: examine: longbench-v2: leave out `judge`": {
        "examine": [{"bench": "longbench-v2", "data": "rows.jsonl", "judge": "exam"}]
    },
    "/no/such/folder: not a model folder": {"arms": {"dynamic": {}, "other": {"model": "/no/such/folder"}}},
}


@pytest.mark.parametrize(("message", "parts"), UNMEASURABLE.items(), ids=UNMEASURABLE.keys())
def test_what_could_never_be_measured_is_refused_before_anything_is_trained(tmp_path, monkeypatch, message, parts):
    monkeypatch.chdir(tmp_path)
    plan = planned(tmp_path, changed(**parts))
    with pytest.raises(BadInputError, match=re.escape(message)):
        check_study(plan)


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path):
    source = write_study(tmp_path)
    with pytest.raises(BadInputError, match="is a file; name a folder"):
        plan_study(load_study(source), source, source=source)
