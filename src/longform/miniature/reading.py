"""A long-input task beside the long-output one: several stories one after another, and a question about one of them.

One of the stories tells of something that is owned, one of something lost, and one of something found. `What was lost?` is
answered by `Answer: key.` The question decides which story it is about: an answer that only knows what kind of word is asked
for is right once in three times.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from longform.miniature.grammar import EVENTS, fill
from longform.miniature.world import HEROES, OBJECTS, POOLS, Split
from longform.records.schemas import Prompt

ASKED = {"treasure": "owned", "loss": "lost", "find": "found"}
"""What can be asked about: an event, and the word of its sentence that the question repeats."""
LESSON_SHARE = 0.5
"""Fraction of the lessons that are about reading."""
_FORMS = {
    event.name: [form for form in event.forms if event.name not in ASKED or ASKED[event.name] in form.split()]
    for event in EVENTS
}
_HELD_OUT = 5
"""One of so many pairs of a hero and an object is asked about in held-out questions alone."""


class ToldStory(NamedTuple):
    """One of the stories."""

    text: str
    event: str
    """A key of `ASKED`."""
    hero: str
    thing: str
    """The object of the event."""

    @property
    def split(self) -> Split:
        """The split in which it can be asked about."""
        return "held-out" if (HEROES.index(self.hero) + OBJECTS.index(self.thing)) % _HELD_OUT == 0 else "train"


def question(event: str) -> str:
    """The question about an event."""
    return f"What was {ASKED[event]}?"


def answer(thing: str) -> str:
    """An answer as the lessons give it; the reward `answer` reads it."""
    return f"Answer: {thing}."


READING_WORDS = f"{question('loss')} {answer(OBJECTS[0])}"
"""A text with all words that stories lack."""


def draw_stories(stream: random.Random) -> list[ToldStory]:
    """Draw a story of each event, in random order, of different heroes and things."""
    heroes, things = (stream.sample(pool, len(ASKED)) for pool in (HEROES, OBJECTS))
    events = stream.sample(list(ASKED), len(ASKED))
    return [_story(*parts, stream) for parts in zip(events, heroes, things, strict=True)]


def ask(stories: Sequence[ToldStory], event: str) -> str:
    """The stories, one after another, and a question."""
    return " ".join([*(it.text for it in stories), question(event)])


def questions(*, seed: int, split: Split, count: int) -> list[Prompt]:
    """Return the first `count` questions of a stream as prompts, with `meta.answer`, and the event in `meta.event`."""
    rows: list[Prompt] = []
    for index in range(count):
        stream = random.Random(f"question/{seed}/{split}/{index}")
        stories, asked = _draw_asked(stream, split)
        it = stream.choice(asked)
        name = f"question-{split}-{seed}-{index:05d}"
        rows.append(Prompt(id=name, prompt=ask(stories, it.event), meta={"answer": it.thing, "event": it.event}))
    return rows


def reading_lesson(stream: random.Random) -> dict[str, Any]:
    """A conversation: stories with questions about them, in random order, and the right answers."""
    stories, asked = _draw_asked(stream, "train")
    stream.shuffle(asked)
    turns: list[dict[str, str]] = []
    for it in asked:
        turns.append({"role": "user", "content": question(it.event) if turns else ask(stories, it.event)})
        turns.append({"role": "assistant", "content": answer(it.thing)})
    return {"messages": turns}


def with_reading_lessons(lessons: Sequence[dict[str, Any]], *, seed: int) -> list[dict[str, Any]]:
    """Replace a fraction of `LESSON_SHARE` of the lessons."""
    streams = [random.Random(f"reading-lesson/{seed}/{index}") for index in range(len(lessons))]
    return [
        reading_lesson(stream) if stream.random() < LESSON_SHARE else row
        for stream, row in zip(streams, lessons, strict=True)
    ]


def _draw_asked(stream: random.Random, split: Split) -> tuple[list[ToldStory], list[ToldStory]]:
    """Draw stories of which some can be asked about in a split, and these."""
    while True:
        stories = draw_stories(stream)
        if asked := [it for it in stories if it.split == split]:
            return stories, asked


def _story(event: str, hero: str, thing: str, stream: random.Random) -> ToldStory:
    words = {name: stream.choice(pool) for name, pool in POOLS.items()} | {"hero": hero, "object": thing}
    told = ("opening", event, "meal", "ending")
    return ToldStory(" ".join(fill(stream.choice(_FORMS[name]), words) for name in told), event, hero, thing)
