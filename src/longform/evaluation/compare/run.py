"""Compare two runs, or two writers, on the same prompts: read, query judges, measure, and report the differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.endpoints.models import find_model, read_models
from longform.evaluation.compare.cross_judge import CrossJudge, cross_judge
from longform.evaluation.compare.examiners import Examiner, Examiners, find_reward_judges, tell_apart
from longform.evaluation.compare.judging import JudgeAnswers, ask_judges, grades_path, merge_grades
from longform.evaluation.compare.measures import (
    Contrast,
    Measure,
    Sampling,
    contrast,
    measure_grades,
    measure_texts,
    measure_wins,
)
from longform.evaluation.compare.pairing import PairedPrompt, Pairing, pair_sides
from longform.evaluation.compare.sides import Side, find_prompts, read_sides
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.paths import check_out
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.text.words import LENGTH_BINS


@dataclass(frozen=True, slots=True)
class Group:
    """The prompts with one value of a field, or of one length bin."""

    name: str
    prompts: int
    contrasts: Sequence[Contrast]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of B with A."""

    a: str
    b: str
    prompts: int
    only_a: int
    """Number of prompts that only A answered, which are left out."""
    only_b: int
    contrasts: Sequence[Contrast]
    """Grades, then wins, then text measures."""
    groups: Sequence[Group]
    bins: Sequence[Group]
    bins_of: str
    judges: CrossJudge | None
    """None if no judge was queried."""
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Gain:
    """A prompt with B's gain over A."""

    prompt: PairedPrompt
    a: float
    b: float

    @property
    def gain(self) -> float:
        """B minus A."""
        return self.b - self.a


@dataclass(frozen=True, slots=True)
class ComparedSides:
    """A comparison with its texts and measures."""

    sides: tuple[Side, Side]
    pairing: Pairing
    measures: Sequence[Measure]
    """Measures from `measure_all`; the first one ranks the prompts."""
    answers: Sequence[JudgeAnswers]
    comparison: Comparison
    notes: Mapping[str, str]
    """Notes for the reader: the sides, the origin of prompts and grades, and which judges are the same."""
    paid: Mapping[str, str]
    """Cost and paths of the judges' games and grades; empty without judges."""

    def extremes(self, count: int) -> list[Gain]:
        """Return the `count` prompts with the largest gains, then the `count` with the largest losses, by size."""
        ranked = rank_gains(self.pairing, self.measures[0])
        gains, losses = [it for it in ranked if it.gain > 0], [it for it in reversed(ranked) if it.gain < 0]
        return gains[:count] + losses[:count]


