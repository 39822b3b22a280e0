import random

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from longform.miniature.corpus import DIRECT_PROMPT, TAGS, THINK_PROMPT
from longform.miniature.judge import EXAMINER, WRONG_END, grade, measure
from longform.miniature.study_world import WorldSettings, world_prompts, write_study_world
from longform.miniature.trail_base import examine_ends
from longform.miniature.trail_corpus import documents_with_trails, plan_of, prompts_with_trails
from longform.miniature.trails import (
    DIRECTIONS,
    MAP,
    OPENING_WORDS,
    PLACES,
    STEPS,
    draw_trail,
    opening,
    places_on,
    split_opening,
    split_trail,
)
from longform.miniature.world import complete_request, parse_request, prompts
from longform.miniature.writers import LEVELS, write_story
from longform.records.files import read_rows
from longform.records.schemas import Prompt, Response, TrainingRow
from longform.text.structure import parse_response

ROWS = prompts_with_trails(seed=3, split="train", count=60)
REQUESTS = [parse_request(row.request) for row in ROWS]
DOCUMENTS = documents_with_trails(seed=5, count=1500)
SMALL = WorldSettings(trails=True, train_prompts=6, validation_prompts=3, held_out_prompts=9, lesson_steps=2)


def test_every_direction_leads_from_every_place_to_another_one_and_no_two_lead_to_the_same():
    for direction in DIRECTIONS:
        assert set(MAP[direction]) == set(MAP[direction].values()) == set(PLACES)
        assert all(place != goal for place, goal in MAP[direction].items())


@pytest.mark.parametrize("need", range(len(STEPS)))
def test_a_trail_has_the_steps_of_its_need_and_visits_no_place_twice(need):
    for number in range(50):
        trail = draw_trail(random.Random(number), start="mill", need=need)
        assert len(trail) == STEPS[need]
        assert len(set(places_on(trail, start="mill"))) == STEPS[need] + 1


def test_a_request_with_a_trail_comes_back_from_its_text():
    for row, request in zip(ROWS, REQUESTS, strict=True):
        assert request.text == row.request
        assert complete_request(row.request, seed=1) == request
        assert len(request.trail or ()) == STEPS[row.meta["need"]]


def test_a_direction_that_is_not_on_the_map_is_no_request():
    with pytest.raises(ValueError, match="directions"):
        split_trail("Write. The trail to it goes north upward.")


def test_needs_come_in_turn_and_say_nothing_about_the_rest_of_the_request():
    assert [row.meta["need"] for row in ROWS[:6]] == [0, 1, 2, 0, 1, 2]
    plain = prompts(seed=3, split="train", count=60, ranges=((30, 54),))
    assert [split_trail(row.request)[0] for row in ROWS] == [row.request for row in plain]


def test_no_need_can_be_guessed_by_a_favourite_place():
    ends = [
        it.way[-1]
        for it in map(parse_request, (row.request for row in prompts_with_trails(seed=1, split="train", count=1800)))
    ]
    for need in range(len(STEPS)):
        counts = [ends[need :: len(STEPS)].count(place) for place in PLACES]
        assert max(counts) < 0.17 * sum(counts)


@pytest.mark.parametrize("level", LEVELS)
def test_writers_of_every_level_begin_with_the_end_of_the_trail(level):
    for request in REQUESTS:
        assert split_opening(write_story(request, level=level))[0] == request.way[-1]


def test_a_wrong_beginning_or_none_costs_the_same_fraction_of_the_points_and_the_rest_is_graded_as_ever():
    for request in REQUESTS[:20]:
        story = write_story(request, level="master")
        _, rest = split_opening(story)
        wrong = next(place for place in PLACES if place != request.way[-1])
        points, elsewhere = (grade(measure(request, it), EXAMINER) - 1 for it in (story, f"{opening(wrong)} {rest}"))
        assert elsewhere == pytest.approx(WRONG_END * points)
        assert measure(request, rest).end_of_trail == WRONG_END
        plain = measure(request._replace(trail=None), rest)
        assert plain._replace(length=0) == measure(request, story)._replace(length=0)


def test_the_beginning_counts_as_words():
    request = REQUESTS[0]
    assert len(opening("mill").split()) == OPENING_WORDS
    short = "word " * (request.length_range[0] - OPENING_WORDS)
    assert measure(request, f"{opening(request.way[-1])} {short}").length == 1.0
    assert measure(request, short).length < 1.0


def test_documents_plan_as_often_as_they_answer_directly_and_always_right():
    asked = [prompt.partition("{")[0] for prompt in (THINK_PROMPT, DIRECT_PROMPT)]
    planned, direct = (sum(it.count(start) for it in DOCUMENTS) for start in asked)
    assert abs(planned - direct) < 0.05 * planned
    stories = [it for it in DOCUMENTS if "Write a story" in it]
    assert 0.4 < len(stories) / len(DOCUMENTS) < 0.6
    for document in stories:
        request = document.partition(asked[document.startswith(asked[1])])[2]
        text = request[: request.index(".", request.index("The trail")) + 1]
        response = request[len(text) :]
        form = "on" if document.startswith(asked[0]) else "direct"
        is_tagged = any(tag in response for tag in TAGS)
        parsed = parse_response(response, form) if is_tagged else None
        story = response.strip() if parsed is None else parsed.answer
        assert parsed is None or parsed.well_formed
        assert split_opening(story)[0] == parse_request(text).way[-1]
        if parsed is not None and form == "on":
            assert parsed.think == plan_of(parse_request(text))


def test_a_document_is_a_function_of_its_seed_and_index():
    assert documents_with_trails(seed=5, count=20) == DOCUMENTS[:20]


def test_the_examination_tells_a_model_that_needs_a_plan_from_one_that_does_not():
    def write(rows, thinking):
        return [respond(row, knows=thinking == "on" or row.meta["need"] == 0) for row in rows]

    def respond(row, *, knows):
        way = parse_request(row.request).way
        text = f"{opening(way[-1] if knows else way[0])} Mira lived"
        return Response(prompt_id=row.id, model="fake", text=text)

    found = examine_ends(write, prompts=5)
    assert found.planned == {0: 1.0, 1: 1.0, 2: 1.0}
    assert found.direct == {0: 1.0, 1: 0.0, 2: 0.0}


def test_a_world_with_trails_has_documents_prompts_of_every_need_and_a_base_that_knows_its_words(tmp_path):
    write_study_world(tmp_path, base_url="http://127.0.0.1:1/v1", settings=SMALL, seed=4)
    documents = list(read_rows(tmp_path / "documents.jsonl", TrainingRow))
    assert len(documents) == 32
    assert not (tmp_path / "lessons.jsonl").exists()
    assert list(read_rows(tmp_path / "prompts.jsonl", Prompt)) == world_prompts(SMALL, seed=4, count=6)
    assert {row.meta["need"] for row in read_rows(tmp_path / "held-out.jsonl", Prompt)} == {0, 1, 2}
    assert (tmp_path / "think.txt").read_text() == f"{THINK_PROMPT}\n"
    assert (tmp_path / "direct.txt").read_text() == f"{DIRECT_PROMPT}\n"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "untrained")
    for text in (str(row.text) for row in documents):
        assert tokenizer.decode(tokenizer(text)["input_ids"]).strip().replace("> ", ">") == text.replace("> ", ">")
    for word in (*PLACES, *DIRECTIONS, "nowhere", "trail", "lies", "From"):
        assert len(tokenizer(word)["input_ids"]) == 1


def test_kinds_and_trails_are_different_worlds():
    with pytest.raises(ValidationError, match="of their own"):
        WorldSettings(kinds=True, trails=True)
