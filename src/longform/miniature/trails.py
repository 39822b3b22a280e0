"""Trails: a part of a request whose answer takes more steps than a small model makes between two tokens.

A request with a trail says where the treasure lies, by the way from the story's place: `The trail to it goes north west
south.` The story must begin with the place at the end: `It lies in the cave.` The map is the same in every world, and a
model learns it from documents: twelve places, four directions, each to some other place. One step is one lookup in the map.
A plan that names the places on the way makes one lookup for each token; a direct answer has to make all of them at once, and
there are too many trails to learn each by heart.

The planning need of a request says how many steps its trail has: none (the treasure is in the story's place), one, or three.
"""

import random
import re

PLACES = (
    "village",
    "harbor",
    "forest",
    "castle",
    "valley",
    "market",
    "garden",
    "mill",
    "desert",
    "tower",
    "meadow",
    "cave",
)
DIRECTIONS = ("north", "east", "south", "west")
STEPS = (0, 1, 3)
"""Steps of a trail by planning need: 0, 1 and 2."""
NOWHERE = "nowhere"
"""Where a trail without steps goes."""
OPENING_WORDS = 5
"""Words of the sentence of `opening`."""

_TRAIL = re.compile(r" The trail to it goes ((?:\w+ )*\w+)\.$")
_OPENING = re.compile(r"It lies in the (\w+)\.\s*")


def _steps(direction: str) -> dict[str, str]:
    """Where a direction leads from each place; nowhere does it lead back to the same place."""
    stream = random.Random(f"map/{direction}")
    while True:
        goals = stream.sample(PLACES, len(PLACES))
        if all(place != goal for place, goal in zip(PLACES, goals, strict=True)):
            return dict(zip(PLACES, goals, strict=True))


MAP: dict[str, dict[str, str]] = {direction: _steps(direction) for direction in DIRECTIONS}
"""Direction -> place -> the place that it leads to."""


def places_on(trail: tuple[str, ...], *, start: str) -> list[str]:
    """The places on a trail, from the start to the end: what a plan names."""
    places = [start]
    for direction in trail:
        places.append(MAP[direction][places[-1]])
    return places


def draw_trail(stream: random.Random, *, start: str, need: int) -> tuple[str, ...]:
    """Draw a trail of a planning need that visits no place twice."""
    while True:
        trail = tuple(stream.choice(DIRECTIONS) for _ in range(STEPS[need]))
        if len(set(places_on(trail, start=start))) == len(trail) + 1:
            return trail


def trail_text(trail: tuple[str, ...]) -> str:
    """The sentence that ends a request with a trail; `split_trail` reads it."""
    return f"The trail to it goes {' '.join(trail) or NOWHERE}."


def split_trail(text: str) -> tuple[str, tuple[str, ...] | None]:
    """Split a request into what precedes the trail, and the trail; None if it has none.

    Raises:
        ValueError: a direction is unknown.
    """
    match = _TRAIL.search(text)
    if match is None:
        return text, None
    trail = () if match[1] == NOWHERE else tuple(match[1].split())
    if not set(trail) <= set(DIRECTIONS):
        raise ValueError("the trail has directions that are not in the miniature world")
    return text[: match.start()], trail


def opening(place: str) -> str:
    """The sentence with which a story must begin where the treasure lies in a place."""
    return f"It lies in the {place}."


def split_opening(story: str) -> tuple[str | None, str]:
    """Split a story into the place that its first sentence names, None if that is no such sentence, and the rest."""
    match = _OPENING.match(story)
    return (None, story) if match is None else (match[1], story[match.end() :])
