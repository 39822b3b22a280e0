"""Build ladders from prompts, responses and grades.

Selection uses only the grades, which are small; the responses files are then read once, keeping only the texts of selected
prompts. Every prompt has exactly one outcome, so the counts of outcomes add up to the number of prompts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Literal

from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows, write_rows
from longform.records.interchange import write_verl, write_writing_rl
from longform.records.schemas import Ladder, Prompt, Reference, Response
from longform.selection.potential import Candidate, candidate, floor_score
from longform.selection.scores import Best, PromptScores, Scores, read_grades, score_prompts
from longform.selection.settings import Floor, SelectionSettings
from longform.selection.strategy import load_strategy

LadderFormat = Literal["longform", "writing-rl", "verl"]
"""longform's ladders, or the Parquet format of the released Writing-RL code or of verl."""
_WRITERS: dict[LadderFormat, Callable[[Path, Sequence[Ladder]], int]] = {
    "longform": write_rows,
    "writing-rl": write_writing_rl,
    "verl": write_verl,
}
EVERYTHING = "all"
"""The only group without `group_by`."""


class SelectionOutcome(StrEnum):
    """The outcome of a prompt: chosen, or the first of the other reasons that applies."""

    CHOSEN = "chosen"
    NO_GRADE = "no grade"
    NO_POLICY_GRADE = "no grade of the policy"
    NO_COMPETITOR_GRADE = "no grade of a competitor"
    INCOMPLETE = "not graded by every judge"
    """No response of the policy, or of any competitor, was graded by the whole panel (see `selection/scores.py`)."""
    BELOW_FLOOR = "fell below the floor"
    BEYOND_TOP_K = "beyond top-k"
    NO_TEXT = "no text of a competitor"


@dataclass(frozen=True, slots=True)
class PromptFate:
    """A prompt with its outcome and its scores (None if they are missing)."""

    id: str
    group: str
    fate: SelectionOutcome
    candidate: Candidate | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected ladders in order, and the outcome of every prompt."""

    ladders: list[Ladder]
    prompts: list[PromptFate]
    """All prompts, sorted by id."""
    floors: dict[str, float]
    """Group -> its floor; -inf without one."""
    scores: Scores
    strategy: Mapping[str, str]
    """The strategy's name and, of a plugin, its version and the hash of its source."""

    def count(self) -> dict[SelectionOutcome, int]:
        """Count the prompts by outcome."""
        counts = Counter(it.fate for it in self.prompts)
        return {fate: counts[fate] for fate in SelectionOutcome}

    def dropped(self) -> dict[SelectionOutcome, int]:
        """Count the dropped prompts by cause, without zeros."""
        return {outcome: n for outcome, n in self.count().items() if n and outcome != SelectionOutcome.CHOSEN}

    def count_groups(self) -> dict[str, dict[SelectionOutcome, int]]:
        """Count the prompts by group and outcome."""
        counts = Counter((it.group, it.fate) for it in self.prompts)
        return {group: {fate: counts[group, fate] for fate in SelectionOutcome} for group in self.floors}

    @property
    def num_partial(self) -> int:
        """Number of eligible prompts on which a model that is graded elsewhere has no score.

        The missing competitor might have been the best one, so the potential of these prompts is a lower bound.
        """
        models = self.scores.models
        graded = (it for it in self.prompts if it.candidate)
        return sum(len(self.scores.prompts[it.id].best) < len(models[it.group]) for it in graded)

    @property
    def num_unequal_samples(self) -> int:
        """Number of eligible prompts on which models have different numbers of samples; the best of more is higher."""
        return sum(not self.scores.prompts[it.id].has_equal_samples for it in self.prompts if it.candidate)


