"""The plan of a study: every task, named by a hash of all that its result depends on.

Tasks with equal settings and inputs are one task, so arms share what they have in common, and a changed study file makes
only what is new. References such as `$ladders` are replaced twice: by the hash of the task behind them where its own hash
is computed, and by the path where it is run, so a study can be moved to another folder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from longform.planning.cluster import checkpoint_folder
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.resume import flatten, hash_file, hash_json, hash_model_folder
from longform.selection.settings import Floor, SelectionSettings
from longform.studies.examine import BenchExam, CompareExam, EloExam, ExamWork, GradeExam
from longform.studies.settings import (
    WORLD,
    Examination,
    GenerateStep,
    GradeStep,
    SelectStep,
    SftStep,
    Step,
    Study,
)
from longform.studies.work import GradeWork, SelectWork, SftWork, TrainWork, Work, WorldWork, Writer, WriteWork
from longform.writers.paths import is_model_folder
from longform.writers.settings import GenerationSettings

_StepT = TypeVar("_StepT", bound=BaseModel)
_FIXED = ("recipe", "sft", "model")
"""Keys of an arm that are no overrides."""
BEFORE = "start"
"""`compare: start`."""


@dataclass(frozen=True, slots=True)
class StudyTask:
    """One piece of work, which is done once."""

    key: str
    """Hash of all that its result depends on."""
    title: str
    folder: Path
    work: Work | ExamWork
    needs: tuple[str, ...]
    """Keys of the tasks that come before."""


class Made(NamedTuple):
    """What a reference or a path stands for."""

    key: str
    """Hash of all that its content depends on."""
    path: Path
    needs: tuple[str, ...] = ()
    """Keys of the tasks that make it; none for a file that was there before."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that can be examined."""

    key: str
    """Hash of all that its weights depend on."""
    needs: tuple[str, ...]
    writer: Writer


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm with one seed."""

    arm: str
    seed: int
    policies: Mapping[int, Policy]
    """By step; an arm that is not trained has its only policy at step 0 as well as at its last, which is 0."""
    last: int
    recipe: Recipe | None
    """Of an arm that is trained by reinforcement learning."""
    key: str | None
    """Of its training."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A column's value of one arm, seed and step: in the folder of a task, or a metric of a run."""

    column: str
    arm: str
    seed: int
    step: int
    is_last: bool
    task: str
    """Key of the task that measures it, or that trains."""
    metric: str | None = None


@dataclass(slots=True)
class StudyPlan:
    """All tasks, each after those that it needs, and what is measured."""

    study: Study
    folder: Path
    tasks: dict[str, StudyTask] = field(default_factory=dict)
    runs: list[ArmRun] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)


def plan_study(study: Study, folder: Path, *, source: Path) -> StudyPlan:
    """Plan a study; nothing is made.

    Args:
        study: The study.
        folder: Where everything goes.
        source: The study file, beside which its recipes are looked for.

    Raises:
        BadInputError: a recipe, an override or a reference cannot be used; the message names the arm and the key.
    """
    planner = _Planner(study, folder, source)
    for seed in study.seeds:
        for arm in study.arms:
            planner.add_arm(arm, seed)
    for column, (examination, judge) in study.columns.items():
        for run in planner.plan.runs:
            planner.add_examination(column, examination, judge, run)
    return planner.plan


def find_recipe_path(name: str, *, source: Path) -> Path:
    """The file of a recipe: beside the study, in the current folder, or one that comes with longform.

    Raises:
        BadInputError: there is none.
    """
    stem = name.removesuffix(".yaml")
    package, _, rest = stem.partition("/")
    shipped = files("longform.miniature") / "recipes" / f"{rest}.yaml" if package == "miniature" else None
    for path in (source.parent / name, Path(name), files("longform") / "recipes" / f"{stem}.yaml", shipped):
        if path is not None and path.is_file():
            return Path(str(path))
    raise BadInputError(f"{source}: no recipe {name!r}: neither a file nor one of `longform recipe list`")


