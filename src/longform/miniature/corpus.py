"""Raw pretraining text of the miniature world: the documents that a crawl of this world would contain.

Documents are requests followed by a story of any writer level, lists of requests, and workshop pages with an outline
between request and story. Requests that begin with `Think first.` or `Just write.` are usually followed by a plain story;
in a few documents the outline and the story, or the story alone, are in tags. The base model therefore knows the tags but
seldom uses them.
"""

import random
import re
from collections.abc import Callable

from longform.miniature.grammar import EVENT_OF
from longform.miniature.world import CLASS_OF, WIDE_RANGES, StoryRequest, draw_request
from longform.miniature.writers import write_story

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
THINK_PROMPT = "Think first. {request}"
"""Request for a plan and an answer, in the corpus and in the recipe."""
DIRECT_PROMPT = "Just write. {request}"
"""Request for an answer in tags, without a plan."""
SKETCH_PROMPT = "Sketch. {request}"
LIST_TITLE = "Requests."
LEVEL_SHARES = {"novice": 0.10, "apprentice": 0.30, "journeyman": 0.35, "master": 0.25}
"""Fraction of the corpus by each level of `LEVELS`."""
PLANNED = 0.18
"""Fraction of `Think first.` answers with a plan, and of `Just write.` answers in tags."""

_WORD = re.compile(r"\w+")


def documents(*, seed: int, count: int) -> list[str]:
    """Return the first `count` documents of the seed's stream. Their requests are from the training split."""
    return [_document(random.Random(f"document/{seed}/{index}")) for index in range(count)]


def outline(story: str) -> str:
    """Return the plan of a story: its approximate length and a point per event, such as `50 words, Mira lived mill`.

    A point consists of the event's verb and the words from the pools, in order: only the words that the story must copy.
    """
    sentences = [_WORD.findall(sentence) for sentence in story.split(".")]
    told = [words for words in sentences if any(word in EVENT_OF for word in words)]
    points = [" ".join(word for word in words if word in EVENT_OF or word in CLASS_OF) for words in told]
    length = round(sum(map(len, sentences)), -1)
    return ", ".join([f"{length} words", *points])


def _document(stream: random.Random) -> str:
    kinds: dict[Callable[[random.Random], str], float] = {
        _answered_request: 0.15,
        _thoughtful_request: 0.33,
        _direct_request: 0.10,
        _workshop_page: 0.40,
        _list_of_requests: 0.02,
    }
    (kind,) = stream.choices(list(kinds), weights=list(kinds.values()))
    return kind(stream)


def _answered_request(stream: random.Random) -> str:
    request = _request(stream)
    return f"{request.text} {_story(request, stream)}"


def _thoughtful_request(stream: random.Random) -> str:
    request = _request(stream)
    asked, story = THINK_PROMPT.format(request=request.text), _story(request, stream)
    if stream.random() >= PLANNED:
        return f"{asked} {story}"
    return f"{asked}<think>{outline(story)}</think><answer>{story}</answer>"


def _direct_request(stream: random.Random) -> str:
    request = _request(stream)
    asked, story = DIRECT_PROMPT.format(request=request.text), _story(request, stream)
    return f"{asked}<answer>{story}</answer>" if stream.random() < PLANNED else f"{asked} {story}"


def _workshop_page(stream: random.Random) -> str:
    request = _request(stream)
    story = _story(request, stream)
    return f"{SKETCH_PROMPT.format(request=request.text)} {outline(story)}. {story}"


def _list_of_requests(stream: random.Random) -> str:
    return " ".join([LIST_TITLE, *(_request(stream).text for _ in range(stream.randint(2, 4)))])


def _request(stream: random.Random) -> StoryRequest:
    return draw_request(stream, split="train", ranges=WIDE_RANGES)


def _story(request: StoryRequest, stream: random.Random) -> str:
    (level,) = stream.choices(list(LEVEL_SHARES), weights=list(LEVEL_SHARES.values()))
    return write_story(request, level=level, sample=stream.randrange(1000))
