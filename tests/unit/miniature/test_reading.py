import random

import pytest
from pydantic import ValidationError

from longform.miniature.policy import build_tokenizer, sft_rows
from longform.miniature.reading import (
    LESSON_SHARE,
    READING_WORDS,
    STORIES,
    answer,
    draw_reading,
    question,
    questions,
    reading_lesson,
    split_of_pair,
    with_reading_lessons,
)
from longform.miniature.study_world import WorldSettings, write_study_world
from longform.records.files import read_rows
from longform.records.schemas import Lesson, Prompt
from longform.text.final_answers import final_answer

ROWS = questions(seed=3, split="train", count=200)
SMALL = WorldSettings(reading=True, train_prompts=6, validation_prompts=3, held_out_prompts=4, lesson_steps=8)


def hero_of(row):
    return row.request.rsplit("What did ", 1)[1].removesuffix(" lose?")


def test_the_answer_is_told_beside_the_name_that_is_asked_about_and_every_other_answer_is_told_too():
    for row in ROWS:
        assert f"{hero_of(row)} lost the {row.meta['answer']}" in row.request
        assert row.request.count(" lost the ") == STORIES


def test_heroes_and_what_they_lose_are_all_different():
    for number in range(100):
        lost = draw_reading(random.Random(number)).lost
        assert len(lost) == len(set(lost.values())) == STORIES


def test_no_place_among_the_stories_is_the_likeliest_answer():
    places = [row.request[: row.request.index(f"lost the {row.meta['answer']}")].count(" lost the ") for row in ROWS]
    assert max(map(places.count, range(STORIES))) < 0.45 * len(ROWS)


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_pairs_of_held_out_questions_are_in_no_other_question_and_no_lesson(split):
    for row in questions(seed=1, split=split, count=50):
        assert split_of_pair(hero_of(row), row.meta["answer"]) == split
    for number in range(50):
        turns = reading_lesson(random.Random(number))["messages"]
        for asked, told in zip(turns[::2], turns[1::2], strict=True):
            hero = asked["content"].rsplit("What did ", 1)[1].removesuffix(" lose?")
            assert split_of_pair(hero, final_answer(told["content"], "exact")) == "train"


def test_an_answer_of_the_lessons_is_what_the_reward_reads():
    assert final_answer(answer("key"), "exact") == "key"


def test_a_fraction_of_the_lessons_is_about_reading_and_the_others_stay():
    plain = sft_rows(seed=2, count=400)
    mixed = with_reading_lessons(plain, seed=2)
    replaced = [new for old, new in zip(plain, mixed, strict=True) if old != new]
    assert all("messages" in row for row in replaced)
    assert abs(len(replaced) / len(plain) - LESSON_SHARE) < 0.08


def test_every_word_of_a_question_is_one_token():
    tokenizer = build_tokenizer(more=[READING_WORDS] * 2)
    assert len(tokenizer(question("Mira"))["input_ids"]) == 5
    assert len(tokenizer(answer("key"))["input_ids"]) == 5


def test_a_world_with_reading_has_questions_beside_its_prompts(tmp_path):
    write_study_world(tmp_path, base_url="http://127.0.0.1:1/v1", settings=SMALL, seed=4)
    assert list(read_rows(tmp_path / "questions.jsonl", Prompt)) == questions(seed=4, split="train", count=6)
    held_out = list(read_rows(tmp_path / "held-out-questions.jsonl", Prompt))
    assert len(held_out) == 4
    assert all(row.id.startswith("question-held-out") for row in held_out)
    assert any(row.messages for row in read_rows(tmp_path / "lessons.jsonl", Lesson))
    assert any(row.completion for row in read_rows(tmp_path / "lessons.jsonl", Lesson))


def test_trails_and_reading_are_different_worlds():
    with pytest.raises(ValidationError, match="of their own"):
        WorldSettings(reading=True, trails=True)
