import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.curriculum.schedule import Curriculum, PromptDraw, PromptOutcome
from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import BadInputError, StoppedError


def _curriculum(prompts=7, rungs=3, steps=100, **given_settings):
    return Curriculum([rungs] * prompts, [0] * prompts, CurriculumSettings(**given_settings), seed=5, steps=steps)


def _play(curriculum, first, last, rng_seed=0):
    """Draw and commit some steps with outcomes that depend on the step alone."""
    faced_by_step = []
    for step in range(first, last + 1):
        rng = np.random.default_rng([rng_seed, step])
        faced = curriculum.draw(step, 3)
        visits = [PromptOutcome(it.prompt_index, it.rung, (str(rng.choice(["win", "loss"])),)) for it in faced]
        curriculum.commit(curriculum.stage(visits))
        faced_by_step.append(faced)
    return faced_by_step


def test_every_prompt_comes_once_in_each_pass():
    curriculum = _curriculum(prompts=6)
    drawn = [it.prompt_index for step in range(1, 5) for it in curriculum.draw(step, 3)]
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == list(range(6))


@settings(max_examples=30)
@given(prompts=st.integers(3, 12), steps=st.integers(1, 20))
def test_no_prompt_comes_twice_in_a_step(prompts, steps):
    curriculum = _curriculum(prompts=prompts)
    for step in range(1, steps + 1):
        drawn = [it.prompt_index for it in curriculum.draw(step, 3)]
        assert len(set(drawn)) == 3


@pytest.mark.parametrize("mode", ["dynamic", "mixed", "staged"])
def test_a_loaded_state_goes_on_exactly_as_the_saved_one(tmp_path, mode):
    whole = _play(_curriculum(mode=mode), 1, 12)
    interrupted = _curriculum(mode=mode)
    _play(interrupted, 1, 5)
    interrupted.save(tmp_path)
    resumed = _curriculum(mode=mode)
    resumed.load(tmp_path)
    assert _play(resumed, 6, 12) == whole[5:]


def test_a_state_of_other_ladders_is_refused(tmp_path):
    _curriculum(prompts=7).save(tmp_path)
    with pytest.raises(BadInputError, match="7 ladders, not 8"):
        _curriculum(prompts=8).load(tmp_path)


def test_staging_alone_changes_nothing():
    curriculum = _curriculum()
    faced = curriculum.draw(1, 3)
    climbs = curriculum.stage([PromptOutcome(it.prompt_index, it.rung, ("win",)) for it in faced])
    assert not curriculum.rungs.any()
    assert len(curriculum.commit(climbs)) == 3
    assert curriculum.rungs.sum() == 3


@pytest.mark.parametrize("mode", ["fixed", "mixed", "staged"])
def test_only_the_dynamic_mode_promotes(mode):
    curriculum = _curriculum(mode=mode, reference="best" if mode == "fixed" else None)
    assert curriculum.stage([PromptOutcome(0, 0, ("win",))]) == []


def test_retired_prompts_are_drawn_no_more_and_a_run_without_enough_of_them_stops():
    curriculum = _curriculum(prompts=4, rungs=1, top="retire")
    for index in (0, 1):
        curriculum.commit(curriculum.stage([PromptOutcome(index, 0, ("win",))]))
    assert {it.prompt_index for it in curriculum.draw(1, 2)} == {2, 3}
    with pytest.raises(StoppedError, match="fewer are left"):
        curriculum.draw(2, 3)


def test_a_ladder_that_extends_itself_keeps_a_hash_for_each_prompt_and_survives_a_checkpoint(tmp_path):
    curriculum = _curriculum(prompts=4, rungs=1, top="self")
    for step, digest in enumerate(("a" * 64, "b" * 64)):
        curriculum.commit(curriculum.stage([PromptOutcome(2, step, ("win",), (digest,))]))
    curriculum.save(tmp_path)
    resumed = _curriculum(prompts=4, rungs=1, top="self")
    resumed.load(tmp_path)
    assert resumed.face(2, step=9) == PromptDraw(2, 2, "b" * 64)
    assert resumed.face(1, step=9) == PromptDraw(1, 0, None)
    assert {it.prompt_index for it in resumed.draw(9, 4)} == {0, 1, 2, 3}, "nobody retires"
