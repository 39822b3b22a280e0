"""Prompts and pretraining documents of the world with trails.

Documents are requests with a story, and pages of several trails. Whether a trail's places are planned or its end is written
at once is drawn by lot for each trail, so that the documents teach both equally often, and both are always right.
"""

import random

from longform.miniature.corpus import DIRECT_PROMPT, LEVEL_SHARES, THINK_PROMPT
from longform.miniature.trails import PLACES, STEPS, draw_trail, opening, places_on, trail_text
from longform.miniature.world import WIDE_RANGES, Split, StoryRequest, draw_request, parse_request, prompts
from longform.miniature.writers import write_story
from longform.records.schemas import Prompt

TRAIL_RANGES = WIDE_RANGES[:1]
"""Stories with trails are short: what is examined is their beginning."""
TAGGED = 0.7
"""Fraction of the answers, planned or direct, that are in tags; what comes after the others is a story alone."""
NEED_SHARES = {0: 0.2, 1: 0.4, 2: 0.4}
"""Fraction of the documents' trails by planning need."""
PAGES = 0.5
"""Fraction of the documents that are pages of trails."""
TRAILS_A_PAGE = 6


def prompts_with_trails(*, seed: int, split: Split, count: int) -> list[Prompt]:
    """Return the first `count` prompts of a stream, with trails of all planning needs in turn, stated in `meta.need`."""
    rows = prompts(seed=seed, split=split, count=count, ranges=TRAIL_RANGES)
    return [_with_trail(row, need=index % len(STEPS)) for index, row in enumerate(rows)]


def documents_with_trails(*, seed: int, count: int) -> list[str]:
    """Return the first `count` documents of the seed's stream. Their requests are from the training split."""
    return [_document(random.Random(f"trail-document/{seed}/{index}")) for index in range(count)]


def plan_of(request: StoryRequest) -> str:
    """The plan of a story: the places on its trail."""
    return " ".join(request.way)


def _with_trail(row: Prompt, *, need: int) -> Prompt:
    request = parse_request(row.request)
    trail = draw_trail(random.Random(f"trail/{row.id}"), start=request.place, need=need)
    return row.model_copy(
        update={"prompt": request._replace(trail=trail).text, "meta": {**(row.meta or {}), "need": need}}
    )


def _document(stream: random.Random) -> str:
    if stream.random() < PAGES:
        return " ".join(_item(stream) for _ in range(TRAILS_A_PAGE))
    request = draw_request(stream, split="train", ranges=TRAIL_RANGES)
    request = request._replace(trail=draw_trail(stream, start=request.place, need=_need(stream)))
    (level,) = stream.choices(list(LEVEL_SHARES), weights=list(LEVEL_SHARES.values()))
    story = write_story(request, level=level, sample=stream.randrange(1000))
    is_planned, is_tagged = stream.random() < 0.5, stream.random() < TAGGED
    asked = (THINK_PROMPT if is_planned else DIRECT_PROMPT).format(request=request.text)
    if not is_tagged:
        return f"{asked} {story}"
    return (
        f"{asked}<think>{plan_of(request)}</think><answer>{story}</answer>"
        if is_planned
        else f"{asked}<answer>{story}</answer>"
    )


def _item(stream: random.Random) -> str:
    start = stream.choice(PLACES)
    trail = draw_trail(stream, start=start, need=_need(stream))
    places = places_on(trail, start=start)
    asked = (THINK_PROMPT if stream.random() < 0.5 else DIRECT_PROMPT).format(
        request=f"From the {start}. {trail_text(trail)}"
    )
    plan = f"<think>{' '.join(places)}</think>" if asked.startswith(THINK_PROMPT.partition("{")[0]) else ""
    return f"{asked}{plan}<answer>{opening(places[-1])}</answer>"


def _need(stream: random.Random) -> int:
    (need,) = stream.choices(list(NEED_SHARES), weights=list(NEED_SHARES.values()))
    return need
