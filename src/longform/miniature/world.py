"""The requests of the miniature world: a hero, a place, an object, three words to use, and a length.

Every word class has a small pool, and the pools are disjoint. The judge can therefore detect a wrong name, place or animal,
and a policy of a million parameters can learn to copy from the request, because the class alone determines what to copy. A
request is a function of (seed, split, index).

Held-out requests have other (hero, place, object) triples than training requests.

In a reduced request some parts are missing; the writer chooses them.
"""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import count as count_up
from itertools import islice
from typing import Literal, NamedTuple

from longform.miniature.trails import PLACES, places_on, split_trail, trail_text
from longform.records.schemas import Prompt

Split = Literal["train", "held-out"]

GIRLS = ("Mira", "Anna", "Lena", "Ruth", "Nora", "Ida", "Clara", "Vera")
BOYS = ("Tom", "Oskar", "Felix", "Hugo", "Emil", "Ivan", "Otto", "Max")
HEROES = GIRLS + BOYS
OBJECTS = ("lantern", "key", "crown", "ring", "drum", "map", "sword", "cloak", "mirror", "flute", "clock", "coin")
ANIMALS = ("fox", "bear", "rabbit", "horse", "goat", "wolf", "crow", "mouse", "deer", "cat", "dog", "swan")
FOODS = ("bread", "soup", "honey", "cheese", "rice", "cake", "milk", "plums", "nuts", "corn", "pie", "jam")
WEATHERS = ("wind", "frost", "fog", "snow", "rain", "hail", "thunder", "heat", "mist", "ice", "smoke", "dust")

POOLS: dict[str, tuple[str, ...]] = {
    "hero": HEROES,
    "place": PLACES,
    "object": OBJECTS,
    "animal": ANIMALS,
    "food": FOODS,
    "weather": WEATHERS,
}
CLASS_OF = {word: name for name, pool in POOLS.items() for word in pool}
REQUIRED_CLASSES = ("animal", "food", "weather")
LENGTH_RANGES = ((40, 55), (55, 70), (70, 85))
WIDE_RANGES = ((30, 54), (58, 100))
"""Length ranges for learning length: no number occurs in two ranges, so each number determines the length by itself. With
adjacent ranges, a base model wrote the same number of words for all three."""
_LENGTHS = ("short", "medium", "long")

PARTS = ("length", *POOLS)
"""The parts that a reduced request can omit: the length, or the word of a class."""

_REQUEST = re.compile(
    r"Write a story of (\d+) to (\d+) words about (\w+) in the (\w+) and a (\w+)\. "
    r"Use the words (\w+), (\w+) and (\w+)\."
)
_REDUCED = re.compile(
    r"Write a story(?: of (?P<lo>\d+) to (?P<hi>\d+) words)?"
    r"(?: about (?P<hero>\w+))?(?: in the (?P<place>\w+))?(?: (?:and|about) a (?P<object>\w+))?\."
    r"(?: Use the words? (?P<words>\w+(?:(?:, \w+)? and \w+)?)\.)?"
)


class StoryRequest(NamedTuple):
    """The requirements of a story."""

    hero: str
    place: str
    object: str
    words: tuple[str, str, str]
    """The required words: an animal, a food and a weather, in the order of the request."""
    length_range: tuple[int, int]
    """Minimum and maximum number of words."""
    trail: tuple[str, ...] | None = None
    """Directions from the place to where the object lies, if the story must begin with that (see `miniature/trails.py`)."""

    @property
    def text(self) -> str:
        """The request as sent to a writer; `parse_request` is its inverse."""
        (lo, hi), (first, second, third) = self.length_range, self.words
        text = (
            f"Write a story of {lo} to {hi} words about {self.hero} in the {self.place} and a {self.object}. "
            f"Use the words {first}, {second} and {third}."
        )
        return f"{text} {trail_text(self.trail)}" if self.trail is not None else text

    @property
    def way(self) -> list[str]:
        """The places on the trail, from the story's place to the one that the story must begin with."""
        return places_on(self.trail or (), start=self.place)

    @property
    def entities(self) -> dict[str, str]:
        """The requested word of each class in `POOLS`."""
        named = {"hero": self.hero, "place": self.place, "object": self.object}
        return named | {CLASS_OF[word]: word for word in self.words}


