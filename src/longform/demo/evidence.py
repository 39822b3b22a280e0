"""Results of the demonstration on the held-out prompts, before and after training, with 95% intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from longform.demo.encoder import SentenceEncoder
from longform.demo.examiner import TextFigures, distinct_2, examine
from longform.demo.prompts import length_range_of
from longform.records.schemas import Prompt, Response
from longform.statistics.bootstrap import Interval, clustered_interval

SHOWN = 3
"""Number of prompts whose texts are part of the results."""
MEASURES = ("inside", "length", "requirements", "finished", "letters_per_word", "relevance")
"""Measures of a text (`examiner.TextFigures`) that are reported with an interval and a paired difference."""


@dataclass(frozen=True, slots=True)
class RangeFigures:
    """Means over a writer's texts for prompts of one length range."""

    inside: float
    length: float
    words: float


@dataclass(frozen=True, slots=True)
class DemoFigures:
    """Results of one writer: means over its texts, with intervals over prompts."""

    measures: dict[str, Interval]
    """Mean and interval of each measure in `MEASURES`, by name; relevance only if there is an encoder."""
    words: float
    distinct_2: float
    ranges: dict[str, RangeFigures]
    """By range, such as `20 to 40`."""


@dataclass(frozen=True, slots=True)
class ShownTexts:
    """A held-out request and a text of each writer."""

    request: str
    texts: dict[str, str]


@dataclass(frozen=True, slots=True)
class DemoEvidence:
    """Results of all writers."""

    writers: dict[str, DemoFigures]
    """`before`: the start. `between`: after part one. `after`: after both parts."""
    changes: dict[str, dict[str, Interval]]
    """Paired difference from `before` of each measure, for `between` and `after`."""
    shown: list[ShownTexts]

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary."""
        return asdict(self)


def compare(
    prompts: Sequence[Prompt], responses: Mapping[str, Sequence[Response]], encoder: SentenceEncoder | None = None
) -> DemoEvidence:
    """Compare writers on the same prompts and samples.

    Args:
        prompts: The held-out prompts.
        responses: By writer, `before` first; in the same order of prompts and samples.
        encoder: Measures relevance; None leaves it out.
    """
    by_id = {it.id: it for it in prompts}
    ids = [it.prompt_id for it in responses["before"]]
    asked = [by_id[it] for it in ids]
    figures = {name: examine(asked, rows, encoder) for name, rows in responses.items()}
    values = {name: _values(them) for name, them in figures.items()}
    changes = {
        name: {
            measure: clustered_interval([a - b for a, b in zip(after, values["before"][measure], strict=True)], ids)
            for measure, after in own.items()
        }
        for name, own in values.items()
        if name != "before"
    }
    writers = {
        name: DemoFigures(
            measures={measure: clustered_interval(numbers, ids) for measure, numbers in values[name].items()},
            words=sum(it.words for it in them) / len(them),
            distinct_2=distinct_2([it.text for it in responses[name]]),
            ranges=_ranges(asked, them),
        )
        for name, them in figures.items()
    }
    return DemoEvidence(writers, changes, _shown(prompts, responses))


def _values(figures: Sequence[TextFigures]) -> dict[str, list[float]]:
    rows = [it._asdict() for it in figures]
    return {name: [row[name] for row in rows] for name in MEASURES if rows[0][name] is not None}


def _ranges(prompts: Sequence[Prompt], figures: Sequence[TextFigures]) -> dict[str, RangeFigures]:
    by_range: dict[str, list[TextFigures]] = {}
    for prompt, it in zip(prompts, figures, strict=True):
        low, high = length_range_of(prompt)
        by_range.setdefault(f"{low} to {high}", []).append(it)
    return {
        name: RangeFigures(
            inside=sum(it.inside for it in them) / len(them),
            length=sum(it.length for it in them) / len(them),
            words=sum(it.words for it in them) / len(them),
        )
        for name, them in by_range.items()
    }


def _shown(prompts: Sequence[Prompt], responses: Mapping[str, Sequence[Response]]) -> list[ShownTexts]:
    """The first text of each writer for the first prompt of the first ranges."""
    firsts = list({length_range_of(it): it for it in reversed(prompts)}.values())[::-1][:SHOWN]
    texts = {name: {it.prompt_id: it.text for it in reversed(rows)} for name, rows in responses.items()}
    return [ShownTexts(it.request, {name: own[it.id] for name, own in texts.items()}) for it in firsts]
