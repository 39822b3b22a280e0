"""Plans the steps of a study that come before training, the policies that they make, and the responses of policies.

A reference such as `$ladders` is replaced in two ways: by the key of the task that makes the file, where the key of another
task is computed, and by the path, where that task runs. So keys do not depend on the study's folder, which can be moved.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from longform.endpoints.models import find_model, read_models
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.resume import flatten, hash_file, hash_json, hash_model_folder
from longform.selection.languages import parse_languages
from longform.selection.pool import PoolSettings
from longform.selection.settings import Floor, SelectionSettings
from longform.selection.strategy import load_strategy
from longform.studies.settings import (
    WORLD,
    CriteriaStep,
    GenerateStep,
    GradeStep,
    PoolStep,
    SelectStep,
    SftStep,
    Step,
    Study,
    describe_invalid,
)
from longform.studies.tasks import ExaminedPolicy, FinishedTask, StudyFile, StudyPlan, StudyTask
from longform.studies.work import (
    HELD_OUT,
    PROMPTS,
    RESPONSES,
    CriteriaWork,
    GradeWork,
    PoolWork,
    SelectWork,
    SftWork,
    Work,
    WorldWork,
    Writer,
    WriteWork,
)
from longform.training.supervised.sft_recipe import SftRecipe
from longform.writers.paths import is_model_folder
from longform.writers.settings import GenerationSettings

_StepT = TypeVar("_StepT", bound=BaseModel)
_ARM_KEYS = ("recipe", "sft", "model", "set")
"""Keys of an arm that say what kind of arm it is; all others override a recipe or a step."""


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
    raise BadInputError(f"no recipe {name!r}: neither a file nor one of `longform recipe list`")


class StepPlanner:
    """Plans the steps that arms refer to, each once.

    Args:
        study: The study.
        folder: Where everything goes.
        source: The study file, beside which its recipes are looked for.
        needs_files: Whether the study's own files must be there.
    """

    def __init__(self, study: Study, folder: Path, source: Path, *, needs_files: bool = True) -> None:
        self._study, self._source, self._needs_files = study, source, needs_files
        self.plan = StudyPlan(study, folder, source)
        self._being_planned: list[str] = []
        self._read_models = cache(read_models)  # every examination of every policy hashes what its models are

    def recipe_values(self, arm: str) -> dict[str, Any]:
        """The overrides of an arm's recipe; its other keys change steps."""
        settings = self._study.arms[arm]
        own = {name: value for name, value in settings.items() if not self._is_about_steps_or_kind(name)}
        return {**self._study.train, **own}

    def _is_about_steps_or_kind(self, name: str) -> bool:
        return name in _ARM_KEYS or name.partition(".")[0] in self._study.prepare

    def load_recipe(self, arm: str, values: Mapping[str, Any]) -> Recipe:
        """The recipe of an arm with these overrides."""
        name = self._study.arms[arm].get("recipe", self._study.base)
        if not isinstance(name, str):
            raise BadInputError("no recipe: set `base` in the study, or `recipe` in this arm")
        path = find_recipe_path(name, source=self._source)
        return load_recipe(path, Recipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])

    def writing_recipe(self, arm: str, seed: int) -> Recipe:
        """The recipe whose generation settings an arm's policies write with.

        Of its references only those under `generation`, such as a think prompt, are resolved.
        """
        is_trained = "model" not in self._study.arms[arm] and "sft" not in self._study.arms[arm]
        values = self.recipe_values(arm) if is_trained else self._study.train
        writing = find_references({name: it for name, it in values.items() if name.partition(".")[0] == "generation"})
        made = {name: str(self.resolve_reference(name, arm, seed).path) for name in writing}
        return self.load_recipe(arm, replace_references(values, made))

    # Policies and what they write

    def policy_of(
        self,
        name: str,
        arm: str,
        seed: int,
        *,
        is_recipes: bool = False,
        sampling: Mapping[str, Any] | None = None,
    ) -> ExaminedPolicy:
        """The policy that a name stands for: a step, a folder, a Hub id, or a model of models.yaml.

        Args:
            name: The name; `$NAME` is the model of a step.
            arm: Of the study.
            seed: Of the study.
            is_recipes: Whether it is the `policy` of a recipe, which is never a model of models.yaml.
            sampling: max_tokens, temperature and top_p, in place of the recipe's.
        """
        if name.startswith("$"):
            made = self.resolve_reference(name[1:], arm, seed)
            writer = self.local_writer(str(made.path), name[1:], self.writing_recipe(arm, seed), sampling)
            return ExaminedPolicy(made.key, made.needs, writer)
        if is_recipes or "/" in name or is_model_folder(name):
            key = hash_model_folder(Path(name)) if Path(name).is_dir() else hash_json({"model": name})
            writer = self.local_writer(name, Path(name).name, self.writing_recipe(arm, seed), sampling)
            return ExaminedPolicy(key, (), writer)
        given = dict(sampling or {})
        served = self.model_facts(name, self.models(arm, seed))
        return ExaminedPolicy(
            hash_json({"served": served}), (), Writer(name, name, False, GenerationSettings(), sampling=given)
        )

    def local_writer(self, path: str, name: str, recipe: Recipe, sampling: Mapping[str, Any] | None = None) -> Writer:
        """A local model with the generation settings of a recipe; `sampling` overrides some of them."""
        generation = recipe.generation
        stated = {name: getattr(generation, name) for name in ("max_tokens", "temperature", "top_p")}
        return Writer(
            path, name, True, generation, recipe.memory.precision, recipe.device, stated | dict(sampling or {})
        )

    def write(
        self,
        policy: ExaminedPolicy,
        prompts: StudyFile,
        *,
        arm: str,
        seed: int,
        samples: int,
        title: str,
        limit: int | None = None,
        is_named: bool = False,
    ) -> StudyFile:
        """Plan the responses of a policy to prompts.

        Args:
            policy: The policy.
            prompts: The prompts.
            arm: Of the study.
            seed: Of the study, and of the sampling.
            samples: Responses to each prompt.
            title: Of the task.
            limit: Only the first prompts; None: all.
            is_named: Whether the policy's name is part of the result: candidates are told apart by it.
        """
        writer, models = policy.writer, self.models(arm, seed)
        local = {"seed": seed, "generation": writer_facts(writer, self.plan.folder)} if writer.is_local else {}
        key = hash_json(
            {"write": policy.key, "prompts": prompts.key, "samples": samples, "limit": limit}
            | {"sampling": dict(writer.sampling), "name": writer.name if is_named else None, **local}
        )
        folder = self.task_folder("responses", writer.name, key)
        work = WriteWork(writer, prompts.path, folder / "responses.jsonl", models.path, seed, samples, limit)
        needs = (*policy.needs, *task_keys(prompts, *([] if writer.is_local else [models])))
        self.add_task(key, title, folder, work, needs)
        return StudyFile(key, work.out, (key,))

    # Steps

    def resolve_reference(self, name: str, arm: str, seed: int) -> StudyFile:
        """The file that `$name` stands for in an arm with a seed; plans the task that makes it.

        Raises:
            BadInputError: there is no such step, or it depends on itself.
        """
        step_name, _, rest = name.partition("/")
        if step_name == WORLD and self._study.world is not None:
            key = hash_json({"world": self._study.world, "seed": seed})
            folder = self.task_folder("world", f"seed{seed}", key)
            self.add_task(key, f"world, seed {seed}", folder, WorldWork(self._study.world, seed), ())
            return StudyFile(hash_json([key, rest]), folder / rest, (key,))
        if step_name in self._being_planned:
            circle = [*self._being_planned[self._being_planned.index(step_name) :], step_name]
            raise BadInputError(
                f"prepare.{step_name}: depends on itself: {' needs '.join(f'${it}' for it in circle)}; remove one of these "
                "references"
            )
        self._being_planned.append(step_name)
        try:
            return self._resolve_step(step_name, rest, arm, seed)
        finally:
            self._being_planned.pop()

    def _resolve_step(self, step_name: str, rest: str, arm: str, seed: int) -> StudyFile:
        """The file `rest` of a step, or all that it makes."""
        name = f"{step_name}/{rest}" if rest else step_name
        step = self._step_of(step_name, arm)
        if isinstance(step, GenerateStep):
            written = self._generate(step_name, arm, step, seed)
            if rest not in written:
                raise BadInputError(f"${name}: must name a writer of the step: ${step_name}/{next(iter(written))}")
            return written[rest]
        if isinstance(step, PoolStep):
            if rest not in (PROMPTS, HELD_OUT, RESPONSES):
                raise BadInputError(f"${name}: must be ${step_name}/{PROMPTS}, /{HELD_OUT} or /{RESPONSES}")
            made = self._pool(step_name, step)
        elif isinstance(step, CriteriaStep):
            made = self._criteria(step_name, arm, step, seed)
        elif isinstance(step, SftStep):
            made = self.fine_tuning(step_name, arm, step, seed)
        elif isinstance(step, GradeStep):
            made = self._grade(step_name, arm, step, seed)
        else:
            made = self._select(step_name, arm, step, seed)
        return StudyFile(hash_json([made.key, rest]), made.path / rest, made.needs) if rest else made

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
        return validate_settings(type(step), {**step.model_dump(), **changes}, place=name) if changes else step

    def fine_tuning(self, name: str, arm: str, step: SftStep, seed: int) -> StudyFile:
        """The model of a fine-tuning."""
        path = find_recipe_path(step.sft, source=self._source)
        made = {it: self.resolve_reference(it, arm, seed) for it in find_references(step.set)}

        def load(paths: Mapping[str, str], out: str) -> SftRecipe:
            values = {"settings.seed": seed, **replace_references(step.set, paths), "out": out}
            return load_recipe(path, SftRecipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])

        plain = load({it: f"made:{value.key}" for it, value in made.items()}, "model")
        key = hash_json(
            {"sft": plain.model_dump(mode="json", exclude_defaults=True), "files": hash_outside_files(plain)}
        )
        folder = self.task_folder("models", name, key)
        recipe = load({it: str(value.path) for it, value in made.items()}, str(folder / "model"))
        self.add_task(key, f"{name}, seed {seed}: fine-tuning", folder, SftWork(recipe), task_keys(*made.values()))
        return StudyFile(key, recipe.out, (key,))

    def _pool(self, name: str, step: PoolStep) -> StudyFile:
        """The folder of collected prompts: the same for all arms and seeds."""
        settings = PoolSettings(languages=parse_languages(step.languages), limit=step.limit, seed=step.seed)
        sources = {it: hash_file(Path(it)) for it in (*step.pool, *step.decontaminate) if Path(it).exists()}
        key = hash_json({"pool": step.model_dump(exclude_defaults=True), "sources": sources})
        folder = self.task_folder("prompts", name, key)
        work = PoolWork(tuple(step.pool), tuple(step.decontaminate), settings, step.held_out)
        self.add_task(key, f"{name}: prompts", folder, work, ())
        return StudyFile(key, folder, (key,))

    def _criteria(self, name: str, arm: str, step: CriteriaStep, seed: int) -> StudyFile:
        prompts, models = self.resolve_input(step.criteria, arm, seed), self.models(arm, seed)
        key = hash_json({"criteria": prompts.key, "judge": self.model_facts(step.judge, models), "count": step.count})
        folder = self.task_folder("prompts", name, key)
        work = CriteriaWork(prompts.path, step.judge, models.path, step.count, folder / PROMPTS)
        self.add_task(key, f"{name}, seed {seed}: criteria", folder, work, task_keys(prompts, models))
        return StudyFile(key, work.out, (key,))

    def _generate(self, name: str, arm: str, step: GenerateStep, seed: int) -> dict[str, StudyFile]:
        """The responses of each writer: a task each, so that models of models.yaml write once for all seeds."""
        prompts = self.resolve_input(step.generate, arm, seed)
        stated = {"max_tokens": step.max_tokens, "temperature": step.temperature}
        sampling = {key: value for key, value in stated.items() if value is not None}
        policies = [self.policy_of(it, arm, seed, sampling=sampling) for it in step.writers]
        names = [it.writer.name for it in policies]
        twice = next((it for it in names if names.count(it) > 1), None)
        if twice is not None:
            raise BadInputError(
                f"prepare.{name}.writers: two are called {twice!r} in their responses; leave one out, or rename it"
            )
        return {
            policy.writer.name: self.write(
                policy,
                prompts,
                arm=arm,
                seed=seed,
                samples=step.samples,
                title=f"{name}, seed {seed}: {policy.writer.name}",
                is_named=True,
            )
            for policy in policies
        }

    def _generated(self, reference: str, arm: str, seed: int) -> list[StudyFile]:
        """All responses of a step of kind `generate`, which other steps read."""
        name = reference.removeprefix("$")
        step = self._step_of(name, arm) if reference.startswith("$") else None
        if not isinstance(step, GenerateStep):
            raise BadInputError(f"{reference}: must be a step that generates, such as $candidates")
        further = [self.resolve_input(it, arm, seed) for it in step.responses]
        return [*self._generate(name, arm, step, seed).values(), *further]

    def _grade(self, name: str, arm: str, step: GradeStep, seed: int) -> StudyFile:
        responses = self._generated(step.grade, arm, seed)
        prompts, models = self.resolve_input(step.prompts, arm, seed), self.models(arm, seed)
        judge = self.model_facts(step.judge, models)
        facts = {"grade": [it.key for it in responses], "prompts": prompts.key, "judge": judge}
        key = hash_json(facts | {"per_criterion": step.per_criterion})
        folder = self.task_folder("grades", name, key)
        out = folder / "grades.jsonl"
        paths = tuple(it.path for it in responses)
        work = GradeWork(paths, prompts.path, step.judge, models.path, step.per_criterion, out)
        self.add_task(key, f"{name}, seed {seed}: grades", folder, work, task_keys(*responses, prompts, models))
        return StudyFile(key, out, (key,))

    def _select(self, name: str, arm: str, step: SelectStep, seed: int) -> StudyFile:
        responses = self._generated(step.select, arm, seed)
        self._check_selection(name, arm, step, seed)
        grades, prompts = self.resolve_input(step.grades, arm, seed), self.resolve_input(step.prompts, arm, seed)
        settings = SelectionSettings(
            policy=step.policy,
            strategy=step.strategy,
            top_k=step.top_k,
            group_by=step.group_by,
            floor=None if step.floor is None else Floor.parse(str(step.floor), place=f"prepare.{name}.floor"),
            seed=seed if step.strategy == "random" else 0,
        )
        facts = {"select": [it.key for it in responses], "grades": grades.key, "prompts": prompts.key}
        key = hash_json(facts | {"settings": asdict(settings)})
        folder = self.task_folder("ladders", name, key)
        out = folder / "ladders.jsonl"
        work = SelectWork(prompts.path, tuple(it.path for it in responses), grades.path, settings, out)
        self.add_task(key, f"{name}, seed {seed}: selection", folder, work, task_keys(*responses, grades, prompts))
        return StudyFile(key, out, (key,))

    def _check_selection(self, name: str, arm: str, step: SelectStep, seed: int) -> None:
        """Check a selection before the responses and grades that it reads are paid.

        Raises:
            BadInputError: the strategy is unknown, or the policy writes none of the responses.
        """
        load_strategy(step.strategy, place=f"prepare.{name}.strategy")
        candidates = self._step_of(step.select.removeprefix("$"), arm)
        assert isinstance(candidates, GenerateStep), "checked by `_generated`"
        writers = list(self._generate(step.select.removeprefix("$"), arm, candidates, seed))
        if step.policy not in writers and not candidates.responses:
            raise BadInputError(
                f"prepare.{name}.policy: {step.policy!r} writes none of {step.select}; its writers are {', '.join(writers)}"
            )

    # Files and tasks

    def resolve_input(self, value: str, arm: str, seed: int) -> StudyFile:
        """A file that the study reads: `$NAME`, made by a step, or a path.

        Raises:
            BadInputError: there is no such step or file.
        """
        if value.startswith("$"):
            return self.resolve_reference(value[1:], arm, seed)
        path = Path(value)
        if path.exists():
            return StudyFile(hash_file(path), path)
        if self._needs_files:
            raise BadInputError(f"{value}: no such file")
        return StudyFile(hash_json({"missing": value}), path)

    def models(self, arm: str, seed: int) -> StudyFile:
        """models.yaml, whose content is not hashed as a whole: tasks hash `model_facts` of the models that they ask."""
        value = self._study.models
        return self.resolve_reference(value[1:], arm, seed) if value.startswith("$") else StudyFile("", Path(value))

    def model_facts(self, name: str, models: StudyFile) -> Any:
        """The settings that a served model's answers depend on, to be hashed; its name alone until models.yaml exists.

        Raises:
            BadInputError: models.yaml lacks it, or cannot be read.
        """
        if models.needs or (not models.path.exists() and not self._needs_files):
            return name
        return {"name": name, **find_model(self._read_models(models.path), name, path=models.path).settings_of_answers}

    def task_folder(self, kind: str, name: str, key: str) -> Path:
        """The folder of a task: a readable name, and part of its key.

        A task that is planned or finished already keeps its folder, even if another arm or study named it differently.
        """
        if key in self.plan.tasks:
            return self.plan.tasks[key].folder
        if (finished := FinishedTask.read(self.plan.folder, key)) is not None:
            return self.plan.folder / finished.folder
        safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in name).strip("-.") or "it"
        return self.plan.folder / kind / f"{safe}-{key[:8]}"

    def add_task(self, key: str, title: str, folder: Path, work: Work, needs: tuple[str, ...]) -> str:
        """Add a task to the plan unless it has one with this key; returns the key."""
        if key not in self.plan.tasks:
            self.plan.tasks[key] = StudyTask(key, title, folder, work, tuple(dict.fromkeys(needs)))
        return key


