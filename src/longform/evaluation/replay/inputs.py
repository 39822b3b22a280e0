"""Inputs of a replay, checked before any call: recipe, changes, prompts, judges.

A replay may change judges, rewards and curriculum rules; settings that influenced generation must match the record.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.curriculum.schedule import Curriculum
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.recipe.begin import changed_plugins
from longform.recipe.inputs import check_answers, check_plans, check_ranges, new_curriculum, read_recorded_prompts
from longform.recipe.loading import load_stored_recipe, removed_values
from longform.recipe.recipe import Recipe
from longform.recipe.renamed import replaced_values
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.rewards.plugin import load_rewards
from longform.rewards.settings import GroupSettings, JudgedSettings, PairwiseSettings
from longform.statistics.group_games import ComparisonMethod

CHANGEABLE = ("rewards", "advantages", "curriculum")
"""Sections of the recipe that a replay may change."""
CHANGEABLE_KEYS = ("data.flat_groups",)
"""Single keys of other sections that it may change, too."""

_OF_PAIRS = ("position", "combine")
"""Keys of rewards that compare two texts at a time."""


@dataclass(frozen=True, slots=True)
class ReplayInputs:
    """The checked inputs of a replay."""

    recorded: Recipe
    replayed: Recipe
    """The recorded recipe with its changes and without validation, which a replay does not run."""
    changes: tuple[str, ...]
    """Overrides `KEY=VALUE`, including that of --judge."""
    prompts: Sequence[PromptRow]
    """The run's prompts or ladders."""
    judges: dict[str, ModelSpec]
    """Judges of the changed rewards; empty if no reward uses a judge."""
    changed_plugins: Sequence[str] = ()
    """Rewards of other packages whose source has changed since the run was started, formatted."""
    removed: Sequence[str] = ()
    """Settings of the run's rewards that are gone, formatted; the replayed rewards are computed without them."""

    @property
    def have_references(self) -> bool:
        """Whether the prompts are ladders, with references."""
        return self.recorded.data.has_ladders

    @property
    def compare(self) -> bool:
        """Whether both recipes have a reward that compares with a reference, so that there are outcomes on both sides."""
        return self.recorded.compares and self.replayed.compares

    @property
    def have_rungs(self) -> bool:
        """Whether prompts have a persistent rung on both sides; modes `staged` and `mixed` draw one at each visit."""
        modes = [it.curriculum.mode for it in (self.recorded, self.replayed)]
        return self.have_references and all(mode in ("dynamic", "fixed") for mode in modes)

    def curriculum(self, recipe: Recipe) -> Curriculum:
        """Create the curriculum of one of the two recipes before its first step.

        Raises:
            BadInputError: a ladder does not contain the reference that the recipe names.
        """
        return new_curriculum(recipe, self.prompts)


def check_replay(
    run: RunDirectory,
    overrides: Sequence[str] = (),
    *,
    judge: str | None = None,
    by: ComparisonMethod | None = None,
    models: Path | None = None,
) -> ReplayInputs:
    """Read and check everything that a replay of `run` needs, without any call.

    Args:
        run: Run directory, open for reading.
        overrides: `KEY=VALUE` in the sections of `CHANGEABLE`.
        judge: Replaces the judge of the only reward with a judge.
        by: Compares the responses of a group in this way, in place of the pairwise or group reward.
        models: Path to models.yaml; None uses the recipe's.

    Raises:
        BadInputError: an override cannot be replayed, `judge` or `by` is ambiguous, prompts are missing, changed or lack
            what the changed rewards need, a model is unknown, a key is not set, a plugin reward cannot be loaded, or the
            run has no steps.
    """
    for override in overrides:
        key = override.partition("=")[0]
        if key.split(".")[0] not in CHANGEABLE and key not in CHANGEABLE_KEYS:
            *others, last = CHANGEABLE
            raise BadInputError(f"--set {override}: a replay can only change {', '.join(others)} and {last}")
    recorded = load_stored_recipe(run.recipe_path, Recipe)
    changes = (
        *([] if by is None else _by_overrides(recorded, by)),
        *overrides,
        *([] if judge is None else [_judge_override(recorded, judge)]),
    )
    # Validation is not replayed, so the examiner may be used as the judge.
    replayed = load_stored_recipe(run.recipe_path, Recipe, ["validation=null", *changes])
    if not run.database.last_step():
        raise BadInputError(f"{run.path}: has no recorded step to replay")
    prompts = read_recorded_prompts(run, recorded.data)
    check_ranges(prompts, replayed)
    check_answers(prompts, replayed)
    check_plans(prompts, replayed)
    path = models or recorded.models
    names = sorted(replayed.asked)
    specs = read_models(path) if names else {}
    judges = {name: find_model(specs, name, path=path) for name in names}
    for name, spec in judges.items():
        spec.read_key(name)
    changed = changed_plugins(run, load_rewards(replayed.rewards))
    gone = removed_values(run.recipe_path)
    present = replaced_values(recorded.resolved.model_dump(mode="json"), gone)
    removed = [f"{key} {value}" for key, value in gone.items() if key.startswith("rewards.") and value != present[key]]
    return ReplayInputs(recorded, replayed, changes, prompts, judges, changed, removed)


def _by_overrides(recorded: Recipe, by: ComparisonMethod) -> list[str]:
    """Return the overrides that `by` is short for: a group reward in place of the pairwise or group reward.

    With `anchors`, which has verdicts against the reference, the best response is not compared with it once more.

    Raises:
        BadInputError: no reward compares two texts, or several do.
    """
    found = [index for index, it in enumerate(recorded.rewards) if isinstance(it, PairwiseSettings | GroupSettings)]
    if len(found) != 1:
        how_many = "several rewards" if found else "no reward"
        raise BadInputError(
            f"--by {by}: {how_many} of this run compare{'' if found else 's'} texts; change the rewards with --set"
        )
    reward = recorded.rewards[found[0]]
    assert isinstance(reward, PairwiseSettings | GroupSettings)
    kept = {"judge", "weight", "sources", "samples", "max_judge_failure_rate"}
    kept |= {*(() if by == "list" else _OF_PAIRS), *(["anchors"] if by == "anchors" else [])}
    values = reward.model_dump(mode="json", include=kept)
    override = f"rewards.{found[0]}={json.dumps({'kind': 'group', 'by': by, **values}, ensure_ascii=False)}"
    asks_twice = by == "anchors" and recorded.curriculum.promote_by == "sample"
    return [override, *(["curriculum.promote_by=verdicts"] if asks_twice else [])]


def _judge_override(recorded: Recipe, judge: str) -> str:
    """Return the override that `judge` is short for.

    Raises:
        BadInputError: no reward has a judge, or several have one.
    """
    indices = [index for index, it in enumerate(recorded.rewards) if isinstance(it, JudgedSettings)]
    settings = [f"rewards.{index}.judge={judge}" for index in indices]
    if not settings:
        raise BadInputError(f"--judge {judge}: no reward of this run has a judge; change the rewards with --set")
    if len(settings) > 1:
        choices = " or ".join(f"--set {it}" for it in settings)
        raise BadInputError(f"--judge {judge}: several rewards of this run have a judge; use {choices}")
    return settings[0]
