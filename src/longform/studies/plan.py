"""The plan of a study: every task, named by a hash of all that its result depends on.

Tasks with equal settings and inputs are one task, so arms share what they have in common, and a changed study file makes
only what is new.
"""

from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

from longform.planning.cluster import checkpoint_folder, policies_folder
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.resume import hash_json
from longform.studies.examine import AnswerExam, BenchExam, CompareExam, EloExam, GradeExam
from longform.studies.settings import SftStep, Study, StudyExamination
from longform.studies.steps import StepPlanner, hash_external, needs_of, references, replaced, texts_of, validated
from longform.studies.tasks import ArmRun, ExaminedPolicy, Measurement, StudyFile, StudyPlan
from longform.studies.work import GradeWork, TrainWork, Work

OPERATION = {"name", "folder", "checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "keep_policies"} | {
    "budget",
    "track",
    "show_every",
}
"""Keys of a recipe's section `run` that leave its policies as they are."""
BEFORE = "start"
"""`compare: start`."""


def plan_study(study: Study, folder: Path, *, source: Path, needs_files: bool = True) -> StudyPlan:
    """Plan a study; nothing is made.

    Args:
        study: The study.
        folder: Where everything goes.
        source: The study file, beside which its recipes are looked for.
        needs_files: Whether the study's own files must be there; an estimate does without.

    Raises:
        BadInputError: a recipe, an override or a reference cannot be used; the message names the arm and the key.
    """
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
                if key is not None:
                    is_last, prompts = step == run.last, None
                    if examination.where and examination.prompts is not None:
                        prompts = self.made(examination.prompts, run.arm, run.seed).path
                    self.plan.measurements.append(
                        Measurement(
                            column,
                            run.arm,
                            run.seed,
                            step,
                            is_last,
                            key,
                            examination.metric,
                            examination.where,
                            prompts,
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
        made = self.fine_tuning(arm, arm, validated(SftStep, settings, place="sft"), seed)
        policy = ExaminedPolicy(
            made.key, made.needs, self.local_writer(str(made.path), arm, self.writing_recipe(arm, seed))
        )
        return ArmRun(arm, seed, {0: policy}, 0, None, made.key)

    def _trained(self, arm: str, seed: int) -> ArmRun:
        values = self.recipe_values(arm)
        made = {name: self.reference(name, arm, seed) for name in references(values)}
        keep = self._kept_steps()

        def load(paths: Mapping[str, str], more: Mapping[str, Any]) -> Recipe:
            return self.load_recipe(arm, {**replaced(values, paths), "run.seed": seed, **more})

        plain = load({name: f"made:{it.key}" for name, it in made.items()}, {})
        # Without defaults: what a study has made stays valid in a version with new keys (`check_study` compares defaults).
        content = plain.model_dump(mode="json", exclude={"models": True, "run": OPERATION}, exclude_defaults=True)
        models = self.models(arm, seed)
        asked = {name: self.answers_of(name, models) for name in plain.asked_with_validation}
        key = hash_json({"train": content, "keep": keep, "files": hash_external(plain), "asked": asked})
        folder = self.folder_of("runs", f"{arm}-seed{seed}", key)
        placed = {"run.name": folder.name, "run.folder": str(folder.parent), "models": str(models.path)}
        if keep is not None:
            placed |= {"run.keep_policies": gcd(keep, plain.run.keep_policies or 0)}
        recipe = load({name: str(it.path) for name, it in made.items()}, placed)
        needs = needs_of(*made.values(), models)
        self.add(key, f"{arm}, seed {seed}: training", recipe.run_path, TrainWork(recipe), needs)
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
        """The steps between the policies that examinations need; None if they need only the first and the last."""
        steps = [it.between for it in self._study.examine if it.metric is None and it.between]
        return gcd(*steps) if steps else None

    # Examinations

    def _examine(
        self, column: str, examination: StudyExamination, judge: str | None, run: ArmRun, policy: ExaminedPolicy
    ) -> str | None:
        """Plan one examination of one policy; None if the policy would be compared with itself."""
        title = f"{run.arm}, seed {run.seed}: {column}"
        if examination.bench is not None:
            return self._bench(examination, judge, run, policy, title)
        assert examination.prompts is not None, "checked by StudyExamination"
        prompts, models = self.made(examination.prompts, run.arm, run.seed), self.models(run.arm, run.seed)

        def write(policy: ExaminedPolicy) -> StudyFile:
            return self.write(
                policy,
                prompts,
                arm=run.arm,
                seed=run.seed,
                samples=examination.samples,
                limit=examination.limit,
                title=f"{run.arm}, seed {run.seed}: responses of {policy.writer.name}",
            )

        mine = write(policy)
        if examination.answer is not None:
            key = hash_json({"answer": mine.key, "prompts": prompts.key, "form": examination.answer})
            folder = self.folder_of("examinations", column, key)
            work: Work = AnswerExam(mine.path, prompts.path, examination.answer)
            return self.add(key, title, folder, work, needs_of(mine, prompts))
        assert judge is not None, "checked by StudyExamination"
        asked = {"prompts": prompts.key, "judge": self.answers_of(judge, models)}
        if examination.grade:
            key = hash_json({"grade": mine.key} | asked)
            folder = self.folder_of("examinations", column, key)
            out = folder / "grades.jsonl"
            work = GradeExam(GradeWork((mine.path,), prompts.path, judge, models.path, False, out))
            return self.add(key, title, folder, work, needs_of(mine, prompts, models))
        if examination.compare is not None:
            opponent = self._opponent(examination.compare, run)
            if opponent is None or opponent.key == policy.key:
                return None
            other = write(opponent)
            key = hash_json({"compare": mine.key, "with": other.key} | asked)
            work = CompareExam(mine.path, other.path, prompts.path, judge, models.path)
            folder = self.folder_of("examinations", column, key)
            return self.add(key, title, folder, work, needs_of(mine, other, prompts, models))
        ratings = examination.elo or {}
        others = {name: write(self.policy_of(name, run.arm, run.seed)) for name in ratings}
        key = hash_json({"elo": mine.key, "with": {name: it.key for name, it in others.items()}} | asked)
        paths = {name: it.path for name, it in others.items()}
        work = EloExam(mine.path, paths, ratings, prompts.path, judge, models.path)
        folder = self.folder_of("examinations", column, key)
        return self.add(key, title, folder, work, needs_of(mine, *others.values(), prompts, models))

    def _bench(
        self, examination: StudyExamination, judge: str | None, run: ArmRun, policy: ExaminedPolicy, title: str
    ) -> str:
        assert examination.bench is not None, "of a benchmark"
        assert examination.data is not None, "checked by StudyExamination"
        models, data = self.models(run.arm, run.seed), self.made(str(examination.data), run.arm, run.seed)
        facts = {
            "bench": examination.bench,
            "data": data.key,
            "policy": policy.key,
            "writer": texts_of(policy.writer, self.plan.folder),
        }

        def key_of(judge: str | None) -> str:
            return hash_json(facts | {"judge": None if judge is None else self.answers_of(judge, models)})

        first, key = key_of(examination.judge[0] if examination.judge else None), key_of(judge)
        written = None if key == first else self.folder_of("examinations", examination.bench, first) / "responses.jsonl"
        work = BenchExam(examination.bench, data.path, policy.writer, written, judge, models.path)
        needs = (*policy.needs, *([] if written is None else [first]), *needs_of(data, models))
        return self.add(key, title, self.folder_of("examinations", examination.bench, key), work, needs)

    def _opponent(self, name: str, run: ArmRun) -> ExaminedPolicy | None:
        """The policy that an examination compares with; None if this arm has no such policy."""
        if name == BEFORE:
            return run.policies[0] if run.last > 0 else None
        if name in self._study.arms:
            other = next(it for it in self.plan.runs if it.arm == name and it.seed == run.seed)
            return other.policies[other.last]
        return self.policy_of(name, run.arm, run.seed)


def _policy_path(recipe: Recipe, step: int) -> Path:
    """Where a run leaves the policy of a step, or will: kept for good, or in its last checkpoint."""
    is_last = step == recipe.run.steps
    if recipe.engine == "cluster":
        folder = checkpoint_folder(recipe)
        if is_last:
            return folder / f"global_step_{step}" / "actor" / "huggingface"
        return policies_folder(folder) / f"step-{step:06d}"
    if is_last:
        return recipe.run_path / "checkpoints" / f"step-{step:06d}" / "policy"
    return recipe.run_path / "policies" / f"step-{step:06d}"
