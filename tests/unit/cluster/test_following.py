"""A launcher hands on the reports of a run, and does not wait for ever for one that will not come."""

from typing import Any

import pytest

from longform.cluster.launch import follow
from longform.records.errors import StoppedError


class Run:
    """A run that finishes steps at certain hours, looked at every hour."""

    def __init__(self, finished, *, ends=None):
        self.hour, self.finished, self.ends = 0, finished, ends

    def is_over(self):
        self.hour += 1
        return self.ends is not None and self.hour >= self.ends

    def reports(self, seen) -> Any:
        return [f"step at {hour}" for hour in self.finished if hour <= self.hour][seen:]

    def follow(self, stall_timeout_hours):
        handed = []
        follow(
            self.is_over,
            self.reports,
            handed.append,
            stall_timeout_hours=stall_timeout_hours,
            clock=lambda: self.hour * 3600.0,
        )
        return handed


def test_every_report_is_handed_on_once_also_those_of_the_last_moment():
    assert Run([1, 2, 4, 5], ends=5).follow(6) == ["step at 1", "step at 2", "step at 4", "step at 5"]


def test_a_run_without_another_step_is_stopped_after_its_patience():
    run = Run([2, 5])
    with pytest.raises(
        StoppedError, match=r"no step was finished for 3 h; .*--resume .*stall_timeout_hours may be raised"
    ):
        run.follow(3)
    assert run.hour == 5 + 3 + 1


def test_a_run_that_ends_late_is_not_stopped():
    assert Run([], ends=9).follow(8) == []
