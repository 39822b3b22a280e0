import random

import pytest
from pydantic import ValidationError

from longform.miniature.grammar import EVENT_OF, EVENTS
from longform.miniature.policy import build_tokenizer, sft_rows
from longform.miniature.reading import (
    ASKED,
    LESSON_SHARE,
    MISTAKES,
    READING_WORDS,
    answer,
    draw_words,
    question,
    questions,
    reading_lesson,
    split_of,
    tell,
    with_reading_lessons,
)
from longform.miniature.study_world import WorldSettings, write_study_world
from longform.miniature.world import CLASS_OF, LENGTH_RANGES, POOLS
from longform.records.files import read_rows
from longform.records.schemas import Prompt, TrainingRow
from longform.text.final_answers import final_answer

ROWS = questions(seed=3, split="train", count=200)
SMALL = WorldSettings(reading=True, train_prompts=6, validation_prompts=3, held_out_prompts=4, lesson_steps=8)


def words_of(text):
    """The words of each class in a text."""
    found = {kind: set() for kind in POOLS}
    for word in text.replace(".", " ").split():
        if word in CLASS_OF:
            found[CLASS_OF[word]].add(word)
    return found


def test_a_story_has_one_word_of_each_class_and_the_question_asks_for_one():
    for row in ROWS:
        story, _, asked = row.request.rpartition(" Which ")
        assert {kind: {row.meta["answer"]} for kind in [asked.removesuffix("?")]}.items() <= words_of(story).items()
        assert all(len(words) == 1 for words in words_of(story).values())


def test_a_story_tells_every_event_in_order_and_is_longer_than_those_to_write():
    longest = max(high for _, high in LENGTH_RANGES)
    lengths = []
    for number in range(50):
        stream = random.Random(number)
        story = tell(draw_words(stream), stream)
        told = [EVENT_OF[word] for word in story.replace(".", " ").split() if word in EVENT_OF]
        assert told == list(range(len(EVENTS)))
        lengths.append(len(story.split()))
    assert min(lengths) > LENGTH_RANGES[1][0]
    assert sum(lengths) / len(lengths) > longest


def test_no_class_and_no_word_is_the_likeliest_answer():
    kinds = [row.meta["kind"] for row in ROWS]
    assert max(map(kinds.count, ASKED)) < 0.45 * len(ROWS)
    answers = [row.meta["answer"] for row in ROWS]
    assert max(map(answers.count, answers)) < 0.1 * len(ROWS)


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_what_is_asked_in_held_out_questions_is_asked_in_no_other_and_in_no_lesson(split):
    for row in questions(seed=1, split=split, count=50):
        words = {kind: next(iter(found)) for kind, found in words_of(row.request).items()}
        assert split_of(words, row.meta["kind"]) == split
    for number in range(50):
        asked, *others = reading_lesson(random.Random(number))["messages"]
        words = {kind: next(iter(found)) for kind, found in words_of(asked["content"]).items()}
        answers = [final_answer(it["content"], "exact") or "" for it in others if it["role"] == "assistant"]
        assert answers
        assert {split_of(words, CLASS_OF[it]) for it in answers} == {"train"}


def test_a_fraction_of_the_lessons_answers_is_wrong():
    right = []
    for number in range(200):
        asked, *others = reading_lesson(random.Random(number))["messages"]
        words = words_of(asked["content"])
        answers = [final_answer(it["content"], "exact") or "" for it in others if it["role"] == "assistant"]
        right += [it in words[CLASS_OF[it]] for it in answers]
    assert abs(sum(right) / len(right) - (1 - MISTAKES)) < 0.06


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
    for kind in ASKED:
        assert len(tokenizer(question(kind))["input_ids"]) == 3
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
