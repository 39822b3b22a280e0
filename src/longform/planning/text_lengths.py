"""Lengths of the texts of a run in tokens: from its files, from flags, or else the maximum."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from longform.endpoints.request import estimate_prompt_tokens
from longform.judging.answers import fence_tag
from longform.judging.criteria import ask_criterion, describe_criterion
from longform.judging.pairwise import ask_pairwise
from longform.judging.pointwise import ask_pointwise
from longform.planning.assumptions import Assumptions
from longform.planning.workload import Workload
from longform.records.adapting import Reading
from longform.records.files import read_rows
from longform.records.interchange import read_training_prompts
from longform.records.schemas import Criterion, Ladder, Prompt, PromptRow
from longform.rewards.settings import LengthSettings
from longform.text.words import TOKENS_PER_LATIN_WORD, estimate_tokens

_READ = 1000
"""Rows whose texts are measured; all rows are counted."""
_TAG = fence_tag(b"estimate", "", 0)


@dataclass(frozen=True, slots=True)
class TextLengths:
    """Means, in tokens."""

    prompts: int | None
    """Number of training prompts; None if their file does not exist."""
    validation_prompts: int
    prompt: float
    """As the policy reads it, in its template."""
    response: float
    """A whole response, plan included."""
    longest: int
    """The longest response of a step."""
    answer: float
    """The part of a response that is judged."""
    reference: float
    pairwise_frame: float
    """What a judge reads besides the two texts: instructions, request, criteria."""
    pointwise_frame: float
    notes: tuple[str, ...]
    """Assumptions."""
    criteria: float = 1.0
    """Number of a prompt's criteria, where it is graded by each of them in a call of its own."""
    criterion_frame: float = 0.0
    """What a judge reads besides the text where it is asked about one criterion."""


class _Texts(NamedTuple):
    """Measured on the file of prompts; None if it does not tell."""

    prompt: float | None
    reference: float | None
    ranged: float | None
    """Mean middle of the prompts' length ranges."""
    pairwise_frame: float
    pointwise_frame: float
    criteria: float
    criterion_frame: float


def find_lengths(run: Workload, given: Assumptions) -> TextLengths:
    """Lengths of the texts of a run.

    Raises:
        BadInputError: a file has a bad row.
    """
    notes: list[str] = []
    rows = _read_rows(run, notes)
    texts = _measure(rows or [])
    prompt = given.tokens_per_prompt or texts.prompt
    if prompt is None:
        prompt = run.generation.max_prompt_tokens / 4
        notes.append(f"a prompt has a quarter of max_prompt_tokens: {prompt:,.0f} tokens")
    in_file = texts.prompt is not None
    answer, response = _response_tokens(run, texts, given, notes)
    most = run.generation.max_tokens
    longest = min(given.longest_response or most, most)
    if given.longest_response is None:
        notes.append(f"the longest response of every step reaches max_tokens: {most:,} tokens")
    return TextLengths(
        prompts=None if rows is None else len(rows),
        validation_prompts=_count_validation(run, given, notes),
        prompt=min(prompt, run.generation.max_prompt_tokens),
        response=response,
        longest=max(longest, round(response)),
        answer=answer,
        reference=answer if texts.reference is None else texts.reference,
        pairwise_frame=texts.pairwise_frame + (0 if in_file else prompt),
        pointwise_frame=texts.pointwise_frame + (0 if in_file else prompt),
        notes=tuple(notes),
        criteria=texts.criteria,
        criterion_frame=texts.criterion_frame + (0 if in_file else prompt),
    )


def lengths_on_record(rows: Sequence[PromptRow], *, answer: float) -> TextLengths:
    """Lengths of the texts of a recorded run.

    Args:
        rows: Its prompts or ladders.
        answer: Mean tokens of its answers.
    """
    texts = _measure(rows)
    return TextLengths(
        prompts=len(rows),
        validation_prompts=0,
        prompt=texts.prompt or 0.0,
        response=answer,
        longest=round(answer),
        answer=answer,
        reference=answer if texts.reference is None else texts.reference,
        pairwise_frame=texts.pairwise_frame,
        pointwise_frame=texts.pointwise_frame,
        notes=(),
        criteria=texts.criteria,
        criterion_frame=texts.criterion_frame,
    )


