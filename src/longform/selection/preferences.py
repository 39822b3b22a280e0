"""Preference pairs for a reward model: from scores, from a run's verdicts, or by requirement dropping
(selection/dropping.py).

Pairs of equal texts and pairs with an empty chosen text are left out and counted, like everything else that gives no pair.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import combinations
from math import fsum
from pathlib import Path
from typing import Literal, NamedTuple

from longform.records.adapting import AS_IS, Reading
from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows, write_rows
from longform.records.paths import check_out
from longform.records.schemas import Ladder, Preference, Prompt, PromptRow, Response
from longform.selection.potential import ROUNDING
from longform.selection.scores import Responses, read_grades
from longform.text.structure import Thinking, parse_response
from longform.text.words import count_words_of_any_script

PreferenceSource = Literal["scores", "verdicts", "dropping"]


class SourcedPreference(Preference):
    """A preference with its source."""

    prompt_id: str
    chosen_model: str
    rejected_model: str
    source: PreferenceSource


class LeftOut(StrEnum):
    """Reasons why something gives no pair."""

    EQUAL = "pairs of equal texts"
    EMPTY = "pairs with an empty chosen text"
    INCOMPLETE = "responses that not every grader of their prompt graded"
    NO_TEXT = "graded responses without a text"
    ALONE = "prompts with fewer than two responses to compare"
    WITHIN_MARGIN = "pairs within the margin"
    BEYOND_MOST = "pairs beyond the maximum per prompt"
    NO_VERDICT = "rollouts without a verdict"
    TIE = "texts that tie with their reference"
    UNDECIDED = "texts judged several times without a majority"
    NOT_REDUCED = "prompts that were not reduced"
    NOT_WRITTEN = "pairs with a missing text"
    CUT_OFF = "pairs with a truncated text"


@dataclass(slots=True)
class Preferences:
    """Preference pairs, and counts of what was left out."""

    rows: list[SourcedPreference] = field(default_factory=list)
    left_out: Counter[LeftOut] = field(default_factory=Counter)

    def add(self, row: SourcedPreference) -> None:
        """Add a pair, or count why it is left out."""
        cause = flaw(row.chosen, row.rejected)
        if cause is None:
            self.rows.append(row)
        else:
            self.left_out[cause] += 1

    @property
    def num_prompts(self) -> int:
        """Number of prompts with a pair."""
        return len({row.prompt_id for row in self.rows})

    def length_bias(self) -> "LengthBias":
        """How often the longer text is chosen: the accuracy that a reward model can reach by length alone."""
        words = cache(count_words_of_any_script)
        differences = [words(row.chosen) - words(row.rejected) for row in self.rows]
        return LengthBias(sum(it > 0 for it in differences), sum(it != 0 for it in differences))

    def write(self, out: Path, *, source: str) -> None:
        """Write the pairs to `out`; `source` names their origin in errors.

        Raises:
            BadInputError: there are no pairs (the error lists the causes), or `out` cannot be written.
        """
        if not self.rows:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.left_out.items() if count)
            raise BadInputError(f"{source}: no preference pairs; left out: {causes or 'nothing was judged'}")
        write_rows(out, self.rows)


class LengthBias(NamedTuple):
    """Pairs in which the longer text is chosen, among pairs with different word counts."""

    longer_chosen: int
    unequal: int

    @property
    def share(self) -> float | None:
        """Fraction of these pairs: 0.5 without length bias; None if all lengths are equal."""
        return self.longer_chosen / self.unequal if self.unequal else None


class _GradedResponse(NamedTuple):
    """A response graded by the whole panel."""

    model: str
    text: str
    score: float


def flaw(chosen: str, rejected: str) -> LeftOut | None:
    """Return why two texts give no pair; None if they give one."""
    if chosen.strip() == rejected.strip():
        return LeftOut.EQUAL
    return None if chosen.strip() else LeftOut.EMPTY


def preferences_from_scores(
    prompts: Path,
    *,
    responses: Sequence[Path],
    grades: Sequence[Path],
    out: Path,
    margin: float = 0.0,
    max_per_prompt: int | None = None,
    seed: int = 0,
    reading: Reading = AS_IS,
) -> Preferences:
    """Build pairs with `prefer_by_score` and write them to `out`.

    Raises:
        BadInputError: a file has an invalid row, `out` is one of the files or cannot be written, or there is no pair.
    """
    check_out(out, prompts, *responses, *grades)
    made = prefer_by_score(
        prompts,
        responses=responses,
        grades=grades,
        margin=margin,
        max_per_prompt=max_per_prompt,
        seed=seed,
        reading=reading,
    )
    made.write(out, source=str(prompts))
    return made


def prefer_by_score(
    prompts: Path,
    *,
    responses: Sequence[Path],
    grades: Sequence[Path],
    margin: float = 0.0,
    max_per_prompt: int | None = None,
    seed: int = 0,
    reading: Reading = AS_IS,
) -> Preferences:
    """Pair all responses to the same prompt whose scores differ by more than `margin`; the difference is the pair's margin.

    A response's score is the mean over all graders of its prompt; it counts only if all of them graded it. Graders may
    differ between prompts, because scores are only compared within a prompt. Grades and responses of other prompts are
    ignored.

    Args:
        prompts: Prompts file; pairs are in its order, and within a prompt sorted by model and sample.
        responses: Responses files.
        grades: Grades files on any scale; the grader is the `judge`.
        margin: Pairs must differ by more than this.
        max_per_prompt: Maximum number of pairs per prompt, chosen at random.
        seed: Seed of that choice.
        reading: How the files are read: renamed columns, and bad rows to skip.

    Raises:
        BadInputError: a file has an invalid row.
    """
    made = Preferences()
    rows = list(read_rows(prompts, Prompt, reading))
    ids = {row.id for row in rows}
    graded = {id_: responses_of for id_, responses_of in read_grades(grades, reading=reading).items() if id_ in ids}
    texts = {it.key: it.text for it in read_all(responses, Response, reading) if it.prompt_id in graded}
    for row in rows:
        counting = _counting(row.id, graded.get(row.id, {}), texts, made.left_out)
        if len(counting) < 2:
            made.left_out[LeftOut.ALONE] += 1
        pairs = [pair for one, other in combinations(counting, 2) if (pair := _pair(row, one, other, margin, made))]
        if max_per_prompt is not None and len(pairs) > max_per_prompt:
            made.left_out[LeftOut.BEYOND_MOST] += len(pairs) - max_per_prompt
            drawn = random.Random(f"preferences/{seed}/{row.id}").sample(range(len(pairs)), max_per_prompt)
            pairs = [pairs[index] for index in sorted(drawn)]
        made.rows += pairs
    return made


def prefer_by_verdict(
    rollouts: Iterable[RolloutRecord], prompts: Sequence[PromptRow], *, thinking: Thinking, policy: str
) -> Preferences:
    """Build pairs from a run's verdicts: the policy's answer is chosen if it wins, its reference if it loses.

    An answer that was judged several times against the same reference counts once, by its most frequent outcome.

    Args:
        rollouts: Rollouts of the run.
        prompts: Prompts of the run, including ladders; pairs are in their order.
        thinking: Format of the run's texts.
        policy: Model name of the policy's answers.
    """
    made = Preferences()
    judged: dict[str, dict[tuple[str, str], Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for it in rollouts:
        if it.outcome is None:
            made.left_out[LeftOut.NO_VERDICT] += 1
        else:
            judged[it.prompt_id][parse_response(it.text, thinking).answer, it.reference][it.outcome] += 1
    for prompt in prompts:
        for (answer, reference), outcomes in judged.get(prompt.id, {}).items():
            outcome = _most_frequent(outcomes)
            if outcome in ("win", "loss"):
                own, other = (policy, answer), (_reference_model(prompt, reference, policy), reference)
                chosen, rejected = (own, other) if outcome == "win" else (other, own)
                made.add(preference(prompt, chosen, rejected, source="verdicts"))
            else:
                made.left_out[LeftOut.UNDECIDED if outcome is None else LeftOut.TIE] += 1
    return made


def preference(
    prompt: PromptRow,
    chosen: tuple[str, str],
    rejected: tuple[str, str],
    *,
    source: PreferenceSource,
    margin: float | None = None,
) -> SourcedPreference:
    """Build a pair for `prompt`; `chosen` and `rejected` are (model, text)."""
    return SourcedPreference(
        prompt=prompt.prompt,
        chosen=chosen[1],
        rejected=rejected[1],
        margin=margin,
        prompt_id=prompt.id,
        chosen_model=chosen[0],
        rejected_model=rejected[0],
        source=source,
    )


def _counting(
    prompt_id: str, graded: Responses, texts: Mapping[tuple[str, str, int], str], left_out: Counter[LeftOut]
) -> list[_GradedResponse]:
    """Return the responses to a prompt that have a text and were graded by the whole panel."""
    panel = {judge for given in graded.values() for judge, _ in given}
    kept = []
    for (model, sample), given in sorted(graded.items()):
        text = texts.get((prompt_id, model, sample))
        if len(given) < len(panel):
            left_out[LeftOut.INCOMPLETE] += 1
        elif text is None:
            left_out[LeftOut.NO_TEXT] += 1
        else:
            kept.append(_GradedResponse(model, text, fsum(score for _, score in given) / len(panel)))
    return kept


def _pair(
    prompt: Prompt, one: _GradedResponse, other: _GradedResponse, margin: float, made: Preferences
) -> SourcedPreference | None:
    """Pair two responses; if they give no pair, count the reason in `made` and return None."""
    better, worse = (one, other) if one.score > other.score else (other, one)
    difference = round(better.score - worse.score, ROUNDING)  # so that equal differences are equal however summed
    cause = LeftOut.WITHIN_MARGIN if difference <= margin else flaw(better.text, worse.text)
    if cause is not None:
        made.left_out[cause] += 1
        return None
    sides = (better.model, better.text), (worse.model, worse.text)
    return preference(prompt, *sides, source="scores", margin=difference)


def _most_frequent(outcomes: Counter[str]) -> str | None:
    """Return the outcome that is more frequent than every other; None if there is none."""
    (first, count), *rest = outcomes.most_common(2)
    return None if rest and rest[0][1] == count else first


def _reference_model(prompt: PromptRow, reference: str, policy: str) -> str:
    """Return the author of a reference; one that is in no ladder is the policy's own (curriculum: top `self`)."""
    references = prompt.references if isinstance(prompt, Ladder) else []
    return next((it.model for it in references if it.text == reference), policy)
