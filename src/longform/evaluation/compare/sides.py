"""The two sides of a comparison: a run at a step, or a model in a responses file, with their texts.

A run records the requests of its validation prompts; a responses file has only ids. The request of an id must be the same on
both sides if both state it. Of responses with thoughts, only the answers are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import UNNAMED_JUDGE, Grade, Prompt, PromptRow, Response
from longform.text.structure import parse_response

_EXAMINER = "examiner"
"""Judge of a run whose recipe cannot be read."""

GradesOf = Mapping[tuple[str, str, int], Mapping[str, float]]
"""(prompt id, model, sample) -> judge -> score."""


@dataclass(frozen=True, slots=True)
class GradedText:
    """A text with its grades by judge."""

    text: str
    grades: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison."""

    name: str
    """Short name for tables."""
    spec: str
    """The argument that specified it."""
    source: tuple[Path, str]
    """File or folder, and the model or step in it; identifies the side."""
    texts: Mapping[str, Sequence[GradedText]]
    """Texts by prompt id; several samples in order."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """Request of each prompt; empty if unknown."""
    recipe: Recipe | None = None
    """Recipe of a run, if readable."""

    @property
    def judges(self) -> set[str]:
        """All judges that graded any of its texts."""
        return {judge for written in self.texts.values() for it in written for judge in it.grades}

    @property
    def reward_judges(self) -> tuple[str, ...]:
        """The judges that gave its training reward, as far as known."""
        judged = [] if self.recipe is None else self.recipe.judged
        return tuple(dict.fromkeys(name for reward in judged for name in reward.judges))


def read_sides(a: str, b: str, grades: Sequence[Path] = (), reading: Reading = AS_IS) -> tuple[Side, Side]:
    """Read both sides of a comparison.

    Args:
        a: `RUN`, `RUN@STEP`, `FILE` or `FILE@MODEL`.
        b: The same.
        grades: Grades files of the responses files.
        reading: How the files are read: renamed columns, and bad rows to skip.

    Raises:
        BadInputError: a source does not exist, a file has several models and none is named, a step has no validation, a
            grades file contains neither model, or both sides are the same.
    """
    given = _read_grades(grades, reading)
    one, other = _read_side(a, given, reading), _read_side(b, given, reading)
    if one.source == other.source:
        raise BadInputError(f"{a} and {b}: the same texts, so there is nothing to compare")
    for side in (one, other):
        if grades and side.source[0].is_file() and not side.judges:
            raise BadInputError(f"--grades: {', '.join(map(str, grades))}: no grades of {side.name!r} in {side.spec}")
    if grades and not (one.source[0].is_file() or other.source[0].is_file()):
        raise BadInputError("--grades: only valid with responses files; a run records its own grades")
    if one.name != other.name:
        return one, other
    return _renamed(one), _renamed(other)


def find_prompts(a: Side, b: Side, path: Path | None, reading: Reading = AS_IS) -> tuple[dict[str, PromptRow], str]:
    """Return the prompts that both sides answered, by id, in file order, and their origin as text.

    Without a file, they are the validation prompts of a run's recipe if these still match the recorded requests;
    prompts that are gone are represented by their request, without criteria and meta.

    Raises:
        BadInputError: there are none, one is missing in `path`, or an id has different requests.
    """
    common = [id_ for id_ in a.texts if id_ in b.texts]
    if not common:
        raise BadInputError(
            f"{a.spec} and {b.spec}: no prompt in common ({a.name!r} answers {next(iter(a.texts))!r}, "
            f"{b.name!r} {next(iter(b.texts))!r}, for example)"
        )
    _check_requests(a.requests, b.requests, common, f"{a.spec} and {b.spec}")
    requests = {**a.requests, **b.requests}
    if path is not None:
        rows: dict[str, PromptRow] = {row.id: row for row in read_rows(path, Prompt, reading)}
        lacking = [id_ for id_ in common if id_ not in rows]
        if lacking:
            raise BadInputError(f"{path}: no prompt {lacking[0]!r}, which both {a.name!r} and {b.name!r} answer")
        _check_requests({id_: row.request for id_, row in rows.items()}, requests, common, f"{path} and the run")
        wanted = set(common)
        return {id_: row for id_, row in rows.items() if id_ in wanted}, str(path)
    known, source = _recorded_prompts((a, b), requests)
    return {id_: known.get(id_) or Prompt(id=id_, prompt=requests[id_]) for id_ in common if id_ in requests}, source


def _check_requests(one: Mapping[str, str], other: Mapping[str, str], ids: Sequence[str], where: str) -> None:
    differing = [id_ for id_ in ids if id_ in one and id_ in other and one[id_] != other[id_]]
    if differing:
        more = f" ({len(differing)} prompts differ)" if len(differing) > 1 else ""
        raise BadInputError(f"{where}: prompt {differing[0]!r} has different requests{more}")


def _recorded_prompts(sides: Sequence[Side], requests: Mapping[str, str]) -> tuple[dict[str, PromptRow], str]:
    """Return complete prompts from the recipes' files if they match the recorded requests, and the name of that file."""
    for side in sides:
        validation = None if side.recipe is None else side.recipe.validation
        if validation is None:
            continue
        try:
            rows = {row.id: row for row in read_rows(validation.prompts, Prompt, Reading.of_recipe(validation.columns))}
        except BadInputError:
            continue  # the recorded requests suffice
        if matching := {id_: row for id_, row in rows.items() if requests.get(id_) == row.request}:
            return dict(matching), str(validation.prompts)
    return {}, "the run's records, without criteria and meta" if requests else "unknown (only ids)"


