"""Plans what comes before training: the steps of a study, the policies that they make, and what these write.

References such as `$ladders` are replaced twice: by the hash of the task behind them where the hash of another task is
computed, and by the path where it is run, so a study can be moved to another folder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
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
_FIXED = ("recipe", "sft", "model", "set")
"""Keys of an arm that are no overrides of a recipe."""


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
    """Plans the steps of a study for an arm and a seed.

    Args:
        study: The study.
        folder: Where everything goes.
        source: The study file, beside which its recipes are looked for.
        needs_files: Whether the study's own files must be there.
    """

    def __init__(self, study: Study, folder: Path, source: Path, *, needs_files: bool = True) -> None:
        self._study, self._source, self._needs_files = study, source, needs_files
        self.plan = StudyPlan(study, folder)

    def recipe_values(self, arm: str) -> dict[str, Any]:
        """The overrides of an arm's recipe; its other keys change steps."""
        own = {name: value for name, value in self._study.arms[arm].items() if not self._is_fixed(name)}
        return {**self._study.train, **own}

    def _is_fixed(self, name: str) -> bool:
        return name in _FIXED or name.partition(".")[0] in self._study.prepare

    def load_recipe(self, arm: str, values: Mapping[str, Any]) -> Recipe:
        """The recipe of an arm with the values of these keys."""
        name = self._study.arms[arm].get("recipe", self._study.base)
        if not isinstance(name, str):
            raise BadInputError("needs `base` in the study, or a `recipe` of its own")
        path = find_recipe_path(name, source=self._source)
        return load_recipe(path, Recipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])

    def writing_recipe(self, arm: str, seed: int) -> Recipe:
        """The recipe that says how policies of an arm write; what steps make is left open in it, but for think prompts."""
        is_trained = "model" not in self._study.arms[arm] and "sft" not in self._study.arms[arm]
        values = self.recipe_values(arm) if is_trained else self._study.train
        writing = references({name: it for name, it in values.items() if name.partition(".")[0] == "generation"})
        made = {name: str(self.reference(name, arm, seed).path) for name in writing}
        return self.load_recipe(arm, replaced(values, made))

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
        """A policy by its name: a step, a folder, a Hub id, or a name of models.yaml; a recipe's policy is no such name."""
        if name.startswith("$"):
            made = self.reference(name[1:], arm, seed)
            writer = self.local_writer(str(made.path), name[1:], self.writing_recipe(arm, seed), sampling)
            return ExaminedPolicy(made.key, made.needs, writer)
        if is_recipes or "/" in name or is_model_folder(name):
            key = hash_model_folder(Path(name)) if Path(name).is_dir() else hash_json({"model": name})
            writer = self.local_writer(name, Path(name).name, self.writing_recipe(arm, seed), sampling)
            return ExaminedPolicy(key, (), writer)
        given = dict(sampling or {})
        served = self.answers_of(name, self.models(arm, seed))
        return ExaminedPolicy(
            hash_json({"served": served}), (), Writer(name, name, False, GenerationSettings(), sampling=given)
        )

    def local_writer(self, path: str, name: str, recipe: Recipe, sampling: Mapping[str, Any] | None = None) -> Writer:
        """A local model that writes as a recipe's policy does, but for `sampling`."""
        it = recipe.generation
        stated = {"max_tokens": it.max_tokens, "temperature": it.temperature, "top_p": it.top_p}
        return Writer(path, name, True, it, recipe.memory.precision, recipe.device, {**stated, **(sampling or {})})

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
        """The responses of a policy to prompts; of a candidate, `is_named`, its name counts too."""
        writer, models = policy.writer, self.models(arm, seed)
        local = {"seed": seed, "generation": texts_of(writer, self.plan.folder)} if writer.is_local else {}
        key = hash_json(
            {"write": policy.key, "prompts": prompts.key, "samples": samples, "limit": limit}
            | {"sampling": dict(writer.sampling), "name": writer.name if is_named else None, **local}
        )
        folder = self.folder_of("responses", writer.name, key)
        work = WriteWork(writer, prompts.path, folder / "responses.jsonl", models.path, seed, samples, limit)
        needs = (*policy.needs, *needs_of(prompts, *([] if writer.is_local else [models])))
        self.add(key, title, folder, work, needs)
        return StudyFile(key, work.out, (key,))

    # Steps

    def reference(self, name: str, arm: str, seed: int) -> StudyFile:
        """What `$name` stands for, for an arm and a seed; plans the task behind it.

        Raises:
            BadInputError: there is no such step.
        """
        step_name, _, rest = name.partition("/")
        if step_name == WORLD and self._study.world is not None:
            key = hash_json({"world": self._study.world, "seed": seed})
            folder = self.folder_of("world", f"seed{seed}", key)
            self.add(key, f"world, seed {seed}", folder, WorldWork(self._study.world, seed), ())
            return StudyFile(hash_json([key, rest]), folder / rest, (key,))
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
        return validated(type(step), {**step.model_dump(), **changes}, place=name) if changes else step

    def fine_tuning(self, name: str, arm: str, step: SftStep, seed: int) -> StudyFile:
        """The model of a fine-tuning."""
        path = find_recipe_path(step.sft, source=self._source)
        made = {it: self.reference(it, arm, seed) for it in references(step.set)}

        def load(paths: Mapping[str, str], out: str) -> SftRecipe:
            values = {"settings.seed": seed, **replaced(step.set, paths), "out": out}
            return load_recipe(path, SftRecipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])

        plain = load({it: f"made:{value.key}" for it, value in made.items()}, "model")
        key = hash_json({"sft": plain.model_dump(mode="json", exclude_defaults=True), "files": hash_external(plain)})
        folder = self.folder_of("models", name, key)
        recipe = load({it: str(value.path) for it, value in made.items()}, str(folder / "model"))
        self.add(key, f"{name}, seed {seed}: fine-tuning", folder, SftWork(recipe), needs_of(*made.values()))
        return StudyFile(key, recipe.out, (key,))

    def _pool(self, name: str, step: PoolStep) -> StudyFile:
        """The folder of collected prompts: the same for all arms and seeds."""
        settings = PoolSettings(languages=parse_languages(step.languages), limit=step.limit, seed=step.seed)
        sources = {it: hash_file(Path(it)) for it in (*step.pool, *step.decontaminate) if Path(it).exists()}
        key = hash_json({"pool": step.model_dump(exclude_defaults=True), "sources": sources})
        folder = self.folder_of("prompts", name, key)
        work = PoolWork(tuple(step.pool), tuple(step.decontaminate), settings, step.held_out)
        self.add(key, f"{name}: prompts", folder, work, ())
        return StudyFile(key, folder, (key,))

    def _criteria(self, name: str, arm: str, step: CriteriaStep, seed: int) -> StudyFile:
        prompts, models = self.made(step.criteria, arm, seed), self.models(arm, seed)
        key = hash_json({"criteria": prompts.key, "judge": self.answers_of(step.judge, models), "count": step.count})
        folder = self.folder_of("prompts", name, key)
        work = CriteriaWork(prompts.path, step.judge, models.path, step.count, folder / PROMPTS)
        self.add(key, f"{name}, seed {seed}: criteria", folder, work, needs_of(prompts, models))
        return StudyFile(key, work.out, (key,))

    def _generate(self, name: str, arm: str, step: GenerateStep, seed: int) -> dict[str, StudyFile]:
        """The responses of each writer: a task each, so that models of models.yaml write once for all seeds."""
        prompts = self.made(step.generate, arm, seed)
        stated = {"max_tokens": step.max_tokens, "temperature": step.temperature}
        sampling = {key: value for key, value in stated.items() if value is not None}
        policies = [self.policy_of(it, arm, seed, sampling=sampling) for it in step.writers]
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
        """The responses that a step of another kind reads."""
        name = reference.removeprefix("$")
        step = self._step_of(name, arm) if reference.startswith("$") else None
        if not isinstance(step, GenerateStep):
            raise BadInputError(f"{reference}: must be a step that generates, such as $candidates")
        further = [self.made(it, arm, seed) for it in step.responses]
        return [*self._generate(name, arm, step, seed).values(), *further]

    def _grade(self, name: str, arm: str, step: GradeStep, seed: int) -> StudyFile:
        responses = self._generated(step.grade, arm, seed)
        prompts, models = self.made(step.prompts, arm, seed), self.models(arm, seed)
        judge = self.answers_of(step.judge, models)
        facts = {"grade": [it.key for it in responses], "prompts": prompts.key, "judge": judge}
        key = hash_json(facts | {"per_criterion": step.per_criterion})
        folder = self.folder_of("grades", name, key)
        out = folder / "grades.jsonl"
        paths = tuple(it.path for it in responses)
        work = GradeWork(paths, prompts.path, step.judge, models.path, step.per_criterion, out)
        self.add(key, f"{name}, seed {seed}: grades", folder, work, needs_of(*responses, prompts, models))
        return StudyFile(key, out, (key,))

    def _select(self, name: str, arm: str, step: SelectStep, seed: int) -> StudyFile:
        responses = self._generated(step.select, arm, seed)
        grades, prompts = self.made(step.grades, arm, seed), self.made(step.prompts, arm, seed)
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
        folder = self.folder_of("ladders", name, key)
        out = folder / "ladders.jsonl"
        work = SelectWork(prompts.path, tuple(it.path for it in responses), grades.path, settings, out)
        self.add(key, f"{name}, seed {seed}: selection", folder, work, needs_of(*responses, grades, prompts))
        return StudyFile(key, out, (key,))

    # Files and tasks

    def made(self, value: str, arm: str, seed: int) -> StudyFile:
        """A reference, or a file that is there.

        Raises:
            BadInputError: there is no such step or file.
        """
        if value.startswith("$"):
            return self.reference(value[1:], arm, seed)
        path = Path(value)
        if path.exists():
            return StudyFile(hash_file(path), path)
        if self._needs_files:
            raise BadInputError(f"{value}: no such file")
        return StudyFile(hash_json({"missing": value}), path)

    def models(self, arm: str, seed: int) -> StudyFile:
        """models.yaml. Of its content, what decides a model's answers is part of the hashes (`answers_of`)."""
        value = self._study.models
        return self.reference(value[1:], arm, seed) if value.startswith("$") else StudyFile("", Path(value))

    def answers_of(self, name: str, models: StudyFile) -> Any:
        """What decides the answers of a model of models.yaml: its name alone, while the study has yet to make that file.

        Raises:
            BadInputError: models.yaml lacks it, or cannot be read.
        """
        if models.needs or (not models.path.exists() and not self._needs_files):
            return name
        return {"name": name, **find_model(read_models(models.path), name, path=models.path).settings_of_answers}

    def folder_of(self, kind: str, name: str, key: str) -> Path:
        """The folder of a task: readable, and unique by its key. A task that another arm, or another study in the same
        folder, has named differently stays where it is.
        """
        if key in self.plan.tasks:
            return self.plan.tasks[key].folder
        if (finished := FinishedTask.read(self.plan.folder, key)) is not None:
            return self.plan.folder / finished.folder
        plain = "".join(it if it.isalnum() or it in "-_." else "-" for it in name).strip("-.") or "it"
        return self.plan.folder / kind / f"{plain}-{key[:8]}"

    def add(self, key: str, title: str, folder: Path, work: Work, needs: tuple[str, ...]) -> str:
        """Add a task to the plan unless it is there; returns its key."""
        if key not in self.plan.tasks:
            self.plan.tasks[key] = StudyTask(key, title, folder, work, tuple(dict.fromkeys(needs)))
        return key


