"""Signatures of plateaus, diversity and unconfirmed gains on recorded runs, sound and sick.

Recorded, not trained here. `quickstart` is one of the miniature with seed 1001 and 45 steps, whose diversity was measured
afterwards on its texts; it has no record of prompts at the top, and 0 stands for it, so that a plateau is looked for. The
others are runs of tests/pipeline/test_failure_signatures.py, which trains them again.
"""

import json
from pathlib import Path

import pytest

from longform.monitors.progress import criteria_gain, examined_gain
from longform.monitors.watch import Watch, diagnose, steps_of

RUNS = {
    name: {metric: [(step, value) for step, value in points] for metric, points in series.items()}
    for name, series in json.loads(Path(__file__).with_name("progress_series.json").read_text()).items()
}
NEEDED = ("curriculum/at_top", "text/self_bleu", "text/distinct", "outcome/win")


def names(run):
    return {finding.name for finding in diagnose(RUNS[run])}


@pytest.mark.parametrize("run", ["quickstart", "one-win"])
def test_a_sound_run_is_not_named(run):
    assert all(metric in RUNS[run] for metric in NEEDED)
    assert names(run) == set()


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("ten-wins", "plateau-between-rungs"),
        ("echoes", "diversity-falls"),
        ("no-gain", "judge-examiner-apart"),
    ],
)
def test_a_sick_run_is_named(run, name):
    assert name in names(run)
    warned = {
        it.name for watch in [Watch()] for step, metrics in steps_of(RUNS[run]) for it in watch.see(step, metrics)
    }
    assert name in warned, "live too"


def test_the_gain_under_both_judges_is_that_of_the_first_and_latest_validations():
    gain = examined_gain(RUNS["quickstart"])
    assert gain is not None
    grades = dict(RUNS["quickstart"]["validation/grade"])
    assert gain.grade == pytest.approx(((grades[0] + grades[10]) / 2, (grades[40] + grades[45]) / 2))
    assert gain.progress[1] - gain.progress[0] > 1
    assert gain.error == pytest.approx(0.17, abs=0.02)
    assert str(gain).startswith("from step 0 to 45 mean rung plus mean reward went from ")


def test_there_is_no_gain_to_tell_without_validations_or_rewards():
    series = RUNS["quickstart"]
    assert examined_gain({**series, "validation/grade": series["validation/grade"][:1]}) is None
    assert examined_gain({"validation/grade": series["validation/grade"]}) is None


def test_the_gain_with_criteria_is_told_beside_the_gain_without():
    series = {
        "validation/grade": [(0, 4.0), (10, 5.0), (20, 6.0), (30, 8.0)],
        "validation/bare_grade": [(0, 5.0), (10, 5.0), (20, 5.0), (30, 5.2)],
        "validation/bare_grade_error": [(0, 0.3), (10, 0.4), (20, 0.3), (30, 0.4)],
    }
    gain = criteria_gain(series)
    assert gain is not None
    assert (gain.with_criteria, gain.error) == ((4.5, 7.0), pytest.approx(0.5**0.5 / 2))
    assert str(gain) == (
        "from step 0 to 30 the examiner's grade by criteria went from 4.50 to 7.00 (+2.50), without them from 5.00 to 5.10 "
        "(+0.10 ± 0.35)"
    )
    assert criteria_gain({"validation/grade": series["validation/grade"]}) is None
