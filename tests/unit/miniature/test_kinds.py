import random
import statistics
from collections import Counter

import pytest

from longform.miniature.judge import EXAMINER, JUDGE, grade, measure
from longform.miniature.kinds import (
    BROKEN_RANGE,
    KINDS,
    MASTERED,
    SPECIALISTS,
    kind_of,
    prompts_of_kinds,
    write_of_kind,
)
from longform.miniature.policy import sft_rows
from longform.miniature.world import PLACES, parse_request, prompts
from longform.miniature.writers import LEVELS, write_story

PROMPTS = prompts_of_kinds(seed=3, split="train", count=320)
REQUESTS = [parse_request(prompt.request) for prompt in PROMPTS]
OF_KIND = {kind: [request for request in REQUESTS if kind_of(request) == kind] for kind in KINDS}


def mean_grade(requests, write):
    return statistics.mean(grade(measure(request, write(request)), EXAMINER) for request in requests)


def test_the_request_alone_decides_the_kind_and_meta_names_it():
    assert [prompt.meta["kind"] for prompt in PROMPTS] == [kind_of(request) for request in REQUESTS]
    assert {prompt.meta["length"] for prompt in PROMPTS} == {"short", "medium", "long"}


def test_the_kinds_have_their_stated_shares():
    shares = {kind: count / len(REQUESTS) for kind, count in Counter(map(kind_of, REQUESTS)).items()}
    expected = {"broken": 1 / 7, "mastered": 1 / 7, "speciality": 4 / 7, "ordinary": 1 / 7}
    assert shares == pytest.approx(expected, abs=0.06)


def test_held_out_prompts_have_the_same_kinds_without_the_broken_one():
    held_out = prompts_of_kinds(seed=3, split="held-out", count=200)
    assert {prompt.meta["kind"] for prompt in held_out} == {*KINDS} - {"broken"}


def test_a_plain_world_has_no_broken_request():
    for split in ("train", "held-out"):
        requests = [parse_request(prompt.request) for prompt in prompts(seed=3, split=split, count=200)]
        assert "broken" not in set(map(kind_of, requests))


def test_nobody_does_well_on_a_broken_request():
    for level in LEVELS:
        assert mean_grade(OF_KIND["broken"], lambda it, level=level: write_story(it, level=level)) < 4


def test_a_broken_request_leaves_no_good_length():
    # ever longer beginnings of a faultless story: no length is both short enough and complete enough
    for request in OF_KIND["broken"][:10]:
        whole = write_story(request._replace(length_range=(40, 55)), level="master").split()
        for words in range(1, len(whole) + 1):
            assert grade(measure(request, " ".join(whole[:words])), JUDGE) < 6


def test_lessons_differ_by_kind_as_the_levels_do():
    lessons = sft_rows(seed=5, count=400, kinds=True)
    grades = {kind: [] for kind in KINDS}
    for lesson in lessons:
        request = parse_request(lesson["prompt"][0]["content"])
        text = lesson["completion"][0]["content"]
        grades[kind_of(request)].append(grade(measure(request, text), EXAMINER))
    means = {kind: statistics.mean(values) for kind, values in grades.items()}
    assert means["mastered"] > 9.5 > 8 > means["ordinary"] > means["speciality"] + 3
    assert means["broken"] < 3


def test_each_competitor_is_good_in_its_own_places_only():
    assert not MASTERED & SPECIALISTS.keys()
    assert {*MASTERED, *SPECIALISTS} < {*PLACES}
    for place, specialist in SPECIALISTS.items():
        there = [request for request in OF_KIND["speciality"] if request.place == place]
        for writer in LEVELS:
            reached = mean_grade(there, lambda it, writer=writer: write_of_kind(it, writer=writer))
            assert reached > 9.3 if writer == specialist else reached < 4


def test_two_writers_who_are_poor_at_a_speciality_write_different_texts():
    request = next(it for it in OF_KIND["speciality"] if SPECIALISTS[it.place] == "novice")
    assert len({write_of_kind(request, writer=writer) for writer in LEVELS}) == len(LEVELS)


def test_outside_the_speciality_a_competitor_writes_as_in_the_plain_world():
    for kind in ("mastered", "ordinary", "broken"):
        request = random.Random(1).choice(OF_KIND[kind])
        assert write_of_kind(request, writer="apprentice", sample=4) == write_story(
            request, level="apprentice", sample=4
        )


def test_broken_lengths_are_asked_for_in_words():
    assert f"{BROKEN_RANGE[0]} to {BROKEN_RANGE[1]} words" in OF_KIND["broken"][0].text
