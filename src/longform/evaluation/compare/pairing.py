"""Pair two sides by prompt, with each prompt's group and length bin.

Prompts are the unit of resampling and testing, so several samples of a side are averaged per prompt. For judges, samples are
paired in order, as many as both sides have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from statistics import fmean

from longform.evaluation.compare.sides import GradedText, Side
from longform.records.errors import BadInputError
from longform.records.schemas import Grade, PromptRow
from longform.text.words import count_words_of_any_script, length_bin_name


@dataclass(frozen=True, slots=True)
class PairedPrompt:
    """A prompt with the texts of both sides."""

    id: str
    prompt: PromptRow | None
    """None if only its id is known."""
    a: Sequence[GradedText]
    b: Sequence[GradedText]
    group: str | None
    bin: str

    @property
    def pairs(self) -> list[tuple[GradedText, GradedText]]:
        """The pairs of texts to compare."""
        return list(zip(self.a, self.b, strict=False))

    def means(self, value: Callable[[GradedText], float | None]) -> tuple[float, float] | None:
        """Return the mean of a value over each side's texts; None if a side has no value."""
        sides = [[number for it in side if (number := value(it)) is not None] for side in (self.a, self.b)]
        return (fmean(sides[0]), fmean(sides[1])) if all(sides) else None


@dataclass(frozen=True, slots=True)
class Pairing:
    """All prompts that both sides answered."""

    a: str
    """Name of the side."""
    b: str
    prompts: Sequence[PairedPrompt]
    only_a: int
    """Number of prompts that only this side answered, which are left out."""
    only_b: int
    prompts_from: str
    """Origin of requests, criteria and meta, as text."""
    bins_of: str
    """Word count that the length bins refer to."""

    def with_grades(self, grades: Mapping[tuple[str, str, int], Mapping[str, float]]) -> "Pairing":
        """Return the pairing with additional grades.

        Args:
            grades: (prompt id, side "a" or "b", index of the sample) -> judge -> grade.
        """

        def graded(id_: str, side: str, texts: Sequence[GradedText]) -> list[GradedText]:
            return [
                replace(it, grades={**it.grades, **grades.get((id_, side, index), {})})
                for index, it in enumerate(texts)
            ]

        prompts = [replace(it, a=graded(it.id, "a", it.a), b=graded(it.id, "b", it.b)) for it in self.prompts]
        return replace(self, prompts=prompts)


def pair_sides(
    a: Side, b: Side, prompts: Mapping[str, PromptRow], prompts_from: str = "", *, group_by: str | None = None
) -> Pairing:
    """Pair both sides on the prompts that both answered.

    A prompt's length bin is given by its requested length (the middle of its `length_range`) if all prompts have one,
    else by the mean words of both sides. Binning by one side's words would create spurious differences by regression to
    the mean: texts that are long by chance on one side are shorter on the other (P. D. Oldham, J. Chronic Diseases 15,
    1962).

    Args:
        a: One side.
        b: The other side.
        prompts: Prompts from `find_prompts`, at least one.
        prompts_from: Origin of the prompts.
        group_by: `meta.FIELD` whose values define groups.

    Raises:
        BadInputError: a prompt lacks the `group_by` field.
    """
    ids = list(prompts) or [id_ for id_ in a.texts if id_ in b.texts]
    groups = _groups(prompts, group_by)
    ranges = [prompts[id_].length_range for id_ in ids if id_ in prompts]
    asked = len(ranges) == len(ids) and None not in ranges
    paired = []
    for id_ in ids:
        span = prompts[id_].length_range if asked else None
        words = sum(span) / 2 if span else fmean(map(_mean_words, (a.texts[id_], b.texts[id_])))
        bin_ = length_bin_name(words)
        paired.append(PairedPrompt(id_, prompts.get(id_), a.texts[id_], b.texts[id_], groups.get(id_), bin_))
    return Pairing(
        a.name,
        b.name,
        paired,
        len(a.texts.keys() - set(ids)),
        len(b.texts.keys() - set(ids)),
        prompts_from,
        "requested words" if asked else "mean words of both texts",
    )


def grade_rows(pairing: Pairing, judges: Sequence[str]) -> list[Grade]:
    """Return the grades of these judges as rows, with each side's name as the model."""
    return [
        Grade(prompt_id=prompt.id, model=name, sample=index, score=it.grades[judge], judge=judge)
        for judge in judges
        for prompt in pairing.prompts
        for name, texts in ((pairing.a, prompt.a), (pairing.b, prompt.b))
        for index, it in enumerate(texts)
        if judge in it.grades
    ]


def _mean_words(texts: Sequence[GradedText]) -> float:
    return fmean(count_words_of_any_script(it.text) for it in texts)


def _groups(prompts: Mapping[str, PromptRow], group_by: str | None) -> dict[str, str]:
    """Map prompt ids to the value of the `group_by` field; empty without one."""
    if group_by is None:
        return {}
    if not prompts:
        raise BadInputError(
            f"--group-by {group_by}: needs the prompts of the responses; pass their file with --prompts"
        )
    name = group_by.removeprefix("meta.")
    lacking = [id_ for id_, row in prompts.items() if row.meta.get(name) is None]
    if lacking:
        near = get_close_matches(name, sorted({known for row in prompts.values() for known in row.meta}), n=1)
        hint = f"; did you mean meta.{near[0]}?" if near and near[0] != name else ""
        raise BadInputError(f"prompt {lacking[0]}: meta.{name}: missing, but required by --group-by{hint}")
    return {id_: str(row.meta[name]) for id_, row in prompts.items()}