def task_keys(*made: StudyFile) -> tuple[str, ...]:
    """Keys of the tasks that make these files."""
    return tuple(key for it in made for key in it.needs)


def validate_settings(schema: type[_StepT], values: Mapping[str, Any], *, place: str) -> _StepT:
    """The settings of one part of a study.

    Raises:
        BadInputError: one line that begins with `place` and names the key.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        raise BadInputError(describe_invalid(error, schema, place=place)) from None


def find_references(value: Any) -> list[str]:
    """The names behind `$` in values, without repeats."""
    if isinstance(value, str):
        return [value[1:]] if value.startswith("$") else []
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(name for it in inner for name in find_references(it)))


def replace_references(value: Any, names: Mapping[str, str]) -> Any:
    """The values with each reference replaced by its entry in `names`, if it has one."""
    if isinstance(value, str):
        return names.get(value[1:], value) if value.startswith("$") else value
    if isinstance(value, Mapping):
        return {name: replace_references(it, names) for name, it in value.items()}
    return [replace_references(it, names) for it in value] if isinstance(value, list) else value


def hash_outside_files(recipe: BaseModel) -> dict[str, str]:
    """Hashes of the files and model folders named in a recipe that exist before the study makes anything."""
    found = {}
    for name, value in flatten(recipe.model_dump(mode="json")).items():
        if isinstance(value, str) and value and name != "models" and "/" not in name:
            path = Path(value)
            if path.is_file():
                found[name] = hash_file(path)
            elif is_model_folder(value):
                found[name] = hash_model_folder(path)
    return found


def writer_facts(writer: Writer, folder: Path) -> dict[str, Any]:
    """The settings that a local model's texts depend on besides its weights, to be hashed; empty for a served model.

    A think prompt inside the study's folder is identified by its path, which contains the hash of the step that makes it.
    """
    if not writer.is_local:
        return {}
    unimportant = {"batch", "max_prompt_tokens", "server"}
    content = writer.generation.model_dump(mode="json", exclude=unimportant, exclude_defaults=True)
    prompt = writer.generation.think_prompt
    if prompt is None:
        identity = None
    elif prompt.is_relative_to(folder):
        identity = prompt.relative_to(folder).as_posix()
    else:
        identity = hash_file(prompt) if prompt.is_file() else None
    return content | {"think_prompt": identity, "precision": writer.precision, "sampling": dict(writer.sampling)}