def _read_rows(run: Workload, notes: list[str]) -> Sequence[PromptRow] | None:
    parts = run.data.parts
    for part in parts:
        if not part.path.exists():
            notes.append(f"{part.path} does not exist: lengths of texts are those stated below")
            return None
    rows = [row for it in parts for row in read_training_prompts(it.ladders, it.prompts, it.columns)]
    shown = ", ".join(str(part.path) for part in parts)
    measured = "all" if len(rows) <= _READ else f"the first {_READ:,}"
    notes.append(f"lengths are measured in words on {measured} of {len(rows):,} prompts in {shown}")
    return rows


def _measure(rows: Sequence[PromptRow]) -> _Texts:
    rows = rows[:_READ]
    references = [[estimate_tokens(it.text) for it in row.references] for row in rows if isinstance(row, Ladder)]
    middles = [sum(row.length_range) / 2 for row in rows if row.length_range is not None]
    framed: Sequence[PromptRow] = rows or [Prompt(id="-", prompt="-")]
    listed = [(row, it) for row in rows if isinstance(row.criteria, list) for it in row.criteria]
    by_one = listed or [(row, Criterion(name="-")) for row in framed]
    return _Texts(
        prompt=fmean(estimate_prompt_tokens(row.messages) for row in rows) if rows else None,
        reference=fmean(map(fmean, references)) if references else None,
        ranged=TOKENS_PER_LATIN_WORD * fmean(middles) if middles else None,
        pairwise_frame=fmean(estimate_tokens(ask_pairwise(it, text_a="", text_b="", tag=_TAG)) for it in framed),
        pointwise_frame=fmean(estimate_tokens(ask_pointwise(it, "", tag=_TAG).message) for it in framed),
        criteria=len(listed) / len(rows) if listed else 1.0,
        criterion_frame=fmean(
            estimate_tokens(ask_criterion(request=row.request, text="", criterion=describe_criterion(it), tag=_TAG))
            for row, it in by_one[:_READ]
        ),
    )


def _response_tokens(run: Workload, texts: _Texts, given: Assumptions, notes: list[str]) -> tuple[float, float]:
    """Tokens of the answer, and of the whole response."""
    most = run.generation.max_tokens
    plan = min(given.plan_tokens, most // 2) if run.generation.think == "on" else 0
    if plan:
        notes.append(f"{plan:,} tokens of a response are its plan, which judges do not read")
    if given.tokens_per_response is not None:
        response = min(given.tokens_per_response, most)
        return max(response - plan, 1), response
    ranges_lead = any(isinstance(it, LengthSettings) for it in run.rewards)
    ranged, reference = texts.ranged, texts.reference
    expected = (ranged or reference) if ranges_lead else (reference or ranged)
    if expected is None:
        notes.append(
            f"every response reaches max_tokens: {most:,} tokens; give a better figure with --tokens-per-response"
        )
        return most - plan, most
    by_range = expected == ranged
    source = f"length ranges ({TOKENS_PER_LATIN_WORD} tokens a word)" if by_range else "references"
    response = min(expected + plan, most)
    notes.append(f"answers are as long as the prompts' {source}: {response - plan:,.0f} tokens")
    return response - plan, response


def _count_validation(run: Workload, given: Assumptions, notes: list[str]) -> int:
    if run.validation is None:
        return 0
    if given.validation_prompts is not None:
        return given.validation_prompts
    path = run.validation.prompts
    if not path.exists():
        notes.append(f"{path} does not exist: validation is not counted; give --validation-prompts")
        return 0
    return sum(1 for _ in read_rows(path, Prompt, Reading.of_recipe(run.validation.columns)))
