"""The recorder says what a step is at, and reports a sample of its texts as often as the recipe says."""

import pytest

from longform.curriculum.schedule import Curriculum
from longform.curriculum.settings import CurriculumSettings
from longform.records.database import RolloutRecord, RunDatabase, ValidationText
from longform.steps.recorder import RunRecorder

PROMPTS = [f"p{number}" for number in range(8)]


def rollout(step, row):
    return RolloutRecord(
        step=step,
        row=row,
        prompt_id=PROMPTS[row],
        rung=0,
        text=f"text {step} {row}",
        reference=f"reference {row}",
        tokens=3,
        words=3,
        think_words=0,
        finish_reason="stop",
        outcome="win",
        cause=None,
        reward=row / 10,
    )


@pytest.fixture
def follow(tmp_path):
    """Records three steps of eight rollouts; returns the reports and the phases."""

    def follow_(**settings):
        reports, phases = [], []
        curriculum = Curriculum.of(
            [(name, ["m"]) for name in PROMPTS], CurriculumSettings(), policy="policy", seed=1, steps=3
        )
        database = RunDatabase(tmp_path / "run.sqlite")
        recorder = RunRecorder(
            database,
            curriculum,
            id_at=PROMPTS.__getitem__,
            request_of="request of {}".format,
            thinking="off",
            steps=3,
            validate=lambda step: [ValidationText(step, "v", "prompt", "text", 5.0)],
            validate_every=2,
            on_step=reports.append,
            on_phase=phases.append,
            **settings,
        )
        for step in (1, 2, 3):
            with recorder.step(step) as record:
                with record.timer("writing"):
                    pass
                with record.timer("waiting_for_judge"):
                    pass
                with record.timer("updating"):
                    pass
                record.finish([rollout(step, row) for row in range(8)], {"reward/mean": 0.5}, [])
        database.close()
        return reports, phases

    return follow_


def test_the_phases_of_a_step_are_told_as_they_begin(follow):
    _, phases = follow()
    step = ["writing", "judging", "updating"]
    assert phases == ["validating", *step, *step, "validating", *step, "validating"]


def test_every_phase_of_a_step_is_timed_validation_too(follow):
    reports, _ = follow()
    timed = [{name.removeprefix("seconds/") for name in it.metrics if name.startswith("seconds/")} for it in reports]
    step = {"writing", "waiting_for_judge", "updating"}
    assert timed == [step, step | {"validating"}, step | {"validating"}]


def test_a_sample_of_the_texts_is_reported_every_so_many_steps(follow):
    reports, _ = follow(show_every=2)
    assert [len(it.samples) for it in reports] == [0, 4, 0]
    first, second = reports[1].samples[:2]
    assert (first.prompt, first.reference, first.response) == ("request of p0", "reference 0", "text 2 0")
    assert (second.prompt, second.outcome, second.reward) == ("request of p2", "win", 0.2)


def test_no_sample_without_a_wish_for_it(follow):
    reports, _ = follow()
    assert [list(it.samples) for it in reports] == [[], [], []]


def test_a_report_has_the_money_that_was_spent_by_then(follow):
    spent = iter([0.5, 1.0, 1.5])
    reports, _ = follow(spent=lambda: next(spent))
    assert [it.spent for it in reports] == [0.5, 1.0, 1.5]
