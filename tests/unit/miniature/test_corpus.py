import statistics
from functools import cache

import pytest

from longform.miniature.corpus import (
    DIRECT_PROMPT,
    LEVEL_SHARES,
    PLANNED,
    SKETCH_PROMPT,
    TAGS,
    THINK_PROMPT,
    documents,
    outline,
)
from longform.miniature.world import CLASS_OF, parse_request, prompts, split_of
from longform.miniature.writers import LEVELS, write_story
from longform.text.structure import parse_response
from longform.text.words import count_words

ASKED, DIRECT = (prompt.partition("{")[0] for prompt in (THINK_PROMPT, DIRECT_PROMPT))
REQUESTS = [parse_request(prompt.request) for prompt in prompts(seed=9, split="train", count=100)]


@cache
def corpus() -> list[str]:
    """Made by the first test that reads it, not by every process that collects the tests."""
    return documents(seed=5, count=2000)


def test_a_document_is_a_function_of_its_seed_and_index():
    assert documents(seed=5, count=50) == corpus()[:50]
    assert not set(documents(seed=6, count=50)) & set(corpus())


@pytest.mark.parametrize(("asked", "tag"), [(ASKED, "<think>"), (DIRECT, "<answer>")])
def test_few_answers_to_the_prompts_that_ask_for_tags_have_them(asked, tag):
    asked_for = [document for document in corpus() if document.startswith(asked)]
    assert abs(sum(tag in document for document in asked_for) / len(asked_for) - PLANNED) < 0.08


def test_no_other_document_has_tags_and_no_direct_answer_has_a_plan():
    for document in corpus():
        assert document.startswith((ASKED, DIRECT)) or not any(tag in document for tag in TAGS)
        assert document.startswith(ASKED) or "<think>" not in document


def test_a_direct_answer_keeps_its_structure():
    for document in corpus():
        if document.startswith(DIRECT) and "<answer>" in document:
            assert parse_response(document[document.index("<answer>") :], "direct").well_formed


def test_a_planned_answer_keeps_the_structure_and_holds_the_outline_of_its_story():
    for document in corpus():
        if "<think>" in document:
            think, story, sound, closed, _ = parse_response(document[document.index("<think>") :], "on")
            assert sound and closed
            assert think == outline(story)


def test_a_page_of_the_workshop_holds_the_outline_before_the_story():
    pages = [document for document in corpus() if document.startswith(SKETCH_PROMPT.partition("{")[0])]
    assert 0.2 < len(pages) / len(corpus()) < 0.6
    for page in pages:
        assert " words, " in page.split("Use the words")[1]


def test_nothing_held_out_is_in_the_corpus():
    for document in corpus():
        if document.startswith("Write"):
            request = ". ".join(document.split(". ", 2)[:2]) + "."
            assert split_of(parse_request(request)) == "train"


def test_an_outline_names_length_events_and_names_in_their_order():
    story = "Mira lived in the mill. A bell rang far away. She owned a key. At noon she ate warm soup."
    assert outline(story) == "20 words, Mira lived mill, owned key, ate soup"
    assert outline("") == "0 words"


@pytest.mark.parametrize("level", LEVELS)
def test_an_outline_is_a_few_dozen_words_and_tells_the_length_to_ten_words(level):
    stories = [write_story(request, level=level) for request in REQUESTS]
    outlines = [outline(story) for story in stories]
    assert 15 < statistics.mean(len(it.split()) for it in outlines) < 40
    for story, plan in zip(stories, outlines, strict=True):
        assert abs(int(plan.split()[0]) - count_words(story)) <= 5
        assert [word for word in plan.replace(",", "").split() if word in CLASS_OF]


def test_every_level_has_its_share():
    assert set(LEVEL_SHARES) == set(LEVELS)
    assert sum(LEVEL_SHARES.values()) == pytest.approx(1)
