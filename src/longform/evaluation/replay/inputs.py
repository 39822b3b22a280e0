"""Inputs of a replay, checked before a call is paid for: recipe, changes, prompts, judges.

A replay may change judges, rewards and curriculum rules; settings that influenced generation must match the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.curriculum.schedule import Curriculum
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.recipe.begin import changed_plugins
from longform.recipe.inputs import check_ranges, read_recorded_prompts
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.rewards.plugin import load_rewards
from longform.rewards.settings import JudgedSettings

CHANGEABLE = ("rewards", "advantages", "curriculum")
"""Sections of the recipe that a replay may change."""


@dataclass(frozen=True, slots=True)
class ReplayInputs:
    """What a replay rests on, read and checked."""

    recorded: Recipe
    replayed: Recipe
    """The recorded recipe with its changes, and without the validation, which a replay does not do."""
    changes: tuple[str, ...]
    """`KEY=VALUE`, the judge that was named among them."""
    prompts: Sequence[PromptRow]
    """Of the run: ladders, or prompts alone."""
    judges: dict[str, ModelSpec]
    """That the changed rewards ask; none where they are all measured."""
    changed_plugins: Sequence[str] = ()
    """In words, the rewards of other packages whose source has changed since the run began."""

    @property
    def have_references(self) -> bool:
        """Whether the prompts are ladders, with texts to be held against."""
        return self.recorded.data.ladders is not None

    @property
    def compare(self) -> bool:
        """Whether a reward compares with a reference on both sides, so that there are outcomes on both."""
        return self.recorded.compares and self.replayed.compares

    @property
    def have_rungs(self) -> bool:
        """Whether prompts have a rung on both sides; modes `staged` and `mixed` draw one at each visit."""
        modes = [it.curriculum.mode for it in (self.recorded, self.replayed)]
        return self.have_references and all(mode in ("dynamic", "fixed") for mode in modes)

    def curriculum(self, recipe: Recipe) -> Curriculum:
        """The curriculum of one of the two recipes before its first step.

        Raises:
            BadInputError: a ladder lacks the reference that the recipe asks for.
        """
        ladders = [(it.id, it.rungs) for it in self.prompts]
        seed, steps = recipe.run.seed, recipe.run.steps
        return Curriculum.of(ladders, recipe.curriculum, policy=recipe.policy_name, seed=seed, steps=steps)


def check_replay(
    run: RunDirectory, overrides: Sequence[str] = (), *, judge: str | None = None, models: Path | None = None
) -> ReplayInputs:
    """Read and check everything that a replay of `run` needs, without paying for a call.

    Args:
        run: open for reading.
        overrides: `KEY=VALUE`, of the sections in `CHANGEABLE`.
        judge: in place of the judge of the one reward that asks one.
        models: what the names of models mean; as the recipe says where it is None.

    Raises:
        BadInputError: an override that a replay cannot follow, a judge whose place is not clear, prompts that are gone,
            changed or lack what the changed rewards need, an unknown model name, a key that is not set, a reward of
            another package that cannot be loaded, or no step on record.
    """
    for override in overrides:
        if override.partition("=")[0].split(".")[0] not in CHANGEABLE:
            *others, last = CHANGEABLE
            raise BadInputError(
                f"--set {override}: a replay can change {', '.join(others)} and {last}, and nothing else"
            )
    recorded = load_stored_recipe(run.recipe_path, Recipe)
    changes = (*overrides, *([] if judge is None else [_judge_override(recorded, judge)]))
    # Nothing is validated here, so that the examiner may be the judge.
    replayed = load_stored_recipe(run.recipe_path, Recipe, ["validation=null", *changes])
    if not run.database.last_step():
        raise BadInputError(f"{run.path}: has no step on record to replay")
    prompts = read_recorded_prompts(run, recorded.data)
    check_ranges(prompts, replayed)
    path = models or recorded.models
    names = sorted(replayed.asked)
    specs = read_models(path) if names else {}
    judges = {name: find_model(specs, name, path=path) for name in names}
    for name, spec in judges.items():
        spec.read_key(name)
    changed = changed_plugins(run, load_rewards(replayed.rewards))
    return ReplayInputs(recorded, replayed, changes, prompts, judges, changed)


def _judge_override(recorded: Recipe, judge: str) -> str:
    """The override that `judge` is short for.

    Raises:
        BadInputError: none of the rewards asks a judge, or several do.
    """
    places = [place for place, it in enumerate(recorded.rewards) if isinstance(it, JudgedSettings)]
    meant = [f"rewards.{place}.judge={judge}" for place in places]
    if not meant:
        raise BadInputError(f"--judge {judge}: no reward of this run asks a judge; --set changes the rewards")
    if len(meant) > 1:
        choices = " or ".join(f"--set {it}" for it in meant)
        raise BadInputError(f"--judge {judge}: several rewards of this run ask a judge; say which with {choices}")
    return meant[0]