def select(
    *,
    prompts: Path,
    responses: Sequence[Path],
    grades: Sequence[Path],
    settings: SelectionSettings,
    out: Path | None = None,
    out_format: LadderFormat = "longform",
    reading: Reading = AS_IS,
) -> Selection:
    """Choose prompts, build their ladders, and write them to `out` if it is given.

    A model is represented by its best sample, whose score is the mean over the judges. A prompt is eligible if the policy
    and at least one competitor have a response that is graded by every judge of the prompt's group.

    Raises:
        BadInputError: a file has an invalid row, the policy or a judge has no grades, a prompt lacks the `group_by` field, a
            graded response is missing, the strategy is unknown or fails, or, with `out`, the file cannot be written or
            there is no ladder.
    """
    if out is not None and out_format != "longform" and out.suffix != ".parquet":
        raise BadInputError(f"--out {out}: --format {out_format} is Parquet, so the name must end in .parquet")
    strategy = load_strategy(settings.strategy)
    rows = {row.id: row for row in read_rows(prompts, Prompt, reading)}
    groups = _groups(rows, settings.group_by)
    scores = score_prompts(
        read_grades(grades, judges=settings.judges, samples=settings.samples, reading=reading), groups
    )
    _check_policy(scores, settings.policy, _named(grades))
    candidate_of = {id_: _candidate(it, scores, settings.policy) for id_, it in rows.items()}
    candidates = [it for it in candidate_of.values() if it is not None]
    floors = _floors(candidates, groups, settings.floor)
    admitted = [it for it in candidates if it.reaches(floors[groups[it.id]])]
    chosen = _top(strategy.order(admitted, rows, seed=settings.seed), groups, settings.top_k)
    texts = _texts(read_all(responses, Response, reading), {it.id for it in chosen}, scores.prompts)
    built = [
        _ladder(rows[it.id], it, scores.prompts[it.id].best, texts, settings.policy, _named(responses)) for it in chosen
    ]
    ladders = [ladder for ladder in built if ladder is not None]
    fates = _fates(scores, candidate_of, admitted, chosen, ladders, policy=settings.policy)
    prompt_outcomes = [PromptFate(id_, groups[id_], fates[id_], candidate_of[id_]) for id_ in sorted(rows)]
    selection = Selection(ladders, prompt_outcomes, floors, scores, strategy.facts)
    if out is not None:
        if not ladders:
            causes = ", ".join(f"{count} {cause}" for cause, count in selection.dropped().items())
            hint = "; restrict the judges with --judges" if scores.lacking else ""
            raise BadInputError(f"--grades: no prompt in {prompts} has a ladder; {causes}{hint}")
        _WRITERS[out_format](out, ladders)
    return selection


def ladder_references(references: list[Reference], *, policy: str) -> list[Reference]:
    """Sort references into a ladder: by score, then the policy's own before others, then by model name.

    Of identical texts only one is kept, preferably the policy's own; empty texts are removed.
    """
    own_first = sorted(references, key=lambda it: (it.score, it.model != policy, it.model))
    kept: dict[str, Reference] = {}
    for reference in own_first:
        if reference.text.strip() and (reference.text not in kept or reference.model == policy):
            kept[reference.text] = reference
    return sorted(kept.values(), key=lambda it: (it.score, it.model != policy, it.model))


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _groups(rows: Mapping[str, Prompt], group_by: str | None) -> dict[str, str]:
    """Map prompt ids to the value of the `group_by` field; a missing field is an error."""
    if group_by is None:
        return dict.fromkeys(rows, EVERYTHING)
    field = group_by.removeprefix("meta.")
    lacking = [id_ for id_, row in rows.items() if row.meta.get(field) is None]
    if lacking:
        others = f" (missing in {len(lacking)} of {len(rows)} prompts)" if len(lacking) > 1 else ""
        known = sorted({name for row in rows.values() for name in row.meta})
        near = get_close_matches(field, known, n=1)
        hint = f"; did you mean meta.{near[0]}?" if near and near[0] != field else ""
        raise BadInputError(f"prompt {lacking[0]}: meta.{field}: missing, but required by --group-by{others}{hint}")
    return {id_: str(row.meta[field]) for id_, row in rows.items()}


