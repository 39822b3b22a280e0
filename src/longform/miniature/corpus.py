"""The raw text that a base model of the miniature is pretrained on: documents as a crawl of its world would hold them.

Stories of every writer's level below the request that they were written for, lists of requests, and pages of a workshop,
where an outline stands between the two. Requests that begin with `Think first.` or `Just write.` are as a rule answered by a
story like all others; a few answers hold the outline and the story, or the story alone, in tags, as the web has some
such. That is where a base model knows the tags from, and why it seldom uses them.
"""

import random
import re
from collections.abc import Callable

from longform.miniature.grammar import EVENT_OF
from longform.miniature.world import CLASS_OF, WIDE_RANGES, StoryRequest, draw_request
from longform.miniature.writers import write_story

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
THINK_PROMPT = "Think first. {request}"
"""What a request looks like where a plan is asked for, in the corpus and in the recipe."""
DIRECT_PROMPT = "Just write. {request}"
"""The same where the answer alone is asked for, in its tags."""
SKETCH_PROMPT = "Sketch. {request}"
LIST_TITLE = "Requests."
LEVEL_SHARES = {"novice": 0.10, "apprentice": 0.30, "journeyman": 0.35, "master": 0.25}
"""How much of the corpus each level of `LEVELS` has written."""
PLANNED = 0.18
"""Share of the answers to `Think first.` that are planned, and of those to `Just write.` that stand in tags."""

_WORD = re.compile(r"\w+")


def documents(*, seed: int, count: int) -> list[str]:
    """The first `count` documents of a stream. Their requests are of the training split."""
    return [_document(random.Random(f"document/{seed}/{index}")) for index in range(count)]


def outline(story: str) -> str:
    """The plan behind a story: about how many words, and a point for each event: `50 words, Mira lived mill, owned key`.

    A point holds the event's verb and the words of a class, in their order: what is to be copied, without what is not.
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