class _Planner:
    def __init__(self, study: Study, folder: Path, source: Path) -> None:
        self._study, self._source = study, source
        self.plan = StudyPlan(study, folder)

    def add_arm(self, arm: str, seed: int) -> None:
        """Plan the training of an arm."""
        settings = self._study.arms[arm]
        try:
            if "model" in settings:
                run = self._untrained(arm, seed)
            elif "sft" in settings:
                run = self._fine_tuned(arm, seed)
            else:
                run = self._trained(arm, seed)
        except BadInputError as error:
            raise BadInputError(f"{self._source}: arms.{arm}: {error}") from None
        self.plan.runs.append(run)

    def add_examination(self, column: str, examination: Examination, judge: str | None, run: ArmRun) -> None:
        """Plan the measurements of one column for one arm and seed."""
        try:
            for step in examination.steps(run.last):
                if examination.metric is not None:
                    key = run.key if run.recipe is not None else None
                else:
                    key = self._examine(column, examination, judge, run, run.policies[step])
                if key is not None:
                    is_last = step == run.last
                    self.plan.measurements.append(
                        Measurement(column, run.arm, run.seed, step, is_last, key, examination.metric)
                    )
        except BadInputError as error:
            raise BadInputError(f"{self._source}: examine: {column}: {error}") from None

    # Arms

    def _untrained(self, arm: str, seed: int) -> ArmRun:
        settings = self._study.arms[arm]
        self._check_keys(settings, allowed=("model",))
        if not isinstance(settings["model"], str):
            raise BadInputError("model: must be a name of models.yaml, a folder, or a step such as $start")
        return ArmRun(arm, seed, {0: self._policy(settings["model"], arm, seed)}, 0, None, None)

    def _fine_tuned(self, arm: str, seed: int) -> ArmRun:
        settings = self._study.arms[arm]
        self._check_keys(settings, allowed=("sft", "set"))
        made = self._sft(arm, arm, _validated(SftStep, settings, place="sft"), seed)
        policy = Policy(made.key, made.needs, self._local_writer(str(made.path), arm, self._writing_recipe(arm)))
        return ArmRun(arm, seed, {0: policy}, 0, None, made.key)

    def _trained(self, arm: str, seed: int) -> ArmRun:
        values = self._recipe_values(arm)
        made = {name: self._reference(name, arm, seed) for name in _references(values)}
        keep = self._kept_steps()

        def load(paths: Mapping[str, str], more: Mapping[str, Any]) -> Recipe:
            return self._load_recipe(arm, {**_replaced(values, paths), "run.seed": seed, **more})

        plain = load({name: f"made:{it.key}" for name, it in made.items()}, {})
        content = plain.model_dump(mode="json", exclude={"models": True, "run": {"name", "folder"}})
        key = hash_json({"train": content, "keep": keep, "files": _external(plain)})
        models = self._models(arm, seed)
        placed = {"run.name": f"{arm}-seed{seed}-{key[:8]}", "run.folder": str(self.plan.folder / "runs")}
        placed |= {"models": str(models.path)}
        if keep is not None and plain.run.keep_policies is None:
            placed |= {"run.keep_policies": keep}
        recipe = load({name: str(it.path) for name, it in made.items()}, placed)
        needs = _needs(*made.values(), models)
        self._add(key, f"{arm}, seed {seed}: training", recipe.run_path, TrainWork(recipe), needs)
        policies = {0: self._policy(str(values.get("policy", plain.policy)), arm, seed, is_recipes=True)}
        last = recipe.run.steps
        for step in range(1, last + 1):
            kept = recipe.run.keep_policies is not None and step % recipe.run.keep_policies == 0
            if kept or step == last:
                writer = self._local_writer(str(_policy_path(recipe, step)), arm, recipe)
                policies[step] = Policy(hash_json([key, step]), (key,), writer)
        return ArmRun(arm, seed, policies, last, recipe, key)

    def _recipe_values(self, arm: str) -> dict[str, Any]:
        """The overrides of an arm's recipe; its other keys change steps."""
        own = {name: value for name, value in self._study.arms[arm].items() if not self._is_fixed(name)}
        return {**self._study.train, **own}

    def _is_fixed(self, name: str) -> bool:
        return name in _FIXED or name.partition(".")[0] in self._study.prepare

    def _load_recipe(self, arm: str, values: Mapping[str, Any]) -> Recipe:
        name = self._study.arms[arm].get("recipe", self._study.base)
        if not isinstance(name, str):
            raise BadInputError("needs `base` in the study, or a `recipe` of its own")
        path = find_recipe_path(name, source=self._source)
        return load_recipe(path, Recipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])

    def _writing_recipe(self, arm: str) -> Recipe:
        """The recipe that says how policies of an arm write; what steps make is left open in it."""
        if "model" in self._study.arms[arm] or "sft" in self._study.arms[arm]:
            return self._load_recipe(arm, self._study.train)
        return self._load_recipe(arm, self._recipe_values(arm))

    def _check_keys(self, settings: Mapping[str, Any], *, allowed: tuple[str, ...]) -> None:
        for name in settings:
            if name not in allowed and name.partition(".")[0] not in self._study.prepare:
                raise BadInputError(f"{name}: only valid for an arm that a recipe of `longform train` trains")

    def _kept_steps(self) -> int | None:
        """The steps between the policies that examinations need; None if they need only the first and the last."""
        steps = [it.between for it in self._study.examine if it.metric is None and it.between]
        return gcd(*steps) if steps else None

    # Policies and what they write

    def _policy(
        self,
        name: str,
        arm: str,
        seed: int,
        *,
        is_recipes: bool = False,
        sampling: Mapping[str, Any] | None = None,
    ) -> Policy:
        """A policy by its name: a step, a folder, a Hub id, or a name of models.yaml; a recipe's policy is no such name."""
        if name.startswith("$"):
            made = self._reference(name[1:], arm, seed)
            writer = self._local_writer(str(made.path), name[1:], self._writing_recipe(arm), sampling)
            return Policy(made.key, made.needs, writer)
        if is_recipes or "/" in name or is_model_folder(name):
            key = hash_model_folder(Path(name)) if Path(name).is_dir() else hash_json({"model": name})
            writer = self._local_writer(name, Path(name).name, self._writing_recipe(arm), sampling)
            return Policy(key, (), writer)
        given = dict(sampling or {})
        return Policy(hash_json({"served": name}), (), Writer(name, name, False, GenerationSettings(), sampling=given))

    def _local_writer(self, path: str, name: str, recipe: Recipe, sampling: Mapping[str, Any] | None = None) -> Writer:
        it = recipe.generation
        stated = {"max_tokens": it.max_tokens, "temperature": it.temperature, "top_p": it.top_p}
        return Writer(path, name, True, it, recipe.memory.precision, recipe.device, {**stated, **(sampling or {})})

    def _write(
        self,
        policy: Policy,
        prompts: Made,
        *,
        arm: str,
        seed: int,
        samples: int,
        title: str,
        limit: int | None = None,
    ) -> Made:
        """The responses of a policy to prompts."""
        writer, models = policy.writer, self._models(arm, seed)
        local = {"seed": seed, "generation": _texts_of(writer)} if writer.is_local else {}
        key = hash_json(
            {"write": policy.key, "prompts": prompts.key, "samples": samples, "limit": limit}
            | {"sampling": dict(writer.sampling), **local}
        )
        folder = self._folder("responses", writer.name, key)
        work = WriteWork(writer, prompts.path, folder / "responses.jsonl", models.path, seed, samples, limit)
        needs = (*policy.needs, *_needs(prompts, *([] if writer.is_local else [models])))
        self._add(key, title, folder, work, needs)
        return Made(key, work.out, (key,))

    # Examinations

    def _examine(
        self, column: str, examination: Examination, judge: str | None, run: ArmRun, policy: Policy
    ) -> str | None:
        """Plan one examination of one policy; None if the policy would be compared with itself."""
        title = f"{run.arm}, seed {run.seed}: {column}"
        if examination.bench is not None:
            return self._bench(examination, judge, run, policy, title)
        assert judge is not None, "checked by Examination"
        assert examination.prompts is not None, "checked by Examination"
        prompts, models = self._made(examination.prompts, run.arm, run.seed), self._models(run.arm, run.seed)

        def write(policy: Policy) -> Made:
            return self._write(
                policy,
                prompts,
                arm=run.arm,
                seed=run.seed,
                samples=examination.samples,
                limit=examination.limit,
                title=f"{run.arm}, seed {run.seed}: responses of {policy.writer.name}",
            )

        mine, asked = write(policy), {"prompts": prompts.key, "judge": judge}
        if examination.grade:
            key = hash_json({"grade": mine.key} | asked)
            folder = self._folder("examinations", column, key)
            out = folder / "grades.jsonl"
            work: ExamWork = GradeExam(GradeWork((mine.path,), prompts.path, judge, models.path, False, out))
            return self._add(key, title, folder, work, _needs(mine, prompts, models))
        if examination.compare is not None:
            opponent = self._opponent(examination.compare, run)
            if opponent is None or opponent.key == policy.key:
                return None
            other = write(opponent)
            key = hash_json({"compare": mine.key, "with": other.key} | asked)
            work = CompareExam(mine.path, other.path, prompts.path, judge, models.path)
            folder = self._folder("examinations", column, key)
            return self._add(key, title, folder, work, _needs(mine, other, prompts, models))
        ratings = examination.elo or {}
        others = {name: write(self._policy(name, run.arm, run.seed)) for name in ratings}
        key = hash_json({"elo": mine.key, "with": {name: it.key for name, it in others.items()}} | asked)
        paths = {name: it.path for name, it in others.items()}
        work = EloExam(mine.path, paths, ratings, prompts.path, judge, models.path)
        folder = self._folder("examinations", column, key)
        return self._add(key, title, folder, work, _needs(mine, *others.values(), prompts, models))

    def _bench(self, examination: Examination, judge: str | None, run: ArmRun, policy: Policy, title: str) -> str:
        assert examination.bench is not None, "of a benchmark"
        assert examination.data is not None, "checked by Examination"
        models, data = self._models(run.arm, run.seed), self._made(str(examination.data), run.arm, run.seed)
        facts = {"bench": examination.bench, "data": data.key, "policy": policy.key, "writer": _texts_of(policy.writer)}
        first = hash_json(facts | {"judge": examination.judge[0] if examination.judge else None})
        key = hash_json(facts | {"judge": judge})
        written = None if key == first else self._folder("examinations", examination.bench, first) / "responses.jsonl"
        work = BenchExam(examination.bench, data.path, policy.writer, written, judge, models.path)
        needs = (*policy.needs, *([] if written is None else [first]), *_needs(data, models))
        return self._add(key, title, self._folder("examinations", examination.bench, key), work, needs)

    def _opponent(self, name: str, run: ArmRun) -> Policy | None:
        """The policy that an examination compares with; None if this arm has no such policy."""
        if name == BEFORE:
            return run.policies[0] if run.last > 0 else None
        if name in self._study.arms:
            other = next(it for it in self.plan.runs if it.arm == name and it.seed == run.seed)
            return other.policies[other.last]
        return self._policy(name, run.arm, run.seed)

    # Steps

    def _reference(self, name: str, arm: str, seed: int) -> Made:
        """What `$name` stands for, for an arm and a seed; plans the task behind it.

        Raises:
            BadInputError: there is no such step.
        """
        step_name, _, rest = name.partition("/")
        if step_name == WORLD and self._study.world is not None:
            key = hash_json({"world": self._study.world, "seed": seed})
            folder = self._folder("world", f"seed{seed}", key)
            self._add(key, f"world, seed {seed}", folder, WorldWork(self._study.world, seed), ())
            return Made(hash_json([key, rest]), folder / rest, (key,))
        step = self._step_of(step_name, arm)
        if isinstance(step, GenerateStep):
            written = self._generate(step_name, arm, step, seed)
            if rest not in written:
                raise BadInputError(f"${name}: must name a writer of the step: ${step_name}/{next(iter(written))}")
            return written[rest]
        if isinstance(step, SftStep):
            made = self._sft(step_name, arm, step, seed)
        elif isinstance(step, GradeStep):
            made = self._grade(step_name, arm, step, seed)
        else:
            made = self._select(step_name, arm, step, seed)
        return Made(hash_json([made.key, rest]), made.path / rest, made.needs) if rest else made

    def _step_of(self, name: str, arm: str) -> Step:
        """The settings of a step as an arm has it."""
        if name not in self._study.prepare:
            known = [f"${it}" for it in [*self._study.prepare, *([WORLD] if self._study.world else [])]]
            raise BadInputError(f"${name}: no such step; known: {', '.join(known) or 'none'}")
        step = self._study.prepare[name]
        changes = {
            key.partition(".")[2]: value for key, value in self._study.arms[arm].items() if key.startswith(f"{name}.")
        }
        if isinstance(step, SftStep):
            return step.model_copy(update={"set": {**step.set, **changes}})
        return _validated(type(step), {**step.model_dump(), **changes}, place=name) if changes else step

    def _sft(self, name: str, arm: str, step: SftStep, seed: int) -> Made:
        from longform.training.supervised.sft_recipe import SftRecipe  # loads torch

        path = find_recipe_path(step.sft, source=self._source)
        made = {it: self._reference(it, arm, seed) for it in _references(step.set)}

        def load(paths: Mapping[str, str], out: str) -> SftRecipe:
            values = {"settings.seed": seed, **_replaced(step.set, paths), "out": out}
            return load_recipe(path, SftRecipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])

        plain = load({it: f"made:{value.key}" for it, value in made.items()}, "model")
        key = hash_json({"sft": plain.model_dump(mode="json"), "files": _external(plain)})
        folder = self._folder("models", name, key)
        recipe = load({it: str(value.path) for it, value in made.items()}, str(folder / "model"))
        self._add(key, f"{name}, seed {seed}: fine-tuning", folder, SftWork(recipe), _needs(*made.values()))
        return Made(key, recipe.out, (key,))

    def _generate(self, name: str, arm: str, step: GenerateStep, seed: int) -> dict[str, Made]:
        """The responses of each writer: a task each, so that models of models.yaml write once for all seeds."""
        prompts = self._made(step.generate, arm, seed)
        stated = {"max_tokens": step.max_tokens, "temperature": step.temperature}
        sampling = {key: value for key, value in stated.items() if value is not None}
        policies = [self._policy(it, arm, seed, sampling=sampling) for it in step.writers]
        return {
            policy.writer.name: self._write(
                policy,
                prompts,
                arm=arm,
                seed=seed,
                samples=step.samples,
                title=f"{name}, seed {seed}: {policy.writer.name}",
            )
            for policy in policies
        }

    def _generated(self, reference: str, arm: str, seed: int) -> list[Made]:
        """The responses that a step of another kind reads."""
        name = reference.removeprefix("$")
        step = self._step_of(name, arm) if reference.startswith("$") else None
        if not isinstance(step, GenerateStep):
            raise BadInputError(f"{reference}: must be a step that generates, such as $candidates")
        return list(self._generate(name, arm, step, seed).values())

    def _grade(self, name: str, arm: str, step: GradeStep, seed: int) -> Made:
        responses = self._generated(step.grade, arm, seed)
        prompts, models = self._made(step.prompts, arm, seed), self._models(arm, seed)
        facts = {"grade": [it.key for it in responses], "prompts": prompts.key, "judge": step.judge}
        key = hash_json(facts | {"per_criterion": step.per_criterion})
        folder = self._folder("grades", name, key)
        out = folder / "grades.jsonl"
        paths = tuple(it.path for it in responses)
        work = GradeWork(paths, prompts.path, step.judge, models.path, step.per_criterion, out)
        self._add(key, f"{name}, seed {seed}: grades", folder, work, _needs(*responses, prompts, models))
        return Made(key, out, (key,))

    def _select(self, name: str, arm: str, step: SelectStep, seed: int) -> Made:
        responses = self._generated(step.select, arm, seed)
        grades, prompts = self._made(step.grades, arm, seed), self._made(step.prompts, arm, seed)
        settings = SelectionSettings(
            policy=step.policy,
            strategy=step.strategy,
            top_k=step.top_k,
            group_by=step.group_by,
            floor=None if step.floor is None else Floor.parse(str(step.floor)),
            seed=seed if step.strategy == "random" else 0,
        )
        facts = {"select": [it.key for it in responses], "grades": grades.key, "prompts": prompts.key}
        key = hash_json(facts | {"settings": asdict(settings)})
        folder = self._folder("ladders", name, key)
        out = folder / "ladders.jsonl"
        work = SelectWork(prompts.path, tuple(it.path for it in responses), grades.path, settings, out)
        self._add(key, f"{name}, seed {seed}: selection", folder, work, _needs(*responses, grades, prompts))
        return Made(key, out, (key,))

    # Files and tasks

    def _made(self, value: str, arm: str, seed: int) -> Made:
        """A reference, or a file that is there.

        Raises:
            BadInputError: there is no such step or file.
        """
        if value.startswith("$"):
            return self._reference(value[1:], arm, seed)
        path = Path(value)
        if not path.exists():
            raise BadInputError(f"{value}: no such file")
        return Made(hash_file(path), path)

    def _models(self, arm: str, seed: int) -> Made:
        """models.yaml. It is no part of any hash: answers are recorded with the model and the settings that gave them."""
        value = self._study.models
        return self._reference(value[1:], arm, seed) if value.startswith("$") else Made("", Path(value))

    def _folder(self, kind: str, name: str, key: str) -> Path:
        plain = "".join(it if it.isalnum() or it in "-_." else "-" for it in name).strip("-.") or "it"
        return self.plan.folder / kind / f"{plain}-{key[:8]}"

    def _add(self, key: str, title: str, folder: Path, work: Work | ExamWork, needs: tuple[str, ...]) -> str:
        if key not in self.plan.tasks:
            self.plan.tasks[key] = StudyTask(key, title, folder, work, tuple(dict.fromkeys(needs)))
        return key


