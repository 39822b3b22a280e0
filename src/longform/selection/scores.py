"""Compute one score per model and prompt from grades: which grades count, and which response represents its model.

Means over judges are comparable only if the same judges graded each response: without a strict judge's grade, a response
would look better than others. Prompts of a group therefore share one panel, consisting of every judge that graded any of
them, and a response counts only if the whole panel graded it. Missing grades are not imputed.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import NamedTuple

from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.schemas import UNNAMED_JUDGE, Grade

Given = tuple[tuple[str, float], ...]
"""(judge, score) of every grade of one response."""
Responses = dict[tuple[str, int], Given]
"""(model, sample) -> the grades of this response to one prompt."""


class Best(NamedTuple):
    """The response that represents its model: the first one with the highest mean over the panel."""

    score: float
    sample: int


@dataclass(frozen=True, slots=True)
class PromptScores:
    """Scores of one prompt."""

    best: dict[str, Best]
    """Model -> its best response, for models with a response that counts."""
    graded: frozenset[str]
    """Models with a grade, including those without a response that counts."""
    has_equal_samples: bool
    """Whether all models in `best` have the same number of responses that count."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of all prompts, and the number of grades left out to make them comparable."""

    prompts: dict[str, PromptScores]
    """Scores of every prompt with a grade."""
    panels: dict[str, tuple[str, ...]]
    """Group -> its judges."""
    models: dict[str, frozenset[str]]
    """Group -> the models with a grade in it."""
    num_responses: int
    """Responses with a grade."""
    num_incomplete: int
    """Responses that do not count, because a judge of their panel did not grade them."""
    lacking: dict[str, int]
    """Judge -> number of responses without its grade."""


def read_grades(
    paths: Sequence[Path], *, judges: Sequence[str] = (), samples: int | None = None, reading: Reading = AS_IS
) -> dict[str, Responses]:
    """Read grades by prompt id, of the given judges (all if empty) and of the samples numbered below `samples`.

    Raises:
        BadInputError: an invalid row, or a judge without grades.
    """
    graded: dict[str, Responses] = defaultdict(dict)
    seen: set[str] = set()
    for grade in read_all(paths, Grade, reading):
        judge = sys.intern(grade.judge or UNNAMED_JUDGE)
        seen.add(judge)
        if (judges and judge not in judges) or (samples is not None and grade.sample >= samples):
            continue
        responses, response = graded[grade.prompt_id], (sys.intern(grade.model), grade.sample)
        given = responses.get(response, ())
        if any(judge == known for known, _ in given):
            raise BadInputError(
                f"grades of prompt {grade.prompt_id!r}: judge {judge!r} graded {grade.model!r}, sample {grade.sample}, twice"
            )
        responses[response] = (*given, (judge, grade.score))
    for judge in judges:
        if judge not in seen:
            raise BadInputError(f"--judges {judge}: no grades by this judge; available: {', '.join(sorted(seen))}")
    return graded


def score_prompts(grades: Mapping[str, Responses], groups: Mapping[str, str]) -> Scores:
    """Score all prompts in `groups` (prompt id -> group); grades of other prompts are ignored."""
    known = {id_: responses for id_, responses in grades.items() if id_ in groups}
    judges: dict[str, set[str]] = defaultdict(set)
    models: dict[str, set[str]] = defaultdict(set)
    for id_, responses in known.items():
        for (model, _), given in responses.items():
            models[groups[id_]].add(model)
            judges[groups[id_]].update(judge for judge, _ in given)
    lacking: Counter[str] = Counter()
    incomplete = 0
    for id_, responses in known.items():
        panel = judges[groups[id_]]
        for given in responses.values():
            if len(given) < len(panel):
                incomplete += 1
                lacking.update(panel - {judge for judge, _ in given})
    return Scores(
        {id_: score_prompt(responses, panel=judges[groups[id_]]) for id_, responses in known.items()},
        panels={group: tuple(sorted(panel)) for group, panel in judges.items()},
        models={group: frozenset(names) for group, names in models.items()},
        num_responses=sum(map(len, known.values())),
        num_incomplete=incomplete,
        lacking=dict(lacking),
    )


def score_prompt(responses: Responses, *, panel: Iterable[str]) -> PromptScores:
    """Find each model's best response among those that the whole panel graded."""
    needed = len(set(panel))
    best: dict[str, Best] = {}
    samples: Counter[str] = Counter()
    for (model, sample), given in sorted(responses.items()):
        if len(given) == needed:
            samples[model] += 1
            score = fsum([score for _, score in given]) / needed  # exact, so the judges' order does not matter
            if model not in best or score > best[model].score:
                best[model] = Best(score, sample)
    return PromptScores(best, frozenset(model for model, _ in responses), len(set(samples.values())) <= 1)
