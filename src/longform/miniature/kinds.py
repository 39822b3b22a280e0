"""Kinds of requests: a world in which prompts differ in what a policy can learn from them. Off in the quickstart.

In the plain world every request is as hard as every other one, so that the margin of a prompt (the best competitor's grade
minus the policy's) is the luck of one response. Here it is a property of the prompt. The request alone decides its kind, so
that server, lessons and judge agree without further information:

- broken (a seventh of the training prompts): fewer words are asked for than the nine events need, and the judge counts the
  length a second time, as a factor. Nobody does well. Validation and held-out prompts leave broken requests out.
- mastered (a sixth of the places): the lessons come from the best writer, so that they leave the policy little to gain.
- speciality (two thirds): the lessons leave most events out, and one competitor for each place is as good there as the best
  writer elsewhere; the others write like the lessons. The skill is shown by references of that kind alone.
- ordinary (a sixth): as in the plain world.
"""

import random
from typing import Literal, get_args

from longform.miniature.grammar import FEWEST_WORDS
from longform.miniature.world import LENGTH_RANGES, PLACES, Split, StoryRequest, parse_request, prompts
from longform.miniature.writers import LESSON_LEVELS, LEVELS, compose_story, write_story
from longform.records.schemas import Prompt

PromptKind = Literal["mastered", "ordinary", "speciality", "broken"]
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)

BROKEN_RANGE = (6, 16)
KIND_RANGES = (*LENGTH_RANGES, *LENGTH_RANGES, BROKEN_RANGE)
"""Length ranges of the training prompts: one in seven is broken."""
MASTERED: frozenset[str] = frozenset(PLACES[:2])
SPECIALISTS: dict[str, str] = dict(zip(PLACES[4:], (*LEVELS, *LEVELS), strict=True))
"""The places of the speciality and, for each, the competitor who writes well there."""
BEST = "master"
POOR = LEVELS["novice"]._replace(miss_event=0.65)
"""Skill of the lessons, and of all competitors but one, in a speciality. Missing events are a flaw that a small model takes
over for some places alone; with the novice's flaws, which are a matter of copying, it wrote alike everywhere."""
_LESSONS: dict[PromptKind, dict[str, float]] = {
    "mastered": {BEST: 1.0},
    "ordinary": LESSON_LEVELS,
    "broken": LESSON_LEVELS,
}
"""Fraction of the lessons by writer level; those of the speciality have no level."""


def kind_of(request: StoryRequest) -> PromptKind:
    """Return the kind of a request."""
    if request.length_range[1] < FEWEST_WORDS:
        return "broken"
    if request.place in MASTERED:
        return "mastered"
    return "speciality" if request.place in SPECIALISTS else "ordinary"


def write_of_kind(request: StoryRequest, *, writer: str, sample: int = 0) -> str:
    """Write a story as a competitor does in a world with kinds; deterministic.

    Outside the speciality it is the same text as in the plain world.

    Raises:
        KeyError: unknown writer.
    """
    if kind_of(request) != "speciality":
        return write_story(request, level=writer, sample=sample)
    skill = LEVELS[BEST] if SPECIALISTS[request.place] == writer else POOR
    return compose_story(request, skill, random.Random(f"speciality/{writer}/{sample}/{request.text}"))


def write_lesson(request: StoryRequest, stream: random.Random) -> str:
    """Write the story of a lesson as its kind asks for, drawn from a random stream."""
    kind = kind_of(request)
    if kind == "speciality":
        return compose_story(request, POOR, stream)
    levels = _LESSONS[kind]
    (level,) = stream.choices(list(levels), weights=list(levels.values()))
    return write_story(request, level=level, sample=stream.randrange(1_000_000))


def prompts_of_kinds(*, seed: int, split: Split, count: int) -> list[Prompt]:
    """Return the first `count` prompts of a stream, with their kind in `meta.kind`; see `world.prompts`.

    The training split has broken requests, the held-out split has none: nobody can do well on them.
    """
    ranges = KIND_RANGES if split == "train" else LENGTH_RANGES
    rows = prompts(seed=seed, split=split, count=count, ranges=ranges)
    return [
        row.model_copy(update={"meta": {**(row.meta or {}), "kind": kind_of(parse_request(row.request))}})
        for row in rows
    ]
