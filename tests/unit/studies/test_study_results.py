"""What a study says: means, paired differences and hypotheses, from values by seed and prompt."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from study_files import STUDY, changed, planned

from longform.evaluation.tables import format_table, render
from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game
from longform.report.study import read_findings, study_charts
from longform.studies.examine import anchored_rating, read_values, write_values
from longform.studies.history import record_study
from longform.studies.page import findings_of, write_study_page
from longform.studies.results import Conclusion, PairedOutcome, difference_of, read_results
from longform.studies.tables import study_tables
from longform.studies.tasks import FinishedTask


def values(mean, *, seeds=(1, 2, 3), prompts=20, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return {it: {f"{it}-{n}": mean + noise * rng.normal() for n in range(prompts)} for it in seeds}


def p_value(numbers) -> float:
    found: Any = ttest_1samp(numbers, 0)
    return found.pvalue


def difference(one, other) -> Any:
    return difference_of(one, other)


def test_a_difference_is_paired_by_seed_and_prompt():
    # The prompts differ by far more than the arms do.
    hard = {seed: {f"p{n}": 10.0 * n + 0.1 * seed for n in range(5)} for seed in (1, 2, 3)}
    better = {seed: {prompt: value + 1 + 0.01 * seed for prompt, value in it.items()} for seed, it in hard.items()}
    found = difference(better, hard)
    assert found.outcome == PairedOutcome.HIGHER
    assert found.mean.interval.estimate == pytest.approx(1.02)
    assert difference(hard, better).outcome == PairedOutcome.LOWER


def test_with_other_prompts_for_each_seed_it_is_the_t_test_over_seeds():
    one, other = values(5.0, noise=1.0), values(4.0, noise=1.0, seed=1)
    found = difference(one, other)
    means = [np.mean([one[seed][it] - other[seed][it] for it in one[seed]]) for seed in one]
    low, high = ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.mean.interval[1:] == pytest.approx((low, high))


def test_a_seed_or_a_prompt_that_one_arm_lacks_does_not_count():
    found = difference({1: {"a": 3.0, "b": 9.0}, 2: {"a": 5.0}}, {1: {"a": 1.0}, 3: {"a": 0.0}})
    assert (found.mean.interval.estimate, found.mean.seeds, found.mean.prompts) == (2.0, 1, 1)
    assert found.outcome == PairedOutcome.UNKNOWN
    assert difference({1: {"a": 1.0}}, {2: {"a": 1.0}}) is None


def test_the_difference_that_it_would_find_is_found_eight_times_out_of_ten():
    found = difference(values(5.0, noise=1.0), values(5.0, noise=1.0, seed=1))
    rng, times = np.random.default_rng(3), 0
    for _ in range(1000):
        sd = found.mean.standard_error * math.sqrt(3)
        times += p_value(found.detectable + sd * rng.normal(size=3)) < 0.05
    assert 0.76 < times / 1000 < 0.84


def fill(plan, means):
    """Write values for all measurements: of an arm's mean, plus a thousandth of the step."""
    rng = np.random.default_rng(0)
    for it in plan.measurements:
        folder = plan.tasks[it.task].folder
        folder.mkdir(parents=True, exist_ok=True)
        prompts = {f"p{n}": means[it.arm] + it.step / 1000 + 0.01 * rng.normal() for n in range(10)}
        write_values(folder, prompts, prompts=10)


HYPOTHESES = [
    {"claim": "a", "larger": "dynamic", "smaller": "mixed", "column": "grade", "difference": 0.5},
    {"claim": "b", "larger": "mixed", "smaller": "dynamic", "column": "grade"},
    {"claim": "c", "larger": "dynamic", "smaller": "random", "column": "grade"},
]
GRADE = {"name": "grade", "at": [0, "every 2", "last"], "grade": True, "prompts": "held-out.jsonl", "judge": "exam"}
FINDING = changed(
    seeds=[1, 2, 3],
    examine=[GRADE],
    hypotheses=HYPOTHESES,
    tables=[{"paired_with": "mixed"}],
    curves=[{"y": "grade"}],
)
MEANS = {"dynamic": 7.0, "mixed": 6.0, "random": 7.0}


def test_hypotheses_are_shown_contradicted_or_not_shown(tmp_path):
    plan = planned(tmp_path, FINDING)
    fill(plan, MEANS)
    found = read_results(plan).verdicts()
    assert [it.finding for it in found] == [Conclusion.SHOWN, Conclusion.CONTRADICTED, Conclusion.NOT_SHOWN]
    assert found[0].power == pytest.approx(1.0)
    assert found[1].power is None


def test_what_is_not_measured_yet_is_said_and_never_guessed(tmp_path):
    plan = planned(tmp_path, FINDING)
    results = read_results(plan)
    assert [it.finding for it in results.verdicts()] == [Conclusion.MISSING] * 3
    text = render(study_tables(results)[0])
    assert "36 of 36 measurements are missing" in text


