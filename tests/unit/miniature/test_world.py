import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.miniature.world import (
    CLASS_OF,
    POOLS,
    REQUIRED_CLASSES,
    draw_request,
    parse_request,
    prompts,
    split_of,
)


@given(st.integers(), st.sampled_from(["train", "held-out"]))
def test_a_request_is_read_back_from_its_text_alone(seed, split):
    request = draw_request(random.Random(seed), split=split)
    assert parse_request(request.text) == request
    assert split_of(request) == split


def test_no_word_stands_in_two_classes():
    assert len(CLASS_OF) == sum(len(pool) for pool in POOLS.values())


def test_a_request_asks_for_one_word_of_each_class():
    request = draw_request(random.Random(0), split="train")
    assert set(request.entities) == set(POOLS)
    assert sorted(CLASS_OF[word] for word in request.words) == sorted(REQUIRED_CLASSES)


def test_thousands_of_prompts_are_distinct_and_keep_their_index():
    many = prompts(seed=3, split="train", count=4000)
    assert len({prompt.request for prompt in many}) == len({prompt.id for prompt in many}) == 4000
    assert prompts(seed=3, split="train", count=40) == many[:40]


def test_held_out_prompts_tell_of_nothing_that_training_prompts_tell_of():
    def triples(split):
        drawn = (parse_request(prompt.request) for prompt in prompts(seed=0, split=split, count=2000))
        return {(request.hero, request.place, request.object) for request in drawn}

    assert not triples("train") & triples("held-out")


def test_seeds_and_splits_draw_from_different_streams():
    def texts(seed, split):
        return {prompt.request for prompt in prompts(seed=seed, split=split, count=300)}

    drawn = texts(0, "train") | texts(1, "train") | texts(0, "held-out") | texts(1, "held-out")
    assert len(drawn) >= 1198


def test_the_length_range_of_a_prompt_is_that_of_its_text():
    for prompt in prompts(seed=0, split="train", count=50):
        assert prompt.length_range == parse_request(prompt.request).length_range


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a poem.",
        "Write a story of 40 to 55 words about Zoe in the mill and a key. Use the words fox, rain and jam.",
        "Write a story of 40 to 55 words about Mira in the mill and a key. Use the words fox, bear and jam.",
        "Write a story of 55 to 40 words about Mira in the mill and a key. Use the words fox, rain and jam.",
    ],
)
def test_what_is_no_request_of_the_world_is_refused(text):
    with pytest.raises(ValueError, match="request"):
        parse_request(text)
