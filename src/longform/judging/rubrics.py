"""Scoring a text by the many criteria of a rubric in one question, and the score that follows from them.

The published parser of EQ-Bench reads every "text: number" of an answer as a score, including those in the judge's analysis.
Here an answer ends in one `{"scores": {...}}`, which `judging.answers` breaks up in texts, with exactly the names of the
rubric. A judge with its own template ends in lines `Name: number`, of which only those with a name of the rubric count.
An answer with a score out of range is asked again; nothing is clipped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

from longform.judging.answers import fence, is_number, last_values, read_number
from longform.judging.judge import AnswerShape, object_schema
from longform.wording import Wording, load_wording

MAX_SCORE = 20
"""Scores run from 0 to 20, as published by EQ-Bench."""
MIN_FRACTION = 0.5
"""Fraction of the criteria that an answer must score; it may call the others inapplicable."""

_LINE = re.compile(
    r"^([^:\n]++):\**+ ?\**+(?:Score )?\[?(-?[0-9]+(?:\.[0-9]+)?)\]?(?: ?/ ?20)?[ \t*\r]*+$", re.MULTILINE
)
"""At most one space follows the colon: `JudgeTemplate.fill` puts two into a text that holds such a line."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """Criteria that a text is scored by, each from 0 to 20."""

    name: str
    """Under which the wording of its criteria is found."""
    criteria: tuple[str, ...]
    """Names, as published."""
    faults: frozenset[str]
    """The criteria for which less is better."""
    powers: Mapping[str, float] = field(default_factory=dict)
    """Exponents of criteria for which a high score weighs less than in proportion, after faults are inverted."""

    def value(self, name: str, score: float) -> float:
        """A score as it counts, from 0 (bad) to 20 (good)."""
        value = MAX_SCORE - score if name in self.faults else score
        return MAX_SCORE * (value / MAX_SCORE) ** self.powers.get(name, 1.0)

    def piece_score(self, scores: Mapping[str, float]) -> float:
        """What a text's scores come to, from 0 to 100: 5 times the mean over the criteria that were scored.

        Raises:
            ValueError: none was scored.
        """
        if not scores:
            raise ValueError("needs at least one score")
        return 5 * sum(self.value(name, score) for name, score in scores.items()) / len(scores)

    @property
    def lowest(self) -> dict[str, float]:
        """The scores of a text without a word."""
        return {name: float(MAX_SCORE) if name in self.faults else 0.0 for name in self.criteria}


CREATIVE_WRITING = Rubric(
    name="creative_writing",
    criteria=(
        "Adherence to Instructions",
        "Believable Character Actions",
        "Nuanced Characters",
        "Consistent Voice / Tone of Writing",
        "Imagery and Descriptive Quality",
        "Elegant Prose",
        "Emotionally Engaging",
        "Emotionally Complex",
        "Coherent",
        "Meandering",
        "Weak Dialogue",
        "Tell-Don't-Show",
        "Unsurprising or Uncreative",
        "Amateurish",
        "Purple Prose",
        "Overwrought",
        "Incongruent Ending Positivity",
        "Unearned Transformations",
        "Well-earned Lightness or Darkness",
        "Sentences Flow Naturally",
        "Overall Reader Engagement",
        "Overall Impression",
    ),
    faults=frozenset(
        {
            "Meandering",
            "Weak Dialogue",
            "Tell-Don't-Show",
            "Unsurprising or Uncreative",
            "Amateurish",
            "Purple Prose",
            "Overwrought",
            "Incongruent Ending Positivity",
            "Unearned Transformations",
        }
    ),
)
"""EQ-Bench creative writing v3: 22 criteria, named as published, nine of them faults."""

METAPHOR = "Forced Poetry or Metaphor"
_NOVELLA_FAULTS = frozenset(
    {
        "Weak Dialogue",
        "Tell-Don't-Show",
        "Unsurprising or Uncreative",
        "Amateurish",
        "Purple Prose",
        METAPHOR,
    }
)
CHAPTER = Rubric(
    name="chapter",
    criteria=(
        "Nuanced Characters",
        "Emotionally Engaging",
        "Compelling Plot",
        "Coherent",
        "Weak Dialogue",
        "Tell-Don't-Show",
        "Unsurprising or Uncreative",
        "Amateurish",
        "Purple Prose",
        METAPHOR,
        "Well-earned Lightness or Darkness",
        "Characters Consistent with Profile",
        "Followed Chapter Plan",
        "Faithful to Writing Prompt",
    ),
    faults=_NOVELLA_FAULTS,
    powers={METAPHOR: 1.7},
)
"""EQ-Bench longform writing: 14 criteria of a chapter, named as published, six of them faults."""
NOVELLA = Rubric(
    name="novella",
    criteria=(
        "Believable Character Actions",
        "Nuanced Characters",
        "Pacing",
        "World Building",
        "Compelling Plot",
        "Emotionally Engaging",
        "Coherent",
        "Weak Dialogue",
        "Tell-Don't-Show",
        "Unsurprising or Uncreative",
        "Amateurish",
        "Purple Prose",
        METAPHOR,
        "Unearned Transformations",
        "Well-earned Lightness or Darkness",
        "Faithful to Writing Prompt",
    ),
    faults=_NOVELLA_FAULTS | {"Unearned Transformations"},
    powers={METAPHOR: 1.7},
)
"""EQ-Bench longform writing: 16 criteria of the whole, named as published, seven of them faults.