def test_tables_fit_80_columns_and_say_what_is_undecided(tmp_path):
    plan = planned(tmp_path, FINDING)
    fill(plan, MEANS)
    text = "\n\n".join(map(render, study_tables(read_results(plan))))
    assert max(map(len, text.splitlines())) <= 80
    assert "higher" in text
    assert "undecided" in "\n".join(
        map(
            render,
            study_tables(
                read_results(planned(tmp_path, changed(**{**FINDING, "tables": [{"paired_with": "random"}]})))
            ),
        )
    )


def test_tables_of_one_seed_say_what_they_do_not_show(tmp_path):
    plan = planned(tmp_path, changed(**{**FINDING, "seeds": [1]}))
    fill(plan, MEANS)
    assert "one seed" in render(study_tables(read_results(plan))[0])


def test_a_study_that_was_changed_after_its_first_run_says_so(tmp_path):
    plan = planned(tmp_path, FINDING)
    plan.folder.mkdir()
    record_study(plan)
    record_study(plan)
    assert "changed" not in render(study_tables(read_results(plan))[0])
    other = planned(tmp_path, changed(**{**FINDING, "seeds": [1, 2]}))
    record_study(other)
    assert "changed 1 time" in render(study_tables(read_results(other))[0])


def test_curves_are_means_by_step_and_the_page_escapes_names(tmp_path):
    arms = {**STUDY["arms"]}
    plan = planned(tmp_path, changed(**{**FINDING, "arms": arms, "source": "<b>Table</b>"}))
    fill(plan, MEANS)
    results = read_results(plan)
    assert list(results.curve("grade", "dynamic")) == [0, 2, 4, 6]
    (chart,) = study_charts(findings_of(results))
    assert [it.label for it in chart.marks if hasattr(it, "label") and it.label] == list(arms)
    write_study_page(tmp_path / "study.html", findings_of(results))
    page = (tmp_path / "study.html").read_text()
    assert "<b>Table" not in page
    assert "&lt;b&gt;Table" in page


def test_json_has_rows_by_column_and_intervals(tmp_path):
    plan = planned(tmp_path, FINDING)
    fill(plan, MEANS)
    first = findings_of(read_results(plan)).as_json()["tables"][0]["rows"][0]
    assert first["arm"] == "dynamic"
    assert first["grade"]["low"] < first["grade"]["estimate"] < first["grade"]["high"]


def test_what_is_stored_for_pages_is_read_back_the_same(tmp_path):
    plan = planned(tmp_path, FINDING)
    plan.folder.mkdir()
    fill(plan, MEANS)
    findings = findings_of(read_results(plan))
    read = read_findings(findings.write(plan.folder))
    assert list(map(format_table, read.tables)) == list(map(format_table, findings.tables))
    assert read.curves == findings.curves
    assert read.runs == findings.runs
    assert all((plan.folder / folder).parent == plan.folder / "runs" for folder in read.runs)


def test_the_findings_of_a_study_that_was_not_begun_are_not_written(tmp_path):
    plan = planned(tmp_path, FINDING)
    with pytest.raises(BadInputError, match="begin it with"):
        findings_of(read_results(plan)).write(plan.folder)


def test_a_metric_is_read_from_the_run(tmp_path):
    metric = {"name": "rung", "at": ["last"], "metric": "curriculum/mean_rung"}
    plan = planned(tmp_path, changed(examine=[metric], seeds=[1]))
    (dynamic, *_) = plan.measurements
    folder = plan.tasks[dynamic.task].folder
    with RunDirectory.open(folder) as run:
        run.database.record_step(6, seconds=1.0, metrics={"curriculum/mean_rung": 1.5})
    results = read_results(plan)
    rung: Any = results.mean("rung", "dynamic")
    assert rung.interval.estimate == 1.5
    assert [it.arm for it in results.missing] == ["mixed", "random"]


def test_a_metric_that_finished_runs_do_not_have_is_no_unfinished_study(tmp_path):
    plan = planned(tmp_path, changed(examine=[{"name": "rung", "metric": "no/such"}], seeds=[1]))
    for it in plan.measurements:
        FinishedTask("training", "run", 1.0).write(plan.folder, it.task)
    text = render(study_tables(read_results(plan))[0])
    assert "finished runs have no metric no/such at step 6" in text
    assert "not finished" not in text


def test_values_of_too_few_prompts_stop_the_study(tmp_path):
    with pytest.raises(StoppedError, match="only 2 of 5 prompts"):
        write_values(tmp_path, {"a": 1.0, "b": 2.0}, prompts=5)
    write_values(tmp_path, {"a": 1.0, "b": 2.0, "c": 3.0}, prompts=5)
    assert read_values(tmp_path) == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_a_policy_that_beats_an_anchor_three_times_out_of_four_is_rated_191_points_above_it():
    games = [
        Game(prompt_id=str(n), model_a="policy", model_b="anchor", winner="a" if n % 4 else "b") for n in range(400)
    ]
    assert anchored_rating(games, {"anchor": 1200.0}) == pytest.approx(1200 + 400 * math.log10(3), abs=1)
