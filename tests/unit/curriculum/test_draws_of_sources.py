"""Prompts of several sources in one run: shares by weight, epochs of their own, and resuming."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from longform.curriculum.schedule import Curriculum, PromptOutcome, most_of_source
from longform.curriculum.settings import CurriculumSettings

SIZES, SHARES = (40, 200, 100), (1.0, 2.0, 5.0)
SOURCES = [number for number, size in enumerate(SIZES) for _ in range(size)]
TOTAL = sum(SHARES)


def curriculum(*, seed=5, sources=SOURCES, shares=SHARES):
    settings = CurriculumSettings()
    count = len(sources)
    return Curriculum([3] * count, [0] * count, settings, seed=seed, steps=100, sources=sources, shares=shares)


def drawn(course, steps, count=16):
    return [[it.prompt_index for it in course.draw(step, count)] for step in steps]


@pytest.mark.parametrize("seed", range(10))
def test_every_stretch_of_a_run_has_the_shares_of_the_weights(seed):
    steps = drawn(curriculum(seed=seed), range(1, 201))
    for step in steps:
        assert len(set(step)) == len(step) == 16
        counts = Counter(SOURCES[index] for index in step)
        for number, weight in enumerate(SHARES):
            assert abs(counts[number] - 16 * weight / TOTAL) < 3
            assert counts[number] <= most_of_source(16, weight / TOTAL)
    counts = Counter(SOURCES[index] for step in steps for index in step)
    for number, weight in enumerate(SHARES):
        assert counts[number] == pytest.approx(3200 * weight / TOTAL, abs=4)


def test_each_source_goes_through_all_its_prompts_before_one_comes_again():
    of_first = [index for step in drawn(curriculum(), range(1, 60)) for index in step if SOURCES[index] == 0]
    assert len(of_first) > 80
    assert set(of_first[:40]) == set(of_first[40:80]) == set(range(40))
    assert of_first[:40] != of_first[40:80], "in another order"


def test_a_run_that_is_resumed_draws_what_it_would_have_drawn():
    whole = drawn(curriculum(), range(1, 41))
    before = curriculum()
    drawn(before, range(1, 18))
    after = curriculum()
    after.restore(before.state(), source=Path("checkpoint"))
    assert drawn(after, range(18, 41)) == whole[17:]
    assert drawn(curriculum(), range(1, 41)) == whole
    assert drawn(curriculum(seed=6), range(1, 41)) != whole


def test_a_single_source_is_drawn_as_without_sources():
    alone = Curriculum([3] * 50, [0] * 50, CurriculumSettings(), seed=5, steps=100)
    named = curriculum(sources=[0] * 50, shares=[7.0])
    assert drawn(alone, range(1, 20)) == drawn(named, range(1, 20))
    np.testing.assert_array_equal(alone.redraw(3, 4, round_=1, drawn=()), named.redraw(3, 4, round_=1, drawn=()))


def test_prompts_that_replace_others_keep_the_shares():
    course = curriculum()
    extra = [it.prompt_index for round_ in range(1, 101) for it in course.redraw(1, 8, round_=round_, drawn=())]
    counts = Counter(SOURCES[index] for index in extra)
    assert len(extra) == 800
    for number, weight in enumerate(SHARES):
        assert counts[number] == pytest.approx(800 * weight / TOTAL, abs=60)


def test_prompts_without_rungs_are_neither_at_the_top_nor_promoted():
    course = Curriculum(
        [1, 1, 3, 3], [0, 0, 2, 0], CurriculumSettings(), seed=0, steps=9, sources=[0, 0, 1, 1], shares=[1, 1]
    )
    assert course.at_top == 0.5
    assert course.commit(course.stage([PromptOutcome(0, 0, (None, None))])) == []
