"""From prompts, responses and grades to ladders.

Grades decide, and they are small; responses are long. So the choice is made on grades alone, and the responses file is
then read once, keeping only the texts of chosen prompts.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows
from longform.records.schemas import Grade, Ladder, Prompt, Reference, Response
from longform.selection.potential import Candidate, candidate, floor_score, ordered
from longform.selection.settings import SelectionSettings

Best = dict[str, dict[str, tuple[float, int]]]
"""prompt id -> model -> (score, sample) of the model's best response."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen ladders, in order of choice, and what became of the other prompts."""

    ladders: list[Ladder]
    num_prompts: int
    num_ungraded: int
    """Prompts without a grade of the policy or of any competitor."""
    num_below_floor: int
    num_without_text: int
    """Chosen prompts whose graded responses are all empty; they have no ladder."""
    floor: float


def select(
    *, prompts: Path, responses: Sequence[Path], grades: Sequence[Path], settings: SelectionSettings
) -> Selection:
    """Choose prompts and build their ladders.

    A model with several samples or judges on one prompt is represented by its best sample, whose score is the mean over
    the judges that graded it.

    Raises:
        BadInputError: a bad row in one of the files, a policy that nobody graded, or a graded response that is missing.
    """
    best = _best_responses(grades)
    graded_in, written_in = _named(grades), _named(responses)
    if not any(settings.policy in models for models in best.values()):
        known = ", ".join(sorted({model for models in best.values() for model in models}))
        raise BadInputError(f"{graded_in}: no grade of the policy {settings.policy!r}; models there: {known}")
    rows = {row.id: row for row in read_rows(prompts, Prompt)}
    scores = {id_: {model: score for model, (score, _) in models.items()} for id_, models in best.items()}
    found = [candidate(id_, scores.get(id_, {}), policy=settings.policy) for id_ in rows]
    graded = [it for it in found if it is not None]
    floor = floor_score(graded, settings.floor)
    admitted = [it for it in graded if it.best_competitor >= floor]
    chosen = _top(ordered(admitted, strategy=settings.strategy, seed=settings.seed), rows, settings)
    texts = _texts(responses, {it.id for it in chosen}, best)
    built = [_ladder(rows[it.id], it, best[it.id], texts, settings.policy, written_in) for it in chosen]
    ladders = [ladder for ladder in built if ladder is not None]
    return Selection(
        ladders,
        num_prompts=len(rows),
        num_ungraded=len(rows) - len(graded),
        num_below_floor=len(graded) - len(admitted),
        num_without_text=len(built) - len(ladders),
        floor=floor,
    )


def ladder_references(references: list[Reference], *, policy: str) -> list[Reference]:
    """References in the order of a ladder: score, then the policy's own before others, then model name.

    Of identical texts one stays, the policy's own copy where there is one; an empty text is no reference.
    """
    own_first = sorted(references, key=lambda it: (it.score, it.model != policy, it.model))
    kept: dict[str, Reference] = {}
    for reference in own_first:
        if reference.text.strip() and (reference.text not in kept or reference.model == policy):
            kept[reference.text] = reference
    return sorted(kept.values(), key=lambda it: (it.score, it.model != policy, it.model))


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _best_responses(paths: Sequence[Path]) -> Best:
    scores: dict[str, dict[tuple[str, int], tuple[float, ...]]] = defaultdict(dict)
    for grade in read_all(paths, Grade):
        responses, response = scores[grade.prompt_id], (grade.model, grade.sample)
        responses[response] = (*responses.get(response, ()), grade.score)
    return {id_: _best_samples(responses) for id_, responses in scores.items()}


def _best_samples(scores: dict[tuple[str, int], tuple[float, ...]]) -> dict[str, tuple[float, int]]:
    """Each model's (mean score, sample) of its best sample, the first of equals, from the judges' scores of each."""
    best: dict[str, tuple[float, int]] = {}
    for (model, sample), given in sorted(scores.items()):
        score = fmean(given)  # exact, so the judges' order does not matter
        if model not in best or score > best[model][0]:
            best[model] = (score, sample)
    return best


def _top(candidates: list[Candidate], rows: dict[str, Prompt], settings: SelectionSettings) -> list[Candidate]:
    if settings.per is None:
        return candidates[: settings.top_k]
    field = settings.per.removeprefix("meta.")
    taken: dict[Any, list[Candidate]] = defaultdict(list)
    for it in candidates:
        group = rows[it.id].meta.get(field)
        if group is None:
            raise BadInputError(f"prompt {it.id}: meta.{field}: is missing, and --per asks for it")
        if settings.top_k is None or len(taken[str(group)]) < settings.top_k:
            taken[str(group)].append(it)
    chosen = {it.id for group in taken.values() for it in group}
    return [it for it in candidates if it.id in chosen]


def _texts(paths: Sequence[Path], wanted: set[str], best: Best) -> dict[tuple[str, str], str]:
    return {(row.prompt_id, row.model): row.text for row in _wanted_responses(paths, wanted, best)}


def _wanted_responses(paths: Sequence[Path], wanted: set[str], best: Best) -> Iterator[Response]:
    for row in read_all(paths, Response):
        if row.prompt_id in wanted:
            _, sample = best[row.prompt_id].get(row.model, (0.0, None))
            if sample == row.sample:
                yield row


def _ladder(
    prompt: Prompt,
    chosen: Candidate,
    graded: dict[str, tuple[float, int]],
    texts: dict[tuple[str, str], str],
    policy: str,
    responses: str,
) -> Ladder | None:
    references = []
    for model, (score, sample) in graded.items():
        text = texts.get((prompt.id, model))
        if text is None:
            raise BadInputError(
                f"{responses}: lacks the graded response of {model!r}, sample {sample}, to {prompt.id!r}"
            )
        references.append(Reference(model=model, text=text, score=score))
    kept = ladder_references(references, policy=policy)
    if not kept:
        return None
    found = {"references": kept, "policy_score": chosen.policy_score, "potential": chosen.potential}
    return Ladder.model_validate({**prompt.model_dump(), **found})
