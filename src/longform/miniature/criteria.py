"""Criteria of the miniature world: what its judge writes for a request, and what it scores by each of them.

Each criterion is one of the measures that the judge's grade is made of, so grading by criteria measures what grading at once
does, part by part.
"""

import json
import re

from longform.judging.criteria_writing import BANDS
from longform.miniature.world import StoryRequest

MEASURE_OF = {
    "required words": "coverage",
    "characters and places": "names",
    "length": "length",
    "order of events": "order",
    "freshness": "freshness",
}
"""Name of a criterion -> the measure of a text that it stands for."""
_WEIGHTS = (5, 4, 2, 3, 1)
_COUNT = re.compile(r"exactly (\d+) criteria")


def asks_for_criteria(message: str) -> bool:
    """Whether a message asks for the criteria of a request."""
    return '"constraints": [' in message.rpartition("<<<END ")[2]


def write_criteria(message: str, request: StoryRequest) -> str:
    """Answer a message of `judging.criteria_writing`.

    Raises:
        ValueError: the message asks for more criteria than this world has.
    """
    count = int(_COUNT.findall(message)[-1])
    if count > len(MEASURE_OF):
        raise ValueError(f"the miniature world has {len(MEASURE_OF)} criteria, not {count}")
    first, second, third = request.words
    descriptions = (
        f"uses the words {first}, {second} and {third}",
        f"is about {request.hero}, the {request.place} and a {request.object}, and nobody else",
        "has as many words as the request asks for",
        "tells the events in their order",
        "does not repeat itself",
    )
    criteria = [
        {
            "name": name,
            "description": text,
            "weight": weight,
            "bands": {band: f"{text}: {band} of 10" for band in BANDS},
        }
        for name, text, weight in zip(MEASURE_OF, descriptions, _WEIGHTS, strict=True)
    ]
    return f"A story of this world has five sides.\n{json.dumps({'criteria': criteria[:count], 'constraints': []})}"
