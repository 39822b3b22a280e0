"""A long-input task beside the long-output one: a long story, and a question about a word of it.

`Which food?` is answered by `Answer: bread.` Each class of words has one word in a story, so the question says which word to
look for, and the story alone which one it is. Stories are longer than those that the policy is asked to write. Like the
writers of the other lessons, the readers of these make mistakes, so there is room to improve.
"""

import random
from collections.abc import Sequence
from typing import Any

from longform.miniature.grammar import EVENTS, FILLERS, fill
from longform.miniature.world import POOLS, Split
from longform.records.schemas import Prompt

LESSON_SHARE = 0.5
"""Fraction of the lessons that are about reading."""
ASKED = ("place", "object", "food")
"""The classes that are asked about. A writer of two layers has not learned to find the other classes when lessons end."""
MISTAKES = 0.4
"""Fraction of the lessons' answers that name another word of the class."""
_FILLERS_IN_A_STORY = 10
_HELD_OUT = 5
"""One of so many pairs of a hero and another word is asked about in held-out questions alone."""


def question(kind: str) -> str:
    """The question about the word of a class."""
    return f"Which {kind}?"


def answer(word: str) -> str:
    """An answer as the lessons give it; the reward `answer` reads it."""
    return f"Answer: {word}."


READING_WORDS = " ".join([*map(question, ASKED), answer(POOLS["food"][0])])
"""A text with all words that stories lack."""


def draw_words(stream: random.Random) -> dict[str, str]:
    """Draw a word of each class."""
    return {kind: stream.choice(pool) for kind, pool in POOLS.items()}


def tell(words: dict[str, str], stream: random.Random) -> str:
    """A story of all events with these words, between sentences that tell nothing."""
    sentences = [fill(stream.choice(event.forms), words) for event in EVENTS]
    for filler in stream.sample(FILLERS, _FILLERS_IN_A_STORY):
        sentences.insert(stream.randint(1, len(sentences)), fill(filler, words))
    return " ".join(sentences)


def split_of(words: dict[str, str], kind: str) -> Split:
    """The split in which the word of a class can be asked about."""
    hero, asked = (POOLS[it].index(words[it]) for it in ("hero", kind))
    return "held-out" if (hero + asked) % _HELD_OUT == 0 else "train"


def questions(*, seed: int, split: Split, count: int) -> list[Prompt]:
    """Return the first `count` questions of a stream as prompts, with `meta.answer`, and the class in `meta.kind`."""
    rows: list[Prompt] = []
    for index in range(count):
        stream = random.Random(f"question/{seed}/{split}/{index}")
        words, kinds = _draw_asked(stream, split)
        kind = stream.choice(kinds)
        asked = f"{tell(words, stream)} {question(kind)}"
        name = f"question-{split}-{seed}-{index:05d}"
        rows.append(Prompt(id=name, prompt=asked, meta={"answer": words[kind], "kind": kind}))
    return rows


def reading_lesson(stream: random.Random) -> dict[str, Any]:
    """A conversation: a story with questions about it, and answers, of which some are wrong."""
    words, kinds = _draw_asked(stream, "train")
    story = tell(words, stream)
    turns: list[dict[str, str]] = []
    for kind in stream.sample(kinds, len(kinds)):
        others = [it for it in POOLS[kind] if it != words[kind]]
        named = stream.choice(others) if stream.random() < MISTAKES else words[kind]
        turns.append({"role": "user", "content": question(kind) if turns else f"{story} {question(kind)}"})
        turns.append({"role": "assistant", "content": answer(named)})
    return {"messages": turns}


def with_reading_lessons(lessons: Sequence[dict[str, Any]], *, seed: int) -> list[dict[str, Any]]:
    """Replace a fraction of `LESSON_SHARE` of the lessons."""
    streams = [random.Random(f"reading-lesson/{seed}/{index}") for index in range(len(lessons))]
    return [
        reading_lesson(stream) if stream.random() < LESSON_SHARE else row
        for stream, row in zip(streams, lessons, strict=True)
    ]


def _draw_asked(stream: random.Random, split: Split) -> tuple[dict[str, str], list[str]]:
    """Draw words of which some can be asked about in a split, and the classes of these."""
    while True:
        words = draw_words(stream)
        if kinds := [it for it in ASKED if split_of(words, it) == split]:
            return words, kinds
