"""The study file: arms, seeds, examinations, and hypotheses."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from math import gcd
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from longform.recipe.loading import first_error, known_fields, missing_beside
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.resume import flatten
from longform.records.yaml_files import read_yaml
from longform.text.final_answers import AnswerForm

WORLD = "world"
"""Name of the miniature world's folder in references."""
_NAME = re.compile(r"\w[\w-]*")
_EVERY = re.compile(r"every (\d+)")
_OF_THE_STUDY = {
    "run.seed": "`seeds` of the study",
    "run.name": "the study",
    "run.folder": "the study's folder",
    "models": "`models` of the study",
}
"""Keys of a recipe that the study sets, and by what."""
At = Annotated[int, Field(strict=True)] | str


def _one_or_more(*types: str) -> WithJsonSchema:
    """The JSON Schema of a value, or of a list of such values."""
    one = {"type": list(types)}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one}]})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SftStep(_Part):
    """Supervised fine-tuning; `$NAME` is the folder of the model."""

    sft: str
    """A recipe of `longform sft`: a file, or one of `longform recipe list`."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Values of the recipe's keys."""


class PoolStep(_Part):
    """Prompts from published data, as `longform pool` collects them. Its files are `$NAME/prompts.jsonl`,
    `$NAME/held-out.jsonl` and, from sources with answers, `$NAME/responses.jsonl`.
    """

    pool: list[str] = Field(min_length=1)
    """Files, folders, or ids of datasets on the hub."""
    decontaminate: list[str] = Field(default_factory=list)
    """Sources of benchmark prompts; prompts that overlap with them are left out."""
    languages: list[str] = Field(default_factory=list)
    """Keep prompts in these languages, such as en; none: all."""
    limit: int | None = Field(default=None, ge=1)
    """Size of a random sample, held-out prompts included."""
    held_out: int = Field(default=0, ge=0)
    """Number of prompts to set aside, drawn at random."""
    seed: int = 0
    """Random seed of the sample and of the held-out prompts."""


class CriteriaStep(_Part):
    """Criteria for each prompt, as `longform criteria` has a judge write them; `$NAME` is the prompts file with criteria."""

    criteria: str
    """A prompts file."""
    judge: str
    """A name in models.yaml."""
    count: int = Field(default=5, ge=1)
    """Criteria for each prompt, without hard constraints."""


class GenerateStep(_Part):
    """Responses to prompts; `$NAME` is the folder with a file for each writer."""

    generate: str
    """A prompts file."""
    writers: list[str] = Field(min_length=1)
    """Names in models.yaml, and models of other steps such as `$start`, whose responses have the model name `start`."""
    responses: list[str] = Field(default_factory=list)
    """Files of further responses to these prompts, such as `$prompts/responses.jsonl`."""
    samples: int = Field(default=1, ge=1)
    """Responses of each writer to each prompt."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum response length in tokens."""
    temperature: float | None = Field(default=None, ge=0)
    """Sampling temperature."""


class GradeStep(_Part):
    """Grades of responses; `$NAME` is the grades file."""

    grade: str
    """A step that generates, such as `$candidates`."""
    prompts: str
    """Their prompts file."""
    judge: str
    """A name in models.yaml."""
    per_criterion: bool = False
    """Ask about each of a prompt's criteria in a call of its own."""


class SelectStep(_Part):
    """Ladders from responses and grades; `$NAME` is the ladders file."""

    select: str
    """A step that generates."""
    grades: str
    """A step that grades."""
    prompts: str
    """Their prompts file."""
    policy: str
    """The policy's name in the responses."""
    strategy: str = "margin"
    """As in `longform select`."""
    top_k: int | None = Field(default=None, ge=1)
    """Prompts to keep."""
    floor: str | None = None
    """A score, or a percentile such as p20."""
    group_by: str | None = None
    """`meta.FIELD`."""


Step = PoolStep | CriteriaStep | SftStep | GenerateStep | GradeStep | SelectStep
_STEPS: dict[str, type[Step]] = {
    "pool": PoolStep,
    "criteria": CriteriaStep,
    "sft": SftStep,
    "generate": GenerateStep,
    "grade": GradeStep,
    "select": SelectStep,
}


