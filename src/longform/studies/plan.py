"""The plan of a study: every task, named by a hash of all that its result depends on.

Tasks with equal settings and inputs are one task, so arms share what they have in common, and a changed study file makes
only what is new.
"""

from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

from longform.evaluation.benchmarks.catalogue import find_benchmark
from longform.planning.cluster import checkpoint_folder, policies_folder
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.resume import hash_json
from longform.studies.examine import AnswerExam, BenchExam, CompareExam, EloExam, GradeExam
from longform.studies.settings import SftStep, Study, StudyExamination
from longform.studies.steps import (
    StepPlanner,
    find_references,
    hash_outside_files,
    replace_references,
    task_keys,
    validate_settings,
    writer_facts,
)
from longform.studies.tasks import ArmRun, ExaminedPolicy, Measurement, StudyFile, StudyPlan
from longform.studies.work import GradeWork, TrainWork
from longform.text.final_answers import AnswerForm

OPERATION = {
    "name",
    "folder",
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_checkpoints",
    "keep_policies",
    "budget",
    "track",
    "show_every",
}
"""Keys of a recipe's section `run` that do not change the trained policy."""
INITIAL = "start"
"""The opponent of `compare: start`: the arm's policy before training."""


def plan_study(study: Study, folder: Path, *, source: Path, needs_files: bool = True) -> StudyPlan:
    """Plan a study; nothing is made.

    Args:
        study: The study.
        folder: Where everything goes.
        source: The study file, beside which its recipes are looked for.
        needs_files: Whether the files that the study names must exist; an estimate does not need them.

    Raises:
        BadInputError: a recipe, an override or a reference cannot be used; the message names the arm and the key. Or
            `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInputError(f"--out {folder}: is a file; name a folder")
    planner = _Planner(study, folder, source, needs_files=needs_files)
    for seed in study.seeds:
        for arm in study.arms:
            planner.add_arm(arm, seed)
    for column, (examination, judge) in study.columns.items():
        for run in planner.plan.runs:
            planner.add_examination(column, examination, judge, run)
    return planner.plan


class _Planner(StepPlanner):
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

    def add_examination(self, column: str, examination: StudyExamination, judge: str | None, run: ArmRun) -> None:
        """Plan the measurements of one column for one arm and seed."""
        try:
            for step in examination.steps(run.last):
                if examination.metric is not None:
                    key = run.key if run.recipe is not None else None
                else:
                    key = self._examine(column, examination, judge, run, run.policies[step])
                if key is None:
                    continue
                prompts = None
                if examination.where and examination.prompts is not None:
                    prompts = self.resolve_input(examination.prompts, run.arm, run.seed).path
                self.plan.measurements.append(
                    Measurement(
                        column,
                        run.arm,
                        run.seed,
                        step,
                        is_last=step == run.last,
                        task=key,
                        metric=examination.metric,
                        where=examination.where,
                        prompts=prompts,
                    )
                )
        except BadInputError as error:
            raise BadInputError(f"{self._source}: examine: {column}: {error}") from None

    # Arms

    def _untrained(self, arm: str, seed: int) -> ArmRun:
        settings = self._study.arms[arm]
        self._check_keys(settings, allowed=("model",))
        if not isinstance(settings["model"], str):
            raise BadInputError("model: must be a name of models.yaml, a folder, or a step such as $start")
        return ArmRun(arm, seed, {0: self.policy_of(settings["model"], arm, seed)}, 0, None, None)

    def _fine_tuned(self, arm: str, seed: int) -> ArmRun:
        settings = self._study.arms[arm]
        self._check_keys(settings, allowed=("sft", "set"))
        made = self.fine_tuning(arm, arm, validate_settings(SftStep, settings, place="sft"), seed)
        policy = ExaminedPolicy(
            made.key, made.needs, self.local_writer(str(made.path), arm, self.writing_recipe(arm, seed))
        )
        return ArmRun(arm, seed, {0: policy}, 0, None, made.key)

    def _trained(self, arm: str, seed: int) -> ArmRun:
        values = self.recipe_values(arm)
        made = {name: self.resolve_reference(name, arm, seed) for name in find_references(values)}
        keep = self._kept_steps()

        def load(paths: Mapping[str, str], more: Mapping[str, Any]) -> Recipe:
            return self.load_recipe(arm, {**replace_references(values, paths), "run.seed": seed, **more})

        plain = load({name: f"made:{it.key}" for name, it in made.items()}, {})
        # Without defaults: what a study has made stays valid in a version with new keys (`check_study` compares defaults).
        content = plain.model_dump(mode="json", exclude={"models": True, "run": OPERATION}, exclude_defaults=True)
        models = self.models(arm, seed)
        asked = {name: self.model_facts(name, models) for name in plain.asked_with_validation}
        key = hash_json({"train": content, "keep": keep, "files": hash_outside_files(plain), "asked": asked})
        folder = self.task_folder("runs", f"{arm}-seed{seed}", key)
        placed = {"run.name": folder.name, "run.folder": str(folder.parent), "models": str(models.path)}
        if keep is not None:
            placed |= {"run.keep_policies": gcd(keep, plain.run.keep_policies or 0)}
        recipe = load({name: str(it.path) for name, it in made.items()}, placed)
        needs = task_keys(*made.values(), models)
        self.add_task(key, f"{arm}, seed {seed}: training", recipe.run_path, TrainWork(recipe), needs)
        policies = {0: self.policy_of(str(values.get("policy", plain.policy)), arm, seed, is_recipes=True)}
        last = recipe.run.steps
        for step in range(1, last + 1):
            kept = recipe.run.keep_policies is not None and step % recipe.run.keep_policies == 0
            if kept or step == last:
                writer = self.local_writer(str(_policy_path(recipe, step)), arm, recipe)
                policies[step] = ExaminedPolicy(hash_json([key, step]), (key,), writer)
        return ArmRun(arm, seed, policies, last, recipe, key)

    def _check_keys(self, settings: Mapping[str, Any], *, allowed: tuple[str, ...]) -> None:
        for name in settings:
            if name not in allowed and name.partition(".")[0] not in self._study.prepare:
                raise BadInputError(f"{name}: only valid for an arm that a recipe of `longform train` trains")

    def _kept_steps(self) -> int | None:
        """The interval, in steps, of the policies that examinations need; None if they need only the first and the last."""
        steps = [it.interval for it in self._study.examine if it.metric is None and it.interval]
        return gcd(*steps) if steps else None

    # Examinations

    def _examine(
        self, column: str, examination: StudyExamination, judge: str | None, run: ArmRun, policy: ExaminedPolicy
    ) -> str | None:
        """Plan one examination of one policy; None if the policy would be compared with itself."""
        title = f"{run.arm}, seed {run.seed}: {column}"
        if examination.bench is not None:
            return self._bench(examination, judge, run, policy, title)
        if examination.answer is not None:
            return self._answer(column, examination, examination.answer, run, policy, title)
        assert judge is not None, "checked by StudyExamination"
        if examination.grade:
            return self._grade_exam(column, examination, judge, run, policy, title)
        if examination.compare is not None:
            opponent = self._opponent(examination.compare, run)
            if opponent is None or opponent.key == policy.key:
                return None
            return self._compare(column, examination, judge, run, (policy, opponent), title)
        return self._elo(column, examination, judge, run, policy, title)

    def _answer(
        self,
        column: str,
        examination: StudyExamination,
        form: AnswerForm,
        run: ArmRun,
        policy: ExaminedPolicy,
        title: str,
    ) -> str:
        prompts, responses = self._prompts(examination, run), self._responses(examination, run, policy)
        key = hash_json({"answer": responses.key, "prompts": prompts.key, "form": form})
        work = AnswerExam(responses.path, prompts.path, form)
        return self.add_task(
            key, title, self.task_folder("examinations", column, key), work, task_keys(responses, prompts)
        )

    def _grade_exam(
        self, column: str, examination: StudyExamination, judge: str, run: ArmRun, policy: ExaminedPolicy, title: str
    ) -> str:
        prompts, responses = self._prompts(examination, run), self._responses(examination, run, policy)
        models = self.models(run.arm, run.seed)
        key = hash_json({"grade": responses.key} | self._judged(prompts, judge, models))
        folder = self.task_folder("examinations", column, key)
        out = folder / "grades.jsonl"
        work = GradeExam(GradeWork((responses.path,), prompts.path, judge, models.path, False, out))
        return self.add_task(key, title, folder, work, task_keys(responses, prompts, models))

    def _compare(
        self,
        column: str,
        examination: StudyExamination,
        judge: str,
        run: ArmRun,
        policies: tuple[ExaminedPolicy, ExaminedPolicy],
        title: str,
    ) -> str:
        prompts, models = self._prompts(examination, run), self.models(run.arm, run.seed)
        own, other = (self._responses(examination, run, policy) for policy in policies)
        key = hash_json({"compare": own.key, "with": other.key} | self._judged(prompts, judge, models))
        work = CompareExam(own.path, other.path, prompts.path, judge, models.path)
        folder = self.task_folder("examinations", column, key)
        return self.add_task(key, title, folder, work, task_keys(own, other, prompts, models))

    def _elo(
        self, column: str, examination: StudyExamination, judge: str, run: ArmRun, policy: ExaminedPolicy, title: str
    ) -> str:
        prompts, models = self._prompts(examination, run), self.models(run.arm, run.seed)
        own, ratings = self._responses(examination, run, policy), examination.elo or {}
        others = {name: self._responses(examination, run, self.policy_of(name, run.arm, run.seed)) for name in ratings}
        opponents = {name: responses.key for name, responses in others.items()}
        key = hash_json({"elo": own.key, "with": opponents} | self._judged(prompts, judge, models))
        paths = {name: responses.path for name, responses in others.items()}
        work = EloExam(own.path, paths, ratings, prompts.path, judge, models.path)
        folder = self.task_folder("examinations", column, key)
        return self.add_task(key, title, folder, work, task_keys(own, *others.values(), prompts, models))

    def _prompts(self, examination: StudyExamination, run: ArmRun) -> StudyFile:
        assert examination.prompts is not None, "checked by StudyExamination"
        return self.resolve_input(examination.prompts, run.arm, run.seed)

    def _responses(self, examination: StudyExamination, run: ArmRun, policy: ExaminedPolicy) -> StudyFile:
        """Plan the responses of a policy to the prompts of an examination."""
        return self.write(
            policy,
            self._prompts(examination, run),
            arm=run.arm,
            seed=run.seed,
            samples=examination.samples,
            limit=examination.limit,
            title=f"{run.arm}, seed {run.seed}: responses of {policy.writer.name}",
        )

    def _judged(self, prompts: StudyFile, judge: str, models: StudyFile) -> dict[str, Any]:
        """The part of a task's key that every examination by a judge has."""
        return {"prompts": prompts.key, "judge": self.model_facts(judge, models)}

    def _bench(
        self, examination: StudyExamination, judge: str | None, run: ArmRun, policy: ExaminedPolicy, title: str
    ) -> str:
        assert examination.bench is not None, "of a benchmark"
        assert examination.data is not None, "checked by StudyExamination"
        find_benchmark(examination.bench)
        if self._needs_files and not examination.data.exists():
            raise BadInputError(
                f"{examination.data}: no such file; `longform bench fetch {examination.bench} --out {examination.data}` "
                "downloads it"
            )
        models, data = self.models(run.arm, run.seed), self.resolve_input(str(examination.data), run.arm, run.seed)
        facts = {
            "bench": examination.bench,
            "data": data.key,
            "policy": policy.key,
            "writer": writer_facts(policy.writer, self.plan.folder),
        }

        def key_of(judge: str | None) -> str:
            return hash_json(facts | {"judge": None if judge is None else self.model_facts(judge, models)})

        first, key = key_of(examination.judge[0] if examination.judge else None), key_of(judge)
        written = (
            None if key == first else self.task_folder("examinations", examination.bench, first) / "responses.jsonl"
        )
        work = BenchExam(examination.bench, data.path, policy.writer, written, judge, models.path)
        needs = (*policy.needs, *([] if written is None else [first]), *task_keys(data, models))
        return self.add_task(key, title, self.task_folder("examinations", examination.bench, key), work, needs)

    def _opponent(self, name: str, run: ArmRun) -> ExaminedPolicy | None:
        """The policy that an examination compares with; None if this arm has no such policy."""
        if name == INITIAL:
            return run.policies[0] if run.last > 0 else None
        if name in self._study.arms:
            other = next(it for it in self.plan.runs if it.arm == name and it.seed == run.seed)
            return other.policies[other.last]
        return self.policy_of(name, run.arm, run.seed)


def _policy_path(recipe: Recipe, step: int) -> Path:
    """Where a run stores the policy of a step: in its last checkpoint, or among the policies it keeps."""
    is_last = step == recipe.run.steps
    if recipe.engine == "cluster":
        folder = checkpoint_folder(recipe)
        if is_last:
            return folder / f"global_step_{step}" / "actor" / "huggingface"
        return policies_folder(folder) / f"step-{step:06d}"
    if is_last:
        return recipe.run_path / "checkpoints" / f"step-{step:06d}" / "policy"
    return recipe.run_path / "policies" / f"step-{step:06d}"