def needs_of(*made: StudyFile) -> tuple[str, ...]:
    """Keys of the tasks that make these."""
    return tuple(key for it in made for key in it.needs)


def validated(schema: type[_StepT], values: Mapping[str, Any], *, place: str) -> _StepT:
    """The settings of one part of a study.

    Raises:
        BadInputError: one line that begins with `place` and names the key.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        raise BadInputError(describe_invalid(error, place=place)) from None


def references(value: Any) -> list[str]:
    """The names behind `$` in values, without repeats."""
    if isinstance(value, str):
        return [value[1:]] if value.startswith("$") else []
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(name for it in inner for name in references(it)))


def replaced(value: Any, names: Mapping[str, str]) -> Any:
    """The values with their references replaced; one that is not in `names` stays."""
    if isinstance(value, str):
        return names.get(value[1:], value) if value.startswith("$") else value
    if isinstance(value, Mapping):
        return {name: replaced(it, names) for name, it in value.items()}
    return [replaced(it, names) for it in value] if isinstance(value, list) else value


def hash_external(recipe: BaseModel) -> dict[str, str]:
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


def texts_of(writer: Writer, folder: Path) -> dict[str, Any]:
    """What decides a local model's texts beside its weights; nothing for a model of models.yaml.

    A think prompt that a step makes in the study's folder is known by its place, which has the step's hash in its name.
    """
    if not writer.is_local:
        return {}
    unimportant = {"batch", "max_prompt_tokens", "server"}
    content = writer.generation.model_dump(mode="json", exclude=unimportant, exclude_defaults=True)
    prompt = writer.generation.think_prompt
    if prompt is None:
        read = None
    elif prompt.is_relative_to(folder):
        read = prompt.relative_to(folder).as_posix()
    else:
        read = hash_file(prompt) if prompt.is_file() else None
    return content | {"think_prompt": read, "precision": writer.precision, "sampling": dict(writer.sampling)}
