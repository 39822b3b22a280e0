import statistics

import pytest

from longform.miniature.corpus import LEVEL_SHARES, PLANNED, SKETCH_PROMPT, TAGS, THINK_PROMPT, documents, outline
from longform.miniature.world import CLASS_OF, parse_request, prompts, split_of
from longform.miniature.writers import LEVELS, write_story
from longform.text.structure import take_apart
from longform.text.words import count_words

DOCUMENTS = documents(seed=5, count=2000)
ASKED = THINK_PROMPT.partition("{")[0]
REQUESTS = [parse_request(prompt.request) for prompt in prompts(seed=9, split="train", count=100)]


def test_a_document_is_a_function_of_its_seed_and_index():
    assert documents(seed=5, count=50) == DOCUMENTS[:50]
    assert not set(documents(seed=6, count=50)) & set(DOCUMENTS)


def test_few_answers_to_the_think_prompt_are_planned_and_no_others():
    asked = [document for document in DOCUMENTS if document.startswith(ASKED)]
    planned = [document for document in asked if "<think>" in document]
    assert abs(len(planned) / len(asked) - PLANNED) < 0.05
    for document in DOCUMENTS:
        assert any(tag in document for tag in TAGS) == (document in planned)


def test_a_planned_answer_keeps_the_structure_and_holds_the_outline_of_its_story():
    for document in DOCUMENTS:
        if "<think>" in document:
            think, story, sound, closed = take_apart(document[document.index("<think>") :], "on")
            assert sound and closed
            assert think == outline(story)


def test_a_page_of_the_workshop_holds_the_outline_before_the_story():
    pages = [document for document in DOCUMENTS if document.startswith(SKETCH_PROMPT.partition("{")[0])]
    assert 0.2 < len(pages) / len(DOCUMENTS) < 0.6
    for page in pages:
        assert " words, " in page.split("Use the words")[1]


def test_nothing_held_out_is_in_the_corpus():
    for document in DOCUMENTS:
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
