"""Scores of longform-writing-bench: eight chapters and a novella as a whole, each by a rubric.

The weights in its published code (5 for the metaphor) do not give its published scores. All weights 1 and the exponent of
1.7 do; `benchmarks/published_scores.py` shows how closely.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from longform.judging.rubrics import Rubric

METAPHOR = "Forced Poetry or Metaphor"
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
        "Characters Consistent with Profile",
        "Followed Chapter Plan",
        "Faithful to Writing Prompt",
    ),
    faults=frozenset(
        {
            "Weak Dialogue",
            "Tell-Don't-Show",
            "Unsurprising or Uncreative",
            "Amateurish",
            "Purple Prose",
            METAPHOR,
            "Unearned Transformations",
        }
    ),
    powers={METAPHOR: 1.7},
)
"""Criteria of chapters (14) and of the whole (16), names as published."""


class NovellaScores(NamedTuple):
    """From 0 to 100; None where nothing was scored."""

    chapters: float | None
    """Mean of the chapters."""
    final: float | None
    """Of the novella as a whole."""
    overall: float | None
    """Mean of all pieces: each chapter counts as much as the whole does."""


def novella_scores(chapters: Sequence[Mapping[str, float]], final: Sequence[Mapping[str, float]]) -> NovellaScores:
    """A novella's scores from those of the judge, 0 to 20 by criterion.

    Args:
        chapters: of each chapter; a chapter without scores is left out.
        final: of the novella as a whole, once for each judgement.
    """
    of_chapters = [NOVELLA.piece_score(scores) for scores in chapters if scores]
    of_whole = [NOVELLA.piece_score(scores) for scores in final if scores]
    return NovellaScores(*(fmean(side) if side else None for side in (of_chapters, of_whole, of_chapters + of_whole)))