def parse_request(text: str) -> StoryRequest:
    """Parse the text of a request.

    Raises:
        ValueError: the text is not a request of this world.
    """
    plain, trail = split_trail(text.strip())
    match = _REQUEST.fullmatch(plain)
    if match is None:
        raise ValueError("not a story request of the miniature world")
    lo, hi, hero, place, thing, *words = match.groups()
    request = StoryRequest(hero, place, thing, (words[0], words[1], words[2]), (int(lo), int(hi)), trail)
    known = all(word in CLASS_OF for word in words)
    known = known and all(word in POOLS[name] for name, word in request.entities.items())
    if not known or set(request.entities) != set(POOLS) or request.length_range[0] > request.length_range[1]:
        raise ValueError("the request contains words that are not in the miniature world")
    return request


def reduce_request(request: StoryRequest, stream: random.Random) -> str:
    """Return the text of the request without one to three of its `PARTS`; `complete_request` parses it."""
    left_out = stream.sample(PARTS, stream.randint(1, 3))
    kept = {name: word for name, word in request.entities.items() if name not in left_out}
    text = "Write a story"
    if "length" not in left_out:
        text += " of {} to {} words".format(*request.length_range)
    if "hero" in kept:
        text += f" about {kept['hero']}"
    if "place" in kept:
        text += f" in the {kept['place']}"
    if "object" in kept:
        text += f" {'and' if 'hero' in kept else 'about'} a {kept['object']}"
    *first, last = [word for word in request.words if word in kept.values()] or [""]
    if not last:
        return f"{text}."
    return f"{text}. Use the words {', '.join(first)} and {last}." if first else f"{text}. Use the word {last}."


def complete_request(text: str, *, seed: int) -> StoryRequest:
    """Parse a request in which parts may be missing, and choose the missing parts at random, as a function of the seed.

    Complete requests give the same result as `parse_request`.

    Raises:
        ValueError: the text is not a request of this world.
    """
    if split_trail(text.strip())[1] is not None:
        return parse_request(text)
    match = _REDUCED.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a story request of the miniature world, complete or reduced")
    stream = random.Random(f"completion/{seed}/{text.strip()}")
    told = re.findall(r"\w+", (match["words"] or "").replace(" and ", " "))
    words = [*told, *_others(told, stream)]
    hero, place, thing = (match[name] or stream.choice(POOLS[name]) for name in ("hero", "place", "object"))
    length_range = (int(match["lo"]), int(match["hi"])) if match["lo"] else stream.choice(LENGTH_RANGES)
    request = StoryRequest(hero, place, thing, (words[0], words[1], words[2]), length_range)
    return parse_request(request.text)


def _others(words: Sequence[str], stream: random.Random) -> list[str]:
    """Return, in random order, one word of each required class that is missing in `words`."""
    there = {CLASS_OF.get(word) for word in words}
    others = [stream.choice(POOLS[name]) for name in REQUIRED_CLASSES if name not in there]
    return stream.sample(others, len(others))


def split_of(request: StoryRequest) -> Split:
    """Return the split of a request, determined by its (hero, place, object); a fifth of all triples is held out."""
    diagonal = HEROES.index(request.hero) + PLACES.index(request.place) + OBJECTS.index(request.object)
    return "held-out" if diagonal % 5 == 0 else "train"


def draw_request(
    stream: random.Random, *, split: Split, ranges: Sequence[tuple[int, int]] = LENGTH_RANGES
) -> StoryRequest:
    """Draw a request of the given split with one of the length ranges."""
    while True:
        words = [stream.choice(POOLS[name]) for name in REQUIRED_CLASSES]
        stream.shuffle(words)
        request = StoryRequest(
            stream.choice(HEROES),
            stream.choice(PLACES),
            stream.choice(OBJECTS),
            (words[0], words[1], words[2]),
            stream.choice(ranges),
        )
        if split_of(request) == split:
            return request


def prompts(*, seed: int, split: Split, count: int, ranges: Sequence[tuple[int, int]] = LENGTH_RANGES) -> list[Prompt]:
    """Return the first `count` distinct requests of a stream as prompts.

    The prompt at an index is the same for every `count`. Its `meta.length` (short, medium, long) allows selection per group.
    """
    return [
        Prompt(
            id=f"{split}-{seed}-{index:05d}",
            prompt=request.text,
            length_range=request.length_range,
            meta={"length": _LENGTHS[ranges.index(request.length_range) % len(_LENGTHS)]},
        )
        for index, request in islice(_distinct(seed, split, ranges), count)
    ]


def _distinct(seed: int, split: Split, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, StoryRequest]]:
    """Yield the requests of the stream with their index, without repeats."""
    seen: set[StoryRequest] = set()
    for index in count_up():
        request = draw_request(random.Random(f"request/{seed}/{split}/{index}"), split=split, ranges=ranges)
        if request not in seen:
            seen.add(request)
            yield index, request