def _read_grades(paths: Sequence[Path], reading: Reading) -> GradesOf:
    grades: dict[tuple[str, str, int], dict[str, float]] = {}
    for row in read_all(paths, Grade, reading):
        grades.setdefault((row.prompt_id, row.model, row.sample), {})[row.judge or UNNAMED_JUDGE] = row.score
    return grades


def _read_side(spec: str, grades: GradesOf, reading: Reading) -> Side:
    path, part = _split(spec)
    return _read_run(spec, path, part) if path.is_dir() else _read_file(spec, path, part, grades, reading)


def _split(spec: str) -> tuple[Path, str | None]:
    """Split at the last valid `@`; names of files and models may contain `@`."""
    if Path(spec).exists():
        return Path(spec), None
    for position in reversed([i for i, character in enumerate(spec) if character == "@" and i]):
        if Path(spec[:position]).exists():
            return Path(spec[:position]), spec[position + 1 :]
    raise BadInputError(f"{spec}: no such run or responses file")


def _read_run(spec: str, path: Path, part: str | None) -> Side:
    with RunDirectory.read(path) as run:
        steps = [step for step, _ in run.database.metric("validation/no_grade")]
        if not steps:
            raise BadInputError(
                f"{path}: has no recorded validation, so there are no texts to compare; write some with "
                "`longform generate PROMPTS --writer CHECKPOINT/policy` and compare the files"
            )
        step = steps[-1] if part is None else int(part) if part.isdecimal() else None
        if step not in steps:
            named = ", ".join(map(str, steps))
            raise BadInputError(f"{spec}: step {part!r} has no validation; available: {named}")
        validated = run.database.validations(step)
        recipe = _read_recipe(run.recipe_path)
    judge = recipe.validation.judge if recipe is not None and recipe.validation is not None else _EXAMINER
    thinking = "off" if recipe is None else recipe.generation.think
    texts = {
        it.prompt_id: [
            GradedText(parse_response(it.text, thinking).answer, {} if it.grade is None else {judge: it.grade})
        ]
        for it in validated
    }
    requests = {it.prompt_id: it.prompt for it in validated}
    resolved = path.resolve()
    return Side(f"{resolved.name}@{step}", spec, (resolved, str(step)), texts, requests, recipe)


def _read_recipe(path: Path) -> Recipe | None:
    """Read the recipe; None if it is missing or unreadable, which does not prevent a comparison."""
    try:
        return load_recipe(path, Recipe)
    except BadInputError:
        return None


def _read_file(spec: str, path: Path, part: str | None, grades: GradesOf, reading: Reading) -> Side:
    rows = list(read_rows(path, Response, reading))
    models = list(dict.fromkeys(row.model for row in rows))
    if part is None and len(models) > 1:
        raise BadInputError(
            f"{path}: contains several models ({', '.join(models)}); choose one, as in {path}@{models[0]}"
        )
    model = models[0] if part is None else part
    if model not in models:
        near = get_close_matches(model, models, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"available: {', '.join(models)}"
        raise BadInputError(f"{spec}: has no responses of {model!r}; {hint}")
    texts: dict[str, list[GradedText]] = {}
    for row in sorted((row for row in rows if row.model == model), key=lambda row: row.sample):
        texts.setdefault(row.prompt_id, []).append(GradedText(row.text, grades.get(row.key, {})))
    order = dict.fromkeys(row.prompt_id for row in rows if row.model == model)
    return Side(model, spec, (path.resolve(), model), {id_: texts[id_] for id_ in order})


def _renamed(side: Side) -> Side:
    """Use a longer name, distinct from that of another side."""
    return replace(side, name=f"{_split(side.spec)[0]}@{side.source[1]}")
