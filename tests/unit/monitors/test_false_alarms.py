"""What signatures make of noise: metrics of sound runs, with the spread that 32 rollouts a step give them."""

import json
from collections import Counter
from pathlib import Path

import pytest
from series_of_runs import sound_run

from longform.monitors.progress import judge_examiner_apart
from longform.monitors.watch import diagnose, unwatched

SEEN = (
    "validation/grade",
    "validation/grade_error",
    "reward/mean",
    "reward/spread",
    "reward/count",
    "curriculum/mean_rung_faced",
)
"""What `judge-examiner-apart` looks at."""


@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 500), marks=pytest.mark.full)])
def test_five_hundred_healthy_runs_of_forty_steps_have_no_finding(seeds):
    """So with 95% confidence fewer than one such run in 166 raises any of the signatures (rule of three)."""
    raised = Counter(it.name for seed in seeds for it in diagnose(sound_run(seed=seed)))
    assert raised == {}
    assert unwatched(sound_run()) == {}, "every signature has what it needs to look"


@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 500), marks=pytest.mark.full)])
def test_five_hundred_healthy_runs_without_rungs_are_not_taken_for_hacked(seeds):
    """Their rewards rise beyond what is said of their noise as often as not, so the examiner's grade alone decides."""
    alone = {"curriculum/mean_rung_faced": 0, "reward/spread": 0.05}
    for seed in seeds:
        series = sound_run(alone, seed=seed)
        for last, _ in series["validation/grade"]:
            seen = {name: [it for it in series[name] if it[0] <= last] for name in SEEN}
            assert judge_examiner_apart(seen) is None, f"seed {seed}, step {last}"


def test_win_rates_of_ten_and_ninety_percent_are_no_finding():
    """At a true 0.9 a window of 256 verdicts shows more than 0.95 once in 400; a run of 40 steps has about five of them."""
    raised = [diagnose(sound_run(seed=seed, wins=wins)) for seed in range(100) for wins in (0.1, 0.9)]
    assert sum(map(bool, raised)) <= 5


def test_a_quickstart_has_no_finding():
    """The metrics of `longform quickstart --seed 77 --set rewards.0.recheck=0.25`, to four digits."""
    recorded = json.loads(Path(__file__).with_name("quickstart_metrics.json").read_text(encoding="utf-8"))
    series = {name: [(step, value) for step, value in points] for name, points in recorded.items()}
    assert len(series["policy/loss"]) == 45
    assert diagnose(series) == []
    assert unwatched(series) == {}