The weights in the published code (5 for the metaphor) do not give the published scores. All weights 1 and the exponent of
1.7 do.
"""


def ask_rubric(rubric: Rubric, *, request: str, text: str, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for the scores of a text by all criteria of a rubric."""
    wording = wording or load_wording()
    return wording.text("rubric.question").format(
        request=fence("REQUEST", request, tag=tag), text=fence("TEXT", text, tag=tag), **rubric_slots(rubric, wording)
    )


def rubric_slots(rubric: Rubric, wording: Wording) -> dict[str, Any]:
    """What a question about a rubric says of its criteria and of the form of the answer, by slot."""
    meanings = wording.table(f"rubric.{rubric.name}")
    inner = ", ".join(f'"{name}": N' for name in rubric.criteria)
    return {
        "highest": MAX_SCORE,
        "better_high": _describe(rubric, meanings, faults=False),
        "better_low": _describe(rubric, meanings, faults=True),
        "shape": f'{{"scores": {{{inner}}}}}',
    }


def rubric_shape(rubric: Rubric) -> AnswerShape[dict[str, float]]:
    """The shape of an answer to `ask_rubric`, for a judge with structured output; null for an inapplicable criterion."""
    score = {"anyOf": [{"type": "number", "minimum": 0, "maximum": MAX_SCORE}, {"type": "null"}]}
    return AnswerShape({"scores": object_schema(dict.fromkeys(rubric.criteria, score))})


def describe_rubric(rubric: Rubric) -> str:
    """The names of the criteria, a line each, as a judge's own template takes them."""
    return "\n".join(f"- {name}" for name in rubric.criteria)


def parse_rubric(rubric: Rubric, answer: str) -> dict[str, float] | None:
    """The scores of an answer to `ask_rubric`, without the criteria that it calls inapplicable.

    What counts is the last `{"scores": {...}}` with exactly the rubric's names, each once, numbers from 0 to 20 for at least
    half of them, and null for the others; None without one.
    """

    def score(value: Any) -> float | None:
        number = read_number(value)
        return nan if value is None else number if _is_score(number) else None

    scores = last_values(answer, rubric.criteria, score, accept=lambda scores: _enough(scores, rubric))
    return None if scores is None else {name: value for name, value in scores.items() if not isnan(value)}


def parse_tuned_rubric(rubric: Rubric, answer: str) -> dict[str, float] | None:
    """The scores in the lines `Name: number` of a judge with its own template.

    None unless they are from 0 to 20, score at least half of the criteria, and give each criterion one score: a judge may
    quote a text, so of two scores by one name neither counts.
    """
    names = {_plain(name): name for name in rubric.criteria}
    lines = [(names.get(_plain(match[1])), float(match[2])) for match in _LINE.finditer(answer)]
    scores = {name: score for name, score in lines if name is not None}
    if any(score != scores[name] for name, score in lines if name is not None):
        return None
    if not all(map(_is_score, scores.values())) or not _enough(scores, rubric):
        return None
    return {name: scores[name] for name in rubric.criteria if name in scores}


def _describe(rubric: Rubric, meanings: Mapping[str, str], *, faults: bool) -> str:
    chosen = [(name, meanings[name]) for name in rubric.criteria if (name in rubric.faults) == faults]
    return "\n".join(f"  - {name}: {meaning}" for name, meaning in chosen)


def _plain(name: str) -> str:
    """A name without what its spelling varies in."""
    return "".join(filter(str.isalnum, name.lower()))


def _is_score(value: Any) -> bool:
    return is_number(value) and 0 <= value <= MAX_SCORE


def _enough(scores: Mapping[str, float], rubric: Rubric) -> bool:
    """Whether enough criteria are scored; NaN stands for an inapplicable one."""
    return sum(not isnan(score) for score in scores.values()) >= MIN_FRACTION * len(rubric.criteria)
