"""What a recipe names, read and checked before a model is loaded or a call is paid for: the same for every engine."""

from dataclasses import dataclass
from pathlib import Path

from longform.curriculum.rules import starting_rung
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.interchange import is_writing_rl, read_writing_rl
from longform.records.schemas import Ladder, Prompt
from longform.writers.paths import check_model_path


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What a recipe names, read and checked."""

    ladders: list[Ladder]
    validation_prompts: list[Prompt]
    judges: dict[str, ModelSpec]


def check_inputs(recipe: Recipe) -> TrainingInputs:
    """Read and check everything that a recipe names, without loading a model or paying for a call.

    Raises:
        BadInputError: a missing or bad file, an unknown model name, a key that is not set, no model at `policy`.
    """
    specs = read_models(recipe.models)
    names = {name for reward in recipe.rewards for name in reward.judges}
    if recipe.validation is not None:
        names.add(recipe.validation.judge)
    judges = {name: find_model(specs, name, path=recipe.models) for name in sorted(names)}
    for name, spec in judges.items():
        spec.read_key(name)
    check_model_path(recipe.policy)
    ladders = read_ladders(recipe.data.ladders)
    if len(ladders) < recipe.data.per_step:
        raise BadInputError(
            f"{recipe.data.ladders}: holds {len(ladders)} ladders; data.per_step is {recipe.data.per_step}"
        )
    for ladder in ladders:
        try:
            starting_rung(ladder.references, recipe.curriculum, policy=recipe.policy_name)
        except ValueError as error:
            raise BadInputError(f"{recipe.data.ladders}: ladder {ladder.id}: {error}") from None
    prompts = list(read_rows(recipe.validation.prompts, Prompt)) if recipe.validation else []
    return TrainingInputs(ladders, prompts, judges)


def read_ladders(path: Path) -> list[Ladder]:
    """Ladders of a file that `longform select` wrote, or of the released Writing-RL code's Parquet.

    Raises:
        BadInputError: the file is neither, or has a bad row.
    """
    if path.suffix == ".parquet" and is_writing_rl(path):
        return list(read_writing_rl(path))
    return list(read_rows(path, Ladder))
