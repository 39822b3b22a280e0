"""Two sides put together prompt by prompt, with the group and the length bin of each prompt.

Prompts are what is drawn and tested, so several samples of a side are one value of their prompt: their mean. For a judge
they are paired in their order, as many as both sides have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from statistics import fmean

from longform.evaluation.compare.sides import GradedText, Side
from longform.records.errors import BadInputError
from longform.records.schemas import Grade, PromptRow
from longform.text.words import count_words, length_bin_name


@dataclass(frozen=True, slots=True)
class PairedPrompt:
    """A prompt and what both sides wrote for it."""

    id: str
    prompt: PromptRow | None
    """None where only its id is known."""
    a: Sequence[GradedText]
    b: Sequence[GradedText]
    group: str | None
    bin: str

    @property
    def pairs(self) -> list[tuple[GradedText, GradedText]]:
        """The texts that are held against each other."""
        return list(zip(self.a, self.b, strict=False))

    def means(self, value: Callable[[GradedText], float | None]) -> tuple[float, float] | None:
        """The mean of a value over the texts of each side that have it; None where a side has none."""
        sides = [[found for it in side if (found := value(it)) is not None] for side in (self.a, self.b)]
        return (fmean(sides[0]), fmean(sides[1])) if all(sides) else None


@dataclass(frozen=True, slots=True)
class Pairing:
    """Everything that is compared."""

    a: str
    """Name of a side."""
    b: str
    prompts: Sequence[PairedPrompt]
    only_a: int
    """Prompts that only this side answered, and that are left out."""
    only_b: int
    prompts_from: str
    """Where requests, criteria and meta come from, in words."""
    bins_of: str
    """Which words the length bins count."""

    def with_grades(self, grades: Mapping[tuple[str, str, int], Mapping[str, float]]) -> "Pairing":
        """The same with more grades.

        Args:
            grades: by prompt id, side ("a" or "b") and place among the side's samples; then by judge.
        """

        def graded(id_: str, side: str, texts: Sequence[GradedText]) -> list[GradedText]:
            return [
                replace(it, grades={**it.grades, **grades.get((id_, side, place), {})})
                for place, it in enumerate(texts)
            ]

        prompts = [replace(it, a=graded(it.id, "a", it.a), b=graded(it.id, "b", it.b)) for it in self.prompts]
        return replace(self, prompts=prompts)


def pair_sides(
    a: Side, b: Side, prompts: Mapping[str, PromptRow], prompts_from: str = "", *, group_by: str | None = None
) -> Pairing:
    """Both sides on the prompts that both answered.

    A prompt falls into the length bin of the words it asks for, the middle of its `length_range`, where all prompts have
    one; else into that of the mean of both sides' words. A bin of one side's words would find a difference where there is
    none: what is long by chance there is shorter on the other side (P. D. Oldham, J. Chronic Diseases 15, 1962).

    Args:
        a: a side.
        b: the other.
        prompts: as `find_prompts` gives them, with at least one prompt in common.
        prompts_from: where they come from.
        group_by: `meta.FIELD`, whose values are groups.

    Raises:
        BadInputError: a prompt lacks the field of `group_by`.
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
        "words asked for" if asked else "mean words of both texts",
    )


def grade_rows(pairing: Pairing, judges: Sequence[str]) -> list[Grade]:
    """The grades of these judges as rows, each side under its name as a model."""
    return [
        Grade(prompt_id=prompt.id, model=name, sample=place, score=it.grades[judge], judge=judge)
        for judge in judges
        for prompt in pairing.prompts
        for name, texts in ((pairing.a, prompt.a), (pairing.b, prompt.b))
        for place, it in enumerate(texts)
        if judge in it.grades
    ]


def _mean_words(texts: Sequence[GradedText]) -> float:
    return fmean(count_words(it.text) for it in texts)


def _groups(prompts: Mapping[str, PromptRow], group_by: str | None) -> dict[str, str]:
    """Prompt id -> the value of the field of `group_by`; nothing where no field is named."""
    if group_by is None:
        return {}
    if not prompts:
        raise BadInputError(
            f"--group-by {group_by}: needs the prompts of the responses; name their file with --prompts"
        )
    name = group_by.removeprefix("meta.")
    lacking = [id_ for id_, row in prompts.items() if row.meta.get(name) is None]
    if lacking:
        near = get_close_matches(name, sorted({known for row in prompts.values() for known in row.meta}), n=1)
        hint = f"; did you mean meta.{near[0]}?" if near and near[0] != name else ""
        raise BadInputError(f"prompt {lacking[0]}: meta.{name}: is missing, and --group-by asks for it{hint}")
    return {id_: str(row.meta[name]) for id_, row in prompts.items()}