class StudyExamination(_Part):
    """One measurement of policies, defined by exactly one of `grade`, `compare`, `elo`, `answer`, `bench` and `metric`."""

    name: str | None = None
    """Name of its column (default: from the measurement and the judge)."""
    at: Annotated[list[At], _one_or_more("integer", "string")] = Field(default_factory=lambda: ["last"])
    """Training steps: numbers, `every N`, `last`; 0 is the policy before training."""
    grade: bool = False
    """The judge's mean grade of the responses to `prompts`."""
    compare: str | None = None
    """The win rate against `start` (the arm's policy before training), another arm's last policy, or a model of models.yaml;
    in both orders, ties half."""
    elo: dict[str, FiniteFloat] | None = Field(default=None, min_length=1)
    """The rating from games against models of models.yaml whose ratings are fixed here."""
    answer: AnswerForm | None = None
    """The fraction of the responses whose final answer is the prompt's `meta.answer`, in this form of the reward `kind:
    answer`; needs no judge."""
    bench: str | None = None
    """The overall score in a benchmark."""
    data: Path | None = None
    """The benchmark's data."""
    metric: str | None = None
    """A metric that the run recorded, such as `validation/grade`; no calls are made."""
    prompts: str | None = None
    """A file of held-out prompts."""
    samples: int = Field(default=1, ge=1)
    """Responses to each prompt."""
    judge: Annotated[list[str], _one_or_more("string")] = Field(default_factory=list)
    """Names in models.yaml; each gives a column of its own."""
    limit: int | None = Field(default=None, ge=1)
    """Use only this many prompts, the first ones."""
    where: dict[str, Any] = Field(default_factory=dict)
    """Average only over the prompts with these values, such as {meta.kind: essay}. Columns that differ only in `where` share
    responses and verdicts."""

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: dict[str, Any]) -> dict[str, Any]:
        wrong = next((it for it in where if not it.startswith("meta.")), None)
        if wrong is not None:
            raise ValueError(f"{wrong}: must be meta.FIELD, a key of the prompts' `meta`")
        return where

    @field_validator("at", "judge", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @field_validator("judge")
    @classmethod
    def _check_judges(cls, judges: list[str]) -> list[str]:
        twice = next((it for it in judges if judges.count(it) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is listed twice")
        return judges

    @field_validator("at")
    @classmethod
    def _check_at(cls, at: list[At]) -> list[At]:
        if not at:
            raise ValueError("names no step; leave `at` out for the last one")
        for it in at:
            every = isinstance(it, str) and (match := _EVERY.fullmatch(it)) is not None and int(match[1]) > 0
            if not (every or it == "last" or (isinstance(it, int) and it >= 0)):
                raise ValueError(f"{it!r} is not a step: use numbers, `every N` or `last`")
        return at

    @model_validator(mode="after")
    def _check_kind(self) -> "StudyExamination":
        kinds = [
            name
            for name, value in {
                "grade": self.grade or None,
                "compare": self.compare,
                "elo": self.elo,
                "answer": self.answer,
                "bench": self.bench,
                "metric": self.metric,
            }.items()
            if value is not None
        ]
        if len(kinds) != 1:
            raise ValueError("needs exactly one of `grade`, `compare`, `elo`, `answer`, `bench` and `metric`")
        (kind,) = kinds
        if kind == "answer" and (self.judge or self.prompts is None):
            raise ValueError("answer: needs `prompts`, and no `judge`")
        if self.where and kind not in ("grade", "compare", "answer"):
            raise ValueError("where: only valid with grade, compare and answer, which have a value for each prompt")
        if kind in ("grade", "compare", "elo") and (not self.judge or self.prompts is None):
            raise ValueError(f"{kind}: needs `judge` and `prompts`")
        if kind in ("compare", "elo") and self.samples > 1:
            raise ValueError(f"{kind}: uses one response to each prompt; leave out `samples`")
        if kind == "bench" and self.data is None:
            raise ValueError("bench: needs `data`, the folder of `longform bench fetch`")
        if self.name is not None and len(self.judge) > 1:
            raise ValueError("name: only valid with one judge, since each judge gives a column of its own")
        return self

    @property
    def columns(self) -> dict[str, str | None]:
        """Name of each column, and its judge."""
        what = (
            self.bench
            or self.metric
            or ("answer" if self.answer else None)
            or ("grade" if self.grade else f"against {self.compare}" if self.compare else "Elo")
        )
        if not self.judge:
            return {self.name or what: None}
        return {self.name or f"{what}, {judge}": judge for judge in self.judge}

    @property
    def interval(self) -> int:
        """The largest interval of steps that hits all steps in `at` but the first and the last; 0 if it names no others."""
        every = [int(match[1]) for it in self.at if isinstance(it, str) and (match := _EVERY.fullmatch(it))]
        return gcd(*every, *(it for it in self.at if isinstance(it, int)))

    def steps(self, last: int) -> list[int]:
        """The steps of a run of `last` steps at which it is due, ascending."""
        due: set[int] = set()
        for it in self.at:
            if isinstance(it, int):
                due |= {it} if it <= last else set()
            elif it == "last":
                due.add(last)
            elif (match := _EVERY.fullmatch(it)) is not None:
                due |= set(range(int(match[1]), last + 1, int(match[1])))
        return sorted(due)


class Hypothesis(_Part):
    """An expected difference between two arms, fixed before anything is run."""

    claim: str
    """The claim in words, with its source."""
    larger: str
    """The arm that is expected to have the larger value."""
    smaller: str
    """The arm that it is compared with."""
    column: str
    """The column of the values."""
    beyond: str | None = None
    """Another column: the difference is expected to be larger in `column` than in this one (an interaction)."""
    difference: float | None = Field(default=None, gt=0)
    """The smallest difference that would matter, for which the power is reported."""
    laboratory: str | None = None
    """The result of a power analysis beforehand, as a note."""

    @model_validator(mode="after")
    def _check_sides(self) -> "Hypothesis":
        if self.larger == self.smaller:
            raise ValueError(f"compares {self.larger!r} with itself; name two arms")
        if self.beyond == self.column:
            raise ValueError(f"beyond: is {self.column!r} itself; name another column")
        return self


class StudyTable(_Part):
    """A table of all arms."""

    columns: list[str] = Field(default_factory=list)
    """Names of the columns; empty: all."""
    paired_with: str | None = None
    """Also show the paired difference of every arm from this one."""


class StudyCurve(_Part):
    """A column over the training steps, with a line for each arm."""

    y: str
    """Name of the column."""


class Study(_Part):
    """Arms x seeds x examinations."""

    study: str = Field(pattern=r"^\w[\w.-]*$")
    """Name."""
    source: str = ""
    """The table or figure that it reproduces, as a note."""
    base: str | None = None
    """The recipe of all arms: a file, or one of `longform recipe list`."""
    models: str = "models.yaml"
    """File that defines writers, judges and examiners."""
    seeds: list[Annotated[int, Field(strict=True, ge=0)]] = Field(min_length=1)
    """Each arm is trained once with each seed."""
    budget: float | None = Field(default=None, gt=0)
    """Stop before the calls of the whole study cost more than this, in the currency of models.yaml; may be raised later."""
    world: dict[str, Any] | None = None
    """Settings of the miniature world, whose folder is `$world`; each seed has its own."""
    prepare: dict[str, Step] = Field(default_factory=dict)
    """Steps before training, by name. Arms share a step that has the same settings and inputs for them."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Overrides of the base recipe for all arms; `$NAME` is the output of a step."""
    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    """Overrides by arm, such as {curriculum.mode: staged}, or {ladders.strategy: random} for a step called `ladders`.
    `recipe: FILE` uses another recipe. `sft: FILE` fine-tunes instead. `model: NAME` is not trained: a folder, a step's
    model, or a name in models.yaml."""
    examine: list[StudyExamination] = Field(min_length=1)
    """The measurements."""
    tables: list[StudyTable] = Field(default_factory=lambda: [StudyTable()])
    curves: list[StudyCurve] = Field(default_factory=list)
    hypotheses: list[Hypothesis] = Field(default_factory=list)

    @field_validator("prepare", mode="before")
    @classmethod
    def _read_steps(cls, value: Any) -> Any:
        """Validate each step as the kind that its keys name, so that an error names the key."""
        if not isinstance(value, Mapping):
            return value
        return {name: _read_step(str(name), step) for name, step in value.items()}

    @model_validator(mode="after")
    def _check_names(self) -> "Study":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed is listed twice")
        sections = set(Recipe.model_fields)
        for kind, names in {"prepare": self.prepare, "arms": self.arms}.items():
            for name in names:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"{kind}.{name}: names consist of letters, digits, _ and -")
        for name in self.prepare:
            if name in sections or name in (WORLD, "recipe", "sft", "model", "set"):
                raise ValueError(f"prepare.{name}: is a key of recipes; choose another name for this step")
        for place, values in {"train": self.train, **{f"arms.{arm}": it for arm, it in self.arms.items()}}.items():
            for key in flatten(values):
                if key in _OF_THE_STUDY:
                    raise ValueError(f"{place}: {key}: is set by {_OF_THE_STUDY[key]}; leave it out")
        columns = [name for it in self.examine for name in it.columns]
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"examine: two columns are called {twice!r}; give one another `name`")
        self._check_references(set(columns))
        return self

    def _check_references(self, columns: set[str]) -> None:
        """Check that tables, curves, hypotheses and comparisons name arms and columns that exist."""
        wanted = [("curves", it.y) for it in self.curves] + [("hypotheses", it.column) for it in self.hypotheses]
        wanted += [("hypotheses", it.beyond) for it in self.hypotheses if it.beyond is not None]
        wanted += [("tables", name) for table in self.tables for name in table.columns]
        for place, name in wanted:
            if name not in columns:
                raise ValueError(f"{place}: no column {name!r}; columns: {', '.join(sorted(columns))}")
        arms = [("hypotheses", name) for it in self.hypotheses for name in (it.larger, it.smaller)]
        arms += [("tables", it.paired_with) for it in self.tables if it.paired_with is not None]
        for place, name in arms:
            if name not in self.arms:
                raise ValueError(f"{place}: no arm {name!r}; arms: {', '.join(self.arms)}")

    @property
    def columns(self) -> dict[str, tuple[StudyExamination, str | None]]:
        """Every column's examination and judge, by its name."""
        return {name: (it, judge) for it in self.examine for name, judge in it.columns.items()}


def is_study(path: Path) -> bool:
    """Whether a YAML file is a study rather than a recipe.

    Raises:
        BadInputError: it cannot be read.
    """
    content = read_yaml(path)
    return isinstance(content, dict) and "study" in content


def load_study(path: Path) -> Study:
    """Read a study file.

    Raises:
        BadInputError: one line naming file and field.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or "study" not in content:
        raise BadInputError(f"{path}: not a study: expected a YAML mapping with the key `study`")
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise BadInputError(f"{path}: {describe_invalid(error, Study)}") from None


def describe_invalid(error: ValidationError, schema: type[BaseModel], *, place: str = "") -> str:
    """`KEY: problem` for the first error of pydantic about a `schema`; the key's name begins with `place`."""
    first = first_error(error)
    key = ".".join([*([place] if place else []), *map(str, first["loc"])])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        *section, unknown = first["loc"]
        known = missing_beside(error, first) or known_fields(schema, section)
        near = get_close_matches(str(unknown), known, n=1)
        message = f"unknown key; did you mean {near[0]!r}?" if near else "unknown key"
    return f"{key}: {message}" if key else message


def _read_step(name: str, step: Any) -> Step:
    kinds = [kind for kind in _STEPS if isinstance(step, Mapping) and kind in step]
    if len(kinds) != 1:
        raise ValueError(f"{name}: needs exactly one of {', '.join(_STEPS)}")
    try:
        return _STEPS[kinds[0]].model_validate(step)
    except ValidationError as error:
        raise ValueError(describe_invalid(error, _STEPS[kinds[0]], place=name)) from None
