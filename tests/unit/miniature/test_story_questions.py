import random

import pytest
from pydantic import ValidationError

from longform.miniature.grammar import EVENT_OF, EVENTS
from longform.miniature.policy import build_tokenizer, sft_rows
from longform.miniature.reading import (
    ASKED,
    LESSON_SHARE,
    READING_WORDS,
    ToldStory,
    answer,
    draw_stories,
    question,
    questions,
    reading_lesson,
    with_reading_lessons,
)
from longform.miniature.study_world import WorldSettings, write_study_world
from longform.miniature.world import HEROES, OBJECTS
from longform.records.files import read_rows
from longform.records.schemas import Prompt, TrainingRow
from longform.text.final_answers import final_answer

ROWS = questions(seed=3, split="train", count=200)
SMALL = WorldSettings(reading=True, train_prompts=6, validation_prompts=3, held_out_prompts=4, lesson_steps=8)


def things_of(text):
    return [word for word in text.replace(".", " ").split() if word in OBJECTS]


def test_the_answer_is_in_the_sentence_with_the_questions_word_and_every_story_has_another_thing():
    for row in ROWS:
        text, asked = row.request.rsplit(" What was ", 1)
        verb = asked.removesuffix("?")
        (sentence,) = [it for it in text.split(".") if f" {verb} " in it]
        assert things_of(sentence) == [row.meta["answer"]]
        assert len(things_of(text)) == len(set(things_of(text))) == len(ASKED)


def test_every_event_that_is_asked_about_is_told_once():
    for number in range(50):
        stories = draw_stories(random.Random(number))
        told = [
            EVENTS[EVENT_OF[word]].name
            for it in stories
            for word in it.text.replace(".", " ").split()
            if word in EVENT_OF
        ]
        assert all(told.count(event) == 1 for event in ASKED)
        assert len({it.hero for it in stories}) == len(stories)


def test_no_place_among_the_stories_is_the_likeliest_answer():
    places = [things_of(row.request).index(row.meta["answer"]) for row in ROWS]
    assert max(map(places.count, range(len(ASKED)))) < 0.45 * len(ROWS)


def splits_of(text, things):
    """The splits of the stories, of four sentences each, in which these things are."""
    sentences = text.split(".")
    stories = [".".join(sentences[first : first + 4]) for first in range(0, 12, 4)]
    for thing in things:
        (story,) = [it for it in stories if thing in things_of(it)]
        hero = next(word for word in story.replace(".", " ").split() if word in HEROES)
        yield ToldStory(story, "loss", hero, thing).split


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_what_is_asked_in_held_out_questions_is_asked_in_no_other_and_in_no_lesson(split):
    for row in questions(seed=1, split=split, count=50):
        assert set(splits_of(row.request, [row.meta["answer"]])) == {split}
    for number in range(50):
        asked, *others = reading_lesson(random.Random(number))["messages"]
        answers = [final_answer(turn["content"], "exact") for turn in others if turn["role"] == "assistant"]
        assert set(splits_of(asked["content"], answers)) == {"train"}


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
    for event in ASKED:
        assert len(tokenizer(question(event))["input_ids"]) == 4
    assert len(tokenizer(answer("key"))["input_ids"]) == 4


def test_a_world_with_reading_has_questions_beside_its_prompts(tmp_path):
    write_study_world(tmp_path, base_url="http://127.0.0.1:1/v1", settings=SMALL, seed=4)
    assert list(read_rows(tmp_path / "questions.jsonl", Prompt)) == questions(seed=4, split="train", count=6)
    held_out = list(read_rows(tmp_path / "held-out-questions.jsonl", Prompt))
    assert len(held_out) == 4
    assert all(row.id.startswith("question-held-out") for row in held_out)
    assert any(row.messages for row in read_rows(tmp_path / "lessons.jsonl", TrainingRow))
    assert any(row.completion for row in read_rows(tmp_path / "lessons.jsonl", TrainingRow))


def test_trails_and_reading_are_different_worlds():
    with pytest.raises(ValidationError, match="of their own"):
        WorldSettings(reading=True, trails=True)
