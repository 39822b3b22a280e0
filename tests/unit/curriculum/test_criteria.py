"""The schedule of criteria: which a prompt is judged by, from its group's scores, and after a restart the same."""

import numpy as np
import pytest

from longform.curriculum.criteria import CriteriaSchedule, group_means, judged_by, scored_criteria
from longform.curriculum.schedule import Curriculum, PromptOutcome
from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, Prompt

CRITERIA = [Criterion(name="a"), Criterion(name="form", hard=True), Criterion(name="b"), Criterion(name="c")]
PROMPT = Prompt(id="p", prompt="Write.", criteria=CRITERIA)


def _schedule(mode, counts=(3,), **settings):
    return CriteriaSchedule(counts, CurriculumSettings(criteria=mode, **settings))


@pytest.mark.parametrize("mode", ["easy-first", "failed"])
def test_everything_is_judged_until_each_criterion_has_a_score(mode):
    schedule = _schedule(mode)
    assert schedule.choose(0) == (0, 1, 2)
    schedule.record(0, ((0, 9.0), (1, 2.0)))
    assert schedule.choose(0) == (0, 1, 2)


@pytest.mark.parametrize(
    ("mode", "means", "chosen"),
    [
        ("easy-first", (2.0, 4.0, 3.0), (1,)),
        ("easy-first", (2.0, 8.0, 3.0), (1, 2)),
        ("easy-first", (2.0, 8.0, 7.0), (0, 1, 2)),
        ("easy-first", (3.0, 3.0, 3.0), (0,)),
        ("easy-first", (9.0, 9.0, 9.0), (0, 1, 2)),
        ("failed", (2.0, 8.0, 6.9), (0, 2)),
        ("failed", (9.0, 8.0, 7.0), (0, 1, 2)),
        ("all", (2.0, 8.0, 3.0), (0, 1, 2)),
    ],
)
def test_the_choice_follows_from_the_scores(mode, means, chosen):
    schedule = _schedule(mode)
    schedule.record(0, tuple(enumerate(means)))
    assert schedule.choose(0) == chosen


def test_a_prompt_without_a_list_of_criteria_is_judged_as_it_is():
    schedule = _schedule("failed", counts=(2, 0, 1))
    assert [schedule.choose(index) for index in range(3)] == [(0, 1), None, (0,)]
    text = Prompt(id="t", prompt="Write.", criteria="with wit")
    assert judged_by(text, (0,)) is text and scored_criteria(text) == []


def test_constraints_stay_and_come_last():
    chosen = [CRITERIA[3], CRITERIA[0], CRITERIA[1]]
    assert judged_by(PROMPT, (2, 0)).criteria == chosen
    assert judged_by(PROMPT, None) is PROMPT


def test_the_mean_is_over_the_responses_that_have_scores():
    assert group_means((0, 2), [[4.0, 8.0, 10.0], None, [6.0, 9.0, 1.0]]) == ((0, 5.0), (2, 8.5))
    assert group_means((0, 2), [None, [5.0]]) == () == group_means(None, [[5.0]])


def _curriculum(counts=(3, 3), **settings):
    wanted = CurriculumSettings.model_validate({"criteria": "failed"} | settings)
    return Curriculum([1] * len(counts), [0] * len(counts), wanted, seed=3, steps=9, criteria=counts)


@pytest.mark.parametrize("mode", ["dynamic", "mixed"])
def test_scores_are_committed_with_the_step_and_a_resumed_run_chooses_the_same(mode, tmp_path):
    first = _curriculum(mode=mode)
    outcome = PromptOutcome(1, 0, (None, None), criteria=((0, 9.0), (1, 3.0), (2, 8.0)))
    updates = first.stage([outcome])
    assert first.face(1, 2).criteria == (0, 1, 2)
    first.commit(updates)
    assert (first.face(0, 2).criteria, first.face(1, 2).criteria) == ((0, 1, 2), (1,))
    assert first.criteria_passed == pytest.approx(2 / 3)
    first.save(tmp_path)
    second = _curriculum(mode=mode)
    second.load(tmp_path)
    assert second.draw(3, 2) == first.draw(3, 2)
    np.testing.assert_array_equal(second.state(), first.state())
    with pytest.raises(BadInputError, match="belongs to a run with 6 criteria, not 5"):
        _curriculum(counts=(3, 2)).load(tmp_path)


def test_without_a_schedule_nothing_is_stored_or_chosen():
    plain = _curriculum(criteria="all")
    assert (plain.face(0, 1).criteria, plain.criteria_passed) == (None, None)
    assert b"criteria" not in plain.state()