def _needs(*made: Made) -> tuple[str, ...]:
    return tuple(key for it in made for key in it.needs)


def _validated(schema: type[_StepT], values: Mapping[str, Any], *, place: str) -> _StepT:
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise BadInputError(f"{place}.{'.'.join(map(str, first['loc']))}: {message}") from None


def _references(value: Any) -> list[str]:
    """The names behind `$` in values, without repeats."""
    if isinstance(value, str):
        return [value[1:]] if value.startswith("$") else []
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(name for it in inner for name in _references(it)))


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    """The values with their references replaced; one that is not in `names` stays."""
    if isinstance(value, str):
        return names.get(value[1:], value) if value.startswith("$") else value
    if isinstance(value, Mapping):
        return {name: _replaced(it, names) for name, it in value.items()}
    return [_replaced(it, names) for it in value] if isinstance(value, list) else value


def _external(recipe: BaseModel) -> dict[str, str]:
    """Hashes of the files that a recipe names and that were there before the study."""
    found = {}
    for name, value in flatten(recipe.model_dump(mode="json")).items():
        if isinstance(value, str) and value and name != "models" and "/" not in name:
            path = Path(value)
            if path.is_file():
                found[name] = hash_file(path)
            elif is_model_folder(value):
                found[name] = hash_model_folder(path)
    return found


def _texts_of(writer: Writer) -> dict[str, Any]:
    """What decides a local model's texts beside its weights; nothing for a model of models.yaml."""
    if not writer.is_local:
        return {}
    content = writer.generation.model_dump(mode="json", exclude={"batch", "max_prompt_tokens", "server"})
    prompt = writer.generation.think_prompt
    read = None if prompt is None or not prompt.is_file() else hash_file(prompt)
    return content | {"think_prompt": read, "precision": writer.precision, "sampling": dict(writer.sampling)}


def _policy_path(recipe: Recipe, step: int) -> Path:
    """Where a run leaves the policy of a step, or will: kept for good, or in its last checkpoint."""
    is_last = step == recipe.run.steps
    if recipe.engine == "cluster":
        folder = checkpoint_folder(recipe)
        if is_last:
            return folder / f"global_step_{step}" / "actor" / "huggingface"
        return (
            folder.with_name("policies") if folder.name == "checkpoints" else folder / "policies"
        ) / f"step-{step:06d}"
    if is_last:
        return recipe.run_path / "checkpoints" / f"step-{step:06d}" / "policy"
    return recipe.run_path / "policies" / f"step-{step:06d}"
