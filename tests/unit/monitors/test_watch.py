"""The watch beside a run says each failure once, and the diagnosis afterwards says the same."""

import tracemalloc

import pytest
from series_of_runs import sound_run

from longform.monitors.watch import KEPT, Watch, diagnose, is_too_early, steps_of, unwatched


def _warnings(series, watch=None):
    watch = watch or Watch()
    return [(step, finding) for step, metrics in steps_of(series) for finding in watch.see(step, metrics)]


def _won_in(*ranges):
    wins = {"outcome/win": lambda step: 1.0 if any(step in steps for steps in ranges) else 0.5}
    return sound_run(wins, steps=80)


def test_a_continuing_failure_is_reported_once():
    series = _won_in(range(1, 81))
    assert [(step, it.name) for step, it in _warnings(series)] == [(8, "won-too-easily")]
    (finding,) = diagnose(series)
    assert (finding.first, finding.last) == (1, 80)


def test_a_recurring_failure_is_reported_again():
    series = _won_in(range(1, 20), range(50, 70))
    assert [step for step, _ in _warnings(series)] == [8, 57]
    assert [(it.first, it.last) for it in diagnose(series)] == [(1, 19), (50, 69)]


def test_flicker_around_a_threshold_is_one_failure():
    series = sound_run({"outcome/win": lambda step: 0.955 if step // 6 % 2 else 0.945}, steps=80)
    assert len(_warnings(series)) == 1
    assert len(diagnose(series)) == 1


@pytest.mark.parametrize("resumed_after", [3, 8, 30, 79])
def test_a_resumed_watch_continues_identically(resumed_after):
    series = _won_in(range(1, 20), range(50, 70))
    before = {name: [point for point in points if point[0] <= resumed_after] for name, points in series.items()}
    after = {name: [point for point in points if point[0] > resumed_after] for name, points in series.items()}
    resumed = Watch.over(before)
    assert _warnings(before) + _warnings(after, resumed) == _warnings(series)


def test_a_watch_does_not_grow_with_the_run():
    watch = Watch()
    steps = list(steps_of(sound_run(steps=3 * KEPT)))
    for step, metrics in steps[: 2 * KEPT]:
        watch.see(step, metrics)
    tracemalloc.start()
    for step, metrics in steps[2 * KEPT :]:
        watch.see(step, metrics)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A metric's 256 points, all replaced while memory was counted: 25 metrics of 56 bytes a pair.
    assert grown < 25 * KEPT * 64


def test_the_first_steps_remain_the_baseline():
    slow = 4 * KEPT
    falling = {"policy/kl_to_start": 0.1, "policy/entropy": lambda step: 0.8 * (1 - step / slow)}
    series = sound_run(falling, steps=slow)
    assert [it.name for it in diagnose(series)] == ["entropy-collapse"]


def test_nan_values_count_as_missing_in_a_live_watch():
    series = sound_run(steps=12)
    watch = Watch()
    for step, metrics in steps_of(series):
        found = watch.see(step, metrics | ({"policy/loss": float("nan")} if step == 11 else {}))
        assert [it.name for it in found] == (["diverged"] if step == 11 else [])


def test_it_is_too_early_before_the_first_window_is_full():
    assert is_too_early({})
    assert is_too_early(sound_run(steps=7))
    assert not is_too_early(sound_run(steps=8))
    assert diagnose({}) == []


def test_signatures_without_metrics_are_listed_with_their_requirement():
    bare = {name: points for name, points in sound_run().items() if not name.startswith(("judge/", "validation/"))}
    assert unwatched(bare) == {
        "judge-inconsistent": "rewards.recheck above 0, or a panel",
        "judge-examiner-apart": "a validation",
    }
