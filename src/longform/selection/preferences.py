"""Pairs of a better and a worse text for one prompt, for a reward model: from scores, from the verdicts of a run, or by
leaving requirements out (selection/dropping.py).

A pair whose texts are equal, or whose better text is empty, teaches nothing or something wrong. It is left out and counted,
like everything else that gives no pair.
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

from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows, write_rows
from longform.records.paths import check_out
from longform.records.rollouts import RolloutRecord
from longform.records.schemas import Ladder, Preference, Prompt, PromptRow, Response
from longform.selection.potential import ROUNDING
from longform.selection.scores import Responses, read_grades
from longform.text.structure import Thinking, parse_response
from longform.text.words import count_words

PreferenceSource = Literal["scores", "verdicts", "dropping"]


class SourcedPreference(Preference):
    """A preference that says where it comes from."""

    prompt_id: str
    chosen_model: str
    rejected_model: str
    source: PreferenceSource


class LeftOut(StrEnum):
    """What gives no pair, and why."""

    EQUAL = "pairs of equal texts"
    EMPTY = "pairs with an empty chosen text"
    INCOMPLETE = "responses that not every grader of their prompt graded"
    NO_TEXT = "graded responses without a text"
    ALONE = "prompts with fewer than two responses to compare"
    WITHIN_MARGIN = "pairs within the margin"
    BEYOND_MOST = "pairs beyond the most per prompt"
    NO_VERDICT = "rollouts without a verdict"
    TIE = "texts that tie with their reference"
    UNDECIDED = "texts judged several times without a majority"
    NOT_REDUCED = "prompts that were not reduced"
    NOT_WRITTEN = "pairs of which a text was not written"
    CUT_OFF = "pairs of which a text was cut off"


@dataclass(slots=True)
class Preferences:
    """Pairs, and what was left out on the way to them."""

    rows: list[SourcedPreference] = field(default_factory=list)
    left_out: Counter[LeftOut] = field(default_factory=Counter)

    def add(self, row: SourcedPreference) -> None:
        """Keep a pair, or count why it cannot be kept."""
        cause = flaw(row.chosen, row.rejected)
        if cause is None:
            self.rows.append(row)
        else:
            self.left_out[cause] += 1

    @property
    def num_prompts(self) -> int:
        """Prompts with a pair."""
        return len({row.prompt_id for row in self.rows})

    def length_bias(self) -> "LengthBias":
        """How often the longer text is the chosen one. A reward model can learn that much from length alone."""
        words = cache(count_words)
        differences = [words(row.chosen) - words(row.rejected) for row in self.rows]
        return LengthBias(sum(it > 0 for it in differences), sum(it != 0 for it in differences))

    def write(self, out: Path, *, source: str) -> None:
        """Write the pairs to `out`; `source` says in a message what they were made from.

        Raises:
            BadInputError: there are none, and why; or `out` cannot be written.
        """
        if not self.rows:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.left_out.items() if count)
            raise BadInputError(f"{source}: makes no pair; left out: {causes or 'nothing was judged'}")
        write_rows(out, self.rows)


class LengthBias(NamedTuple):
    """Pairs in which the longer text is chosen, of those whose texts differ in their number of words."""

    longer_chosen: int
    unequal: int

    @property
    def share(self) -> float | None:
        """0.5 where length says nothing; None where no lengths differ."""
        return self.longer_chosen / self.unequal if self.unequal else None


class _GradedResponse(NamedTuple):
    """A response that counts."""

    model: str
    text: str
    score: float


def flaw(chosen: str, rejected: str) -> LeftOut | None:
    """Why two texts make no pair; None where they make one."""
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
) -> Preferences:
    """Write `prefer_by_score` of these files to `out`.

    Raises:
        BadInputError: a bad row in one of the files, `out` is one of them or cannot be written, or there is no pair.
    """
    check_out(out, prompts, *responses, *grades)
    made = prefer_by_score(
        prompts, responses=responses, grades=grades, margin=margin, max_per_prompt=max_per_prompt, seed=seed
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
) -> Preferences:
    """All pairs of responses to one prompt whose scores differ by more than `margin`; that difference is a pair's margin.

    A response's score is the mean over all graders of any response to its prompt; it counts only if all of them graded it.
    Graders of one prompt need not be those of another, since scores are compared within a prompt. Grades and responses of
    other prompts are passed over.

    Args:
        prompts: their order is that of the pairs; within a prompt, models and samples are in the order of their names.
        responses: files that hold the texts.
        grades: files of scores on any scale, a grader as the `judge`.
        margin: scores that differ by no more are no pair.
        max_per_prompt: pairs to keep of each prompt, drawn at random.
        seed: of that draw.

    Raises:
        BadInputError: a bad row in one of the files.
    """
    made = Preferences()
    rows = list(read_rows(prompts, Prompt))
    ids = {row.id for row in rows}
    graded = {id_: found for id_, found in read_grades(grades).items() if id_ in ids}
    texts = {it.key: it.text for it in read_all(responses, Response) if it.prompt_id in graded}
    for row in rows:
        counting = _counting(row.id, graded.get(row.id, {}), texts, made.left_out)
        if len(counting) < 2:
            made.left_out[LeftOut.ALONE] += 1
        pairs = [pair for one, other in combinations(counting, 2) if (pair := _pair(row, one, other, margin, made))]
        if max_per_prompt is not None and len(pairs) > max_per_prompt:
            made.left_out[LeftOut.BEYOND_MOST] += len(pairs) - max_per_prompt
            drawn = random.Random(f"preferences/{seed}/{row.id}").sample(range(len(pairs)), max_per_prompt)
            pairs = [pairs[place] for place in sorted(drawn)]
        made.rows += pairs
    return made


def prefer_by_verdict(
    rollouts: Iterable[RolloutRecord], prompts: Sequence[PromptRow], *, thinking: Thinking, policy: str
) -> Preferences:
    """What a run's judge found: the policy's answer is chosen where it wins, its reference where it loses.

    An answer that was judged several times against one reference counts once, by its most frequent outcome.

    Args:
        rollouts: of the run.
        prompts: that it was trained on, ladders among them; their order is that of the pairs.
        thinking: how the run's texts hold their answers.
        policy: the model name of its answers.
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
    """A pair for `prompt`; `chosen` and `rejected` are (model, text)."""
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
    """The responses to a prompt that its whole panel graded and that have a text."""
    panel = {judge for given in graded.values() for judge, _ in given}
    found = []
    for (model, sample), given in sorted(graded.items()):
        text = texts.get((prompt_id, model, sample))
        if len(given) < len(panel):
            left_out[LeftOut.INCOMPLETE] += 1
        elif text is None:
            left_out[LeftOut.NO_TEXT] += 1
        else:
            found.append(_GradedResponse(model, text, fsum(score for _, score in given) / len(panel)))
    return found


def _pair(
    prompt: Prompt, one: _GradedResponse, other: _GradedResponse, margin: float, made: Preferences
) -> SourcedPreference | None:
    """The pair that two responses make, or None, counted in `made`."""
    better, worse = (one, other) if one.score > other.score else (other, one)
    difference = round(better.score - worse.score, ROUNDING)  # so that equal differences are equal however summed
    cause = LeftOut.WITHIN_MARGIN if difference <= margin else flaw(better.text, worse.text)
    if cause is not None:
        made.left_out[cause] += 1
        return None
    sides = (better.model, better.text), (worse.model, worse.text)
    return preference(prompt, *sides, source="scores", margin=difference)


def _most_frequent(outcomes: Counter[str]) -> str | None:
    """The outcome that occurs more often than each other one; None where there is none."""
    (first, count), *rest = outcomes.most_common(2)
    return None if rest and rest[0][1] == count else first


def _reference_model(prompt: PromptRow, reference: str, policy: str) -> str:
    """Whose text a reference is; one that no ladder holds is the policy's own (curriculum: top `self`)."""
    references = prompt.references if isinstance(prompt, Ladder) else []
    return next((it.model for it in references if it.text == reference), policy)