def compare(
    a: str,
    b: str,
    *,
    prompts: Path | None = None,
    grades: Sequence[Path] = (),
    judges: Sequence[str] = (),
    with_grades: bool = False,
    reward_judges: Sequence[str] = (),
    models: Path | None = None,
    out: Path | None = None,
    budget: float | None = None,
    group_by: str | None = None,
    sampling: Sampling | None = None,
    reserved: Mapping[str, Path] | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> ComparedSides:
    """Compare B with A on the prompts that both answered.

    Args:
        a: A run (`RUN`, `RUN@STEP`) or a responses file (`FILE`, `FILE@MODEL`), usually the baseline.
        b: A run or a responses file.
        prompts: Prompts of the responses files; needed for judges and `group_by`.
        grades: Grades files of the responses files.
        judges: Names in `models` that compare every pair of texts in both orders; without any, no call is made.
        with_grades: Also have the judges grade each text.
        reward_judges: Which of `judges` was B's training reward (default for a run: from its recipe).
        models: Path to models.yaml (default: the one of a run's recipe, else `models.yaml`).
        out: Output file for the judges' games, required with `judges`; a second call resumes.
        budget: Stop before the calls cost more than this.
        group_by: `meta.FIELD`: also compare within each of its values.
        sampling: Settings of intervals and tests.
        reserved: Flag -> file that the caller will write, which must differ from the inputs.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: arguments conflict, a side is unreadable, the sides have no prompt in common, a judge is unknown, or a
            file would be overwritten.
        StoppedError: the budget is exhausted, or a judge gave no verdict.
    """
    _check_arguments(judges, out=out, with_grades=with_grades, budget=budget, reward_judges=reward_judges)
    sampling = sampling or Sampling()
    one, other = read_sides(a, b, grades, reading)
    models = models or _default_models((one, other))
    asked = _examiners(judges, models)
    one, other, lines = tell_apart(one, other, asked)
    read = [one.source[0], other.source[0], *grades, *([] if prompts is None else [prompts])]
    for flag, path in {"--out": out, **(reserved or {})}.items():
        if path is not None:
            check_out(path, *read, flag=flag)
    pairing = pair_sides(one, other, *find_prompts(one, other, prompts, reading), group_by=group_by)
    answers, paid = [], {}
    if out is not None:
        if with_grades:
            check_out(grades_path(out), *read, flag="--grade")
        if any(it.prompt is None for it in pairing.prompts):
            raise BadInputError("--judge: needs the prompts of the responses; pass their file with --prompts")
        answers, paid = ask_judges(
            pairing, judges, models, out, with_grades=with_grades, budget=budget, progress=progress
        )
        pairing = pairing.with_grades(merge_grades(answers))
    with progress("measuring texts") as advance:
        measures = measure_all(pairing, answers, on_progress=advance)
    comparison = compare_pairing(
        pairing,
        measures,
        answers,
        sampling=sampling,
        reward_judges=reward_judges or find_reward_judges(other, asked),
    )
    notes = _notes((one, other), pairing, comparison) | ({"judges": "; ".join(lines)} if lines else {})
    return ComparedSides((one, other), pairing, measures, answers, comparison, notes, paid)


def measure_all(
    pairing: Pairing, answers: Sequence[JudgeAnswers] = (), *, on_progress: Progress = lambda done, total: None
) -> list[Measure]:
    """Return all measures of both sides: grades, wins, then text measures."""
    wins = [it for one in answers if (it := measure_wins(one.games, one.judge)) is not None]
    return [*measure_grades(pairing), *wins, *measure_texts(pairing, on_progress=on_progress)]


def compare_pairing(
    pairing: Pairing,
    measures: Sequence[Measure],
    answers: Sequence[JudgeAnswers] = (),
    *,
    sampling: Sampling,
    reward_judges: Sequence[str] = (),
) -> Comparison:
    """Compare B with A in every measure, over all prompts and by group and length bin.

    Args:
        pairing: The paired texts.
        measures: Measures from `measure_all`.
        answers: Answers of the queried judges.
        sampling: Settings of intervals and tests.
        reward_judges: Judges that gave B's reward in training.
    """
    grades = [it for it in measures if it.kind == "grade"]
    groups = sorted({it.group for it in pairing.prompts if it.group is not None})
    return Comparison(
        pairing.a,
        pairing.b,
        len(pairing.prompts),
        pairing.only_a,
        pairing.only_b,
        _contrasts(measures, sampling),
        [_group(name, (it for it in pairing.prompts if it.group == name), measures, sampling) for name in groups],
        [
            group
            for name in LENGTH_BINS
            if (group := _group(name, (it for it in pairing.prompts if it.bin == name), measures, sampling)).prompts
        ],
        pairing.bins_of,
        cross_judge(answers, grades, sampling, reward_judges=reward_judges) if answers else None,
        sampling,
    )


def rank_gains(pairing: Pairing, measure: Measure) -> list[Gain]:
    """Sort the prompts with a value of the measure by B's gain, largest first, then by id."""
    gains = [Gain(it, *measure.values[it.id]) for it in pairing.prompts if it.id in measure.values]
    return sorted(gains, key=lambda it: (-it.gain, it.prompt.id))


def _contrasts(measures: Sequence[Measure], sampling: Sampling, prompts: set[str] | None = None) -> list[Contrast]:
    return [it for measure in measures if (it := contrast(measure, sampling, prompts=prompts)) is not None]


def _group(name: str, prompts: Iterable[PairedPrompt], measures: Sequence[Measure], sampling: Sampling) -> Group:
    ids = {it.id for it in prompts}
    return Group(name, len(ids), _contrasts(measures, sampling, ids))


def _check_arguments(
    judges: Sequence[str],
    *,
    out: Path | None,
    with_grades: bool,
    budget: float | None,
    reward_judges: Sequence[str],
) -> None:
    if not judges:
        given = {"--out": out, "--grade": with_grades, "--budget": budget, "--reward-judge": reward_judges}
        for flag, value in given.items():
            if value:
                raise BadInputError(f"{flag}: only valid with --judge")
        return
    if out is None:
        raise BadInputError("--out: required with --judge; the file for the judges' games")
    twice = next((name for name in judges if judges.count(name) > 1), None)
    if twice is not None:
        raise BadInputError(f"--judge {twice}: listed twice")
    for name in reward_judges:
        if name not in judges:
            raise BadInputError(f"--reward-judge {name}: not one of the judges; add it to --judge")


def _default_models(sides: Sequence[Side]) -> Path:
    """Return models.yaml of B's recipe, else of A's, else the default path."""
    recipes = [side.recipe for side in reversed(sides) if side.recipe is not None]
    return recipes[0].models if recipes else Path("models.yaml")


def _examiners(judges: Sequence[str], models: Path) -> Examiners:
    """Return the models behind the judges' names."""
    specs = read_models(models) if judges else {}
    return {name: Examiner.of(find_model(specs, name, path=models)) for name in judges}


def _notes(sides: Sequence[Side], pairing: Pairing, compared: Comparison) -> dict[str, str]:
    """Return the notes shown with the tables."""
    a, b = sides
    notes = {
        "a": a.spec if a.spec == a.name else f"{a.name}, of {a.spec}",
        "b": b.spec if b.spec == b.name else f"{b.name}, of {b.spec}",
        "prompts": f"{compared.prompts} answered by both; {compared.only_a} only by a and {compared.only_b} only by b",
        "asked": f"as in {pairing.prompts_from}" if pairing.prompts[0].prompt else pairing.prompts_from,
    }
    if (a.judges or b.judges) and not a.judges & b.judges:
        graded = [f"{it.name} by {', '.join(sorted(it.judges)) or 'nobody'}" for it in sides]
        notes["grades"] = f"recorded, {' and '.join(graded)}; only grades by the same judge are compared"
    return notes
