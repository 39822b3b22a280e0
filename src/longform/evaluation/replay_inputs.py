"""What a replay of a run rests on, read and checked before a call is paid for: recipe, changes, ladders, judges.

Only rewards and curriculum may differ from the record: everything else decided which texts were written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.curriculum.schedule import Curriculum
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.recipe.inputs import read_ladders
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder
from longform.rewards.settings import PairwiseSettings

CHANGEABLE = ("rewards", "curriculum")
"""Sections of the recipe that a replay may change."""


@dataclass(frozen=True, slots=True)
class ReplayInputs:
    """What a replay rests on, read and checked."""

    recorded: Recipe
    replayed: Recipe
    """The recorded recipe with its changes, and without the validation, which a replay does not do."""
    ladders: list[Ladder]
    judges: dict[str, ModelSpec]

    @property
    def compare(self) -> bool:
        """Whether both rewards compare with a reference, so that there are outcomes on both sides."""
        return all(isinstance(it.rewards[0], PairwiseSettings) for it in (self.recorded, self.replayed))

    @property
    def have_rungs(self) -> bool:
        """Whether a prompt stands on a rung on both sides; modes `staged` and `mixed` draw one at each visit."""
        return all(it.curriculum.mode in ("dynamic", "fixed") for it in (self.recorded, self.replayed))

    def curriculum(self, recipe: Recipe) -> Curriculum:
        """The curriculum of one of the two recipes before its first step.

        Raises:
            BadInputError: a ladder lacks the reference that the recipe asks for.
        """
        return Curriculum.of(
            self.ladders, recipe.curriculum, policy=recipe.policy_name, seed=recipe.run.seed, steps=recipe.run.steps
        )


def check_replay(
    run: RunDirectory, overrides: Sequence[str] = (), *, judge: str | None = None, models: Path | None = None
) -> ReplayInputs:
    """Read and check everything that a replay of `run` needs, without paying for a call.

    Args:
        run: open for reading.
        overrides: `KEY=VALUE`, of the sections `rewards` and `curriculum`.
        judge: short for `rewards.0.judge=JUDGE`.
        models: what the names of models mean; as the recipe says where it is None.

    Raises:
        BadInputError: an override that a replay cannot follow, ladders that are gone or changed, an unknown model name, a
            key that is not set, or no step on record.
    """
    for override in overrides:
        if override.partition("=")[0].split(".")[0] not in CHANGEABLE:
            raise BadInputError(f"--set {override}: a replay can change {' and '.join(CHANGEABLE)}, and nothing else")
    changes = [*overrides] if judge is None else [*overrides, f"rewards.0.judge={judge}"]
    recorded = load_recipe(run.recipe_path, Recipe)
    # Nothing is validated here, so that the examiner may be the judge.
    replayed = load_recipe(run.recipe_path, Recipe, ["validation=null", *changes])
    if not run.database.last_step():
        raise BadInputError(f"{run.path}: has no step on record to replay")
    ladders = _recorded_ladders(run, recorded.data.ladders)
    path = models or recorded.models
    specs = read_models(path)
    judges = {name: find_model(specs, name, path=path) for name in replayed.rewards[0].judges}
    for name, spec in judges.items():
        spec.read_key(name)
    return ReplayInputs(recorded, replayed, ladders, judges)


def _recorded_ladders(run: RunDirectory, path: Path) -> list[Ladder]:
    """The ladders that the run climbed."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInputError(f"{path}: the run's ladders cannot be read: {error.strerror}") from error
    if run.database.fact("ladders") != digest:
        raise BadInputError(f"{path}: has changed since the run began; its rungs belong to the old file")
    ladders = read_ladders(path)
    if len({ladder.id for ladder in ladders}) < len(ladders):
        raise BadInputError(f"{path}: several ladders have one id, so a replay cannot tell whose rollouts are whose")
    return ladders
