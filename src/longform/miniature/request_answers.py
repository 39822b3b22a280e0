"""Answers of the miniature's models about a request alone: does it need long writing, how long is a good answer, and what
is it with fewer requirements?

In this world a story of 30 to 100 words is long. The judge goes by key words, so it also answers about requests of other
worlds, and makes no errors.
"""

import json
import math
import random
import re
from itertools import product

from longform.judging.rewriting import CLOSING_TAG, OPENING_TAG
from longform.miniature.world import StoryRequest, parse_request, reduce_request
from longform.text.length_rules import MAX_WORDS, STEP, UNWRITTEN, Range, rule_violations
from longform.text.stated_counts import find_stated_count

STORY_RANGE = (0, 100)
"""Predicted range without a stated word count: all stories of this world are that long."""
_KEEPS_SUBJECT = 0.6
"""Fraction of reductions in which the rewriter only removes required words, and keeps subject and length."""

_WRITES = re.compile(r"\b(?:write|compose|draft|tell)\b", re.IGNORECASE)
_SHORT = re.compile(r"\b(?:sentence|line|title|slogan|haiku)s?\b", re.IGNORECASE)
_MISSING = re.compile(r"\b(?:attached|above|below)\b", re.IGNORECASE)
_HARMFUL = re.compile(r"\b(?:steal|poison|insult)\w*\b", re.IGNORECASE)
_ASKED_CRITERIA = re.compile(r'\{("\w+": V(?:, "\w+": V)*)\}')
_NAME = re.compile(r'"(\w+)"')
_ASKED_RANGE = '{"range": [LO, HI]}'


def answer_about_request(message: str, request: str, *, sample: int = 0) -> str:
    """Answer a message of `judging.requests` or `judging.rewriting` about `request`, its only fenced text.

    Raises:
        ValueError: the message asks for something else, or for a reduction of a request that is not from this world.
    """
    task = message.rpartition("<<<END REQUEST ")[2]
    if OPENING_TAG in task:
        return reduction(request, sample=sample)
    if _ASKED_RANGE in task:
        return f"The user wants a text. {json.dumps({'range': predicted_range(request)})}"
    if shapes := _ASKED_CRITERIA.findall(task):
        holds = request_criteria(request)  # all writing meets a criterion of the user's own (`--also`)
        return json.dumps({name: holds.get(name, holds["writing"]) for name in _NAME.findall(shapes[-1])})
    raise ValueError("the message contains no fenced text to judge")


def request_criteria(request: str) -> dict[str, bool]:
    """Return which criteria of `longform filter` a request meets."""
    writing = _WRITES.search(request) is not None
    return {
        "writing": writing,
        "long": writing and not _SHORT.search(request),
        "complete": not _MISSING.search(request),
        "safe": not _HARMFUL.search(request),
    }


def predicted_range(request: str) -> Range:
    """Return the range of words of a good answer: the widest that obeys the rules of the published range predictor.

    Without a stated count it is `STORY_RANGE`, and [0, 0] for requests that refer to a missing text.
    """
    if not request_criteria(request)["complete"]:
        return UNWRITTEN
    count = find_stated_count(request)
    if count is None:
        return STORY_RANGE
    is_range = count.low != count.high
    low = count.low if is_range and count.low is not None else count.largest * 9 / 10
    high = count.high if is_range and count.high is not None else count.largest * 11 / 10
    lows, highs = ([STEP * round_(end / STEP) for round_ in (math.floor, math.ceil)] for end in (low, high))
    ranges = [(one, min(other, MAX_WORDS)) for one, other in product(lows, highs)]
    valid = [it for it in ranges if not rule_violations(request, it)]
    return max(valid, key=lambda it: it[1] - it[0], default=UNWRITTEN)


def reduction(request: str, *, sample: int = 0) -> str:
    """Answer with a reduced request; what is removed is a function of (request, sample).

    Raises:
        ValueError: the request is not from this world.
    """
    story = parse_request(request)
    stream = random.Random(f"reduction/{sample}/{story.text}")
    keeps_subject = stream.random() < _KEEPS_SUBJECT
    reduced = _without_words(story, stream) if keeps_subject else reduce_request(story, stream)
    return f"I left out what a reader would miss.\n{OPENING_TAG}\n{reduced}\n{CLOSING_TAG}"


def _without_words(request: StoryRequest, stream: random.Random) -> str:
    """Remove each of the required words with probability one half, but at least one."""
    gone = [word for word in request.words if stream.random() < 0.5] or [stream.choice(request.words)]
    kept = [word for word in request.words if word not in gone]
    text = request.text.partition(". ")[0] + "."
    return f"{text} Use the word{'s' * (len(kept) > 1)} {' and '.join(kept)}." if kept else text