def _check_policy(scores: Scores, policy: str, grades: str) -> None:
    known = {model for models in scores.models.values() for model in models}
    if policy not in known:
        there = f"available models: {', '.join(sorted(known))}" if known else "no grade is of these prompts"
        raise BadInputError(f"{grades}: no grade of the policy {policy!r}; {there}")


def _candidate(prompt: Prompt, scores: Scores, policy: str) -> Candidate | None:
    graded = scores.prompts.get(prompt.id)
    if graded is None:
        return None
    return candidate(prompt.id, {model: best.score for model, best in graded.best.items()}, policy=policy)


def _floors(candidates: Sequence[Candidate], groups: Mapping[str, str], floor: Floor | None) -> dict[str, float]:
    members: dict[str, list[Candidate]] = {group: [] for group in sorted(set(groups.values()))}
    for it in candidates:
        members[groups[it.id]].append(it)
    return {group: floor_score(members_of_group, floor) for group, members_of_group in members.items()}


def _top(candidates: list[Candidate], groups: Mapping[str, str], top_k: int | None) -> list[Candidate]:
    """Return the first `top_k` candidates of each group."""
    taken: Counter[str] = Counter()
    chosen = []
    for it in candidates:
        taken[groups[it.id]] += 1
        if top_k is None or taken[groups[it.id]] <= top_k:
            chosen.append(it)
    return chosen


def _fates(
    scores: Scores,
    candidate_of: Mapping[str, Candidate | None],
    admitted: list[Candidate],
    chosen: list[Candidate],
    ladders: list[Ladder],
    *,
    policy: str,
) -> dict[str, SelectionOutcome]:
    fates = {
        id_: SelectionOutcome.BELOW_FLOOR if it else _missing(scores.prompts.get(id_), policy)
        for id_, it in candidate_of.items()
    }
    fates |= {it.id: SelectionOutcome.BEYOND_TOP_K for it in admitted}
    fates |= {it.id: SelectionOutcome.NO_TEXT for it in chosen}
    return fates | {it.id: SelectionOutcome.CHOSEN for it in ladders}


def _missing(scores: PromptScores | None, policy: str) -> SelectionOutcome:
    """Return why a prompt is not a candidate."""
    if scores is None:
        return SelectionOutcome.NO_GRADE
    if policy not in scores.graded:
        return SelectionOutcome.NO_POLICY_GRADE
    return SelectionOutcome.INCOMPLETE if len(scores.graded) > 1 else SelectionOutcome.NO_COMPETITOR_GRADE


def _texts(
    responses: Iterable[Response], wanted: set[str], scores: Mapping[str, PromptScores]
) -> dict[tuple[str, str], str]:
    return {(row.prompt_id, row.model): row.text for row in _wanted_responses(responses, wanted, scores)}


def _wanted_responses(
    responses: Iterable[Response], wanted: set[str], scores: Mapping[str, PromptScores]
) -> Iterator[Response]:
    for row in responses:
        if row.prompt_id in wanted:
            best = scores[row.prompt_id].best.get(row.model)
            if best is not None and best.sample == row.sample:
                yield row


def _ladder(
    prompt: Prompt,
    chosen: Candidate,
    graded: Mapping[str, Best],
    texts: dict[tuple[str, str], str],
    policy: str,
    responses: str,
) -> Ladder | None:
    references = []
    for model, (score, sample) in graded.items():
        text = texts.get((prompt.id, model))
        if text is None:
            raise BadInputError(
                f"{responses}: missing the graded response of {model!r}, sample {sample}, to {prompt.id!r}; add its file to "
                "--responses, or leave its grades out"
            )
        references.append(Reference(model=model, text=text, score=score))
    kept = ladder_references(references, policy=policy)
    competitors = [it.score for it in kept if it.model != policy]
    if not competitors:
        return None
    shown = replace(chosen, best_competitor=max(competitors))
    fields = {"references": kept, "policy_score": chosen.policy_score, "potential": shown.potential}
    return Ladder.model_validate({**prompt.model_dump(), **fields})
