"""A long-input task beside the long-output one: several stories one after another, and a question about one of them.

`What did Mira lose?` is answered by `The answer is key.` Everybody in the stories loses something else, so the question's
name decides, and an answer that only knows what kind of word is asked for is right once in as many times as there are
stories.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from longform.miniature.grammar import EVENTS, fill
from longform.miniature.world import HEROES, OBJECTS, POOLS, Split
from longform.records.schemas import Prompt

STORIES = 3
"""Stories before a question."""
TOLD = ("opening", "meal", "loss", "ending")
"""Events of a story; it says by name who lost what."""
_FORMS = {event.name: event.forms for event in EVENTS} | {
    "loss": tuple(form for event in EVENTS if event.name == "loss" for form in event.forms if "{hero}" in form)
}
LESSON_SHARE = 0.4
"""Fraction of the lessons that are about reading."""
_HELD_OUT = 5
"""One of so many pairs of a hero and an object is asked about in held-out questions alone."""


class Reading(NamedTuple):
    """Stories, and what their heroes lose."""

    text: str
    """The stories, one after another."""
    lost: dict[str, str]
    """Hero -> object, in the order of the stories."""

    def ask(self, hero: str) -> str:
        """The stories with the question about one of them."""
        return f"{self.text} {question(hero)}"


def question(hero: str) -> str:
    """The question about a hero."""
    return f"What did {hero} lose?"


def answer(thing: str) -> str:
    """An answer as the lessons give it; the reward `answer` reads it."""
    return f"The answer is {thing}."


def draw_reading(stream: random.Random) -> Reading:
    """Draw stories of different heroes who lose different things."""
    heroes, things = stream.sample(HEROES, STORIES), stream.sample(OBJECTS, STORIES)
    stories = [_story(hero, thing, stream) for hero, thing in zip(heroes, things, strict=True)]
    return Reading(" ".join(stories), dict(zip(heroes, things, strict=True)))


def split_of_pair(hero: str, thing: str) -> Split:
    """The split of a hero who loses a thing."""
    return "held-out" if (HEROES.index(hero) + OBJECTS.index(thing)) % _HELD_OUT == 0 else "train"


def questions(*, seed: int, split: Split, count: int) -> list[Prompt]:
    """Return the first `count` questions of a stream as prompts, with `meta.answer`."""
    rows: list[Prompt] = []
    for index in range(count):
        stream = random.Random(f"question/{seed}/{split}/{index}")
        reading, asked = _draw_asked(stream, split)
        hero = stream.choice(asked)
        name = f"question-{split}-{seed}-{index:05d}"
        rows.append(Prompt(id=name, prompt=reading.ask(hero), meta={"answer": reading.lost[hero]}))
    return rows


def reading_lesson(stream: random.Random) -> dict[str, Any]:
    """A conversation: stories with questions about their heroes, in random order, and the right answers."""
    reading, asked = _draw_asked(stream, "train")
    stream.shuffle(asked)
    turns = []
    for hero in asked:
        turns.append({"role": "user", "content": question(hero) if turns else reading.ask(hero)})
        turns.append({"role": "assistant", "content": answer(reading.lost[hero])})
    return {"messages": turns}


def with_reading_lessons(lessons: Sequence[dict[str, Any]], *, seed: int) -> list[dict[str, Any]]:
    """Replace a fraction of `LESSON_SHARE` of the lessons."""
    streams = [random.Random(f"reading-lesson/{seed}/{index}") for index in range(len(lessons))]
    return [
        reading_lesson(stream) if stream.random() < LESSON_SHARE else row
        for stream, row in zip(streams, lessons, strict=True)
    ]


def _draw_asked(stream: random.Random, split: Split) -> tuple[Reading, list[str]]:
    """Draw stories of which some can be asked about in a split, and their heroes."""
    while True:
        reading = draw_reading(stream)
        asked = [hero for hero, thing in reading.lost.items() if split_of_pair(hero, thing) == split]
        if asked:
            return reading, asked


def _story(hero: str, thing: str, stream: random.Random) -> str:
    words = {name: stream.choice(pool) for name, pool in POOLS.items()} | {"hero": hero, "object": thing}
    return " ".join(fill(stream.choice(_FORMS[name]), words) for name in TOLD)


READING_WORDS = f"{question(HEROES[0])} {answer(OBJECTS[0])}"
"""A text with all words that stories lack."""
