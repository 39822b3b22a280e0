"""Reads and checks everything that a recipe refers to, for any engine, before a model is loaded or a call is paid for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.curriculum.criteria import scored_criteria
from longform.curriculum.schedule import Curriculum, most_of_source, starting_rung
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.judging.judge_template import CRITERION_SLOTS, PAIRWISE_SLOTS, POINTWISE_SLOTS, Slots, read_template
from longform.judging.listwise import check_can_list
from longform.judging.pointwise import check_criteria, check_no_constraints
from longform.recipe.recipe import DataSettings, Recipe
from longform.records.adapting import Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.interchange import read_training_prompts
from longform.records.resume import check_files, hash_file
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt, PromptRow, source_of, with_source
from longform.rewards.likelihood import check_continuations
from longform.rewards.measured import expected_answers
from longform.rewards.plugin import load_rewards
from longform.rewards.settings import (
    AnswerSettings,
    FormatSettings,
    GroupSettings,
    JudgedSettings,
    LengthSettings,
    LikelihoodSettings,
    PairwiseSettings,
    PointwiseSettings,
    WritingSettings,
)
from longform.rewards.slop_lists import SlopLists
from longform.rewards.writing_model import check_prompts_fit, check_writing_model
from longform.text.words import is_countable
from longform.writers.paths import check_model_path


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """The inputs of a run, read and checked."""

    prompts: Sequence[PromptRow]
    """Training data: ladders or prompts."""
    validation_prompts: list[Prompt]
    judges: dict[str, ModelSpec]


def check_inputs(recipe: Recipe) -> TrainingInputs:
    """Read and check everything that a recipe refers to, without loading a model or paying for a call.

    Rewards of other packages are imported.

    Raises:
        BadInputError: a file is missing or invalid, a model name is unknown, an API key is not set, `policy` is not a model,
            or a reward of another package cannot be imported or called.
    """
    load_rewards(recipe.rewards)
    names = recipe.asked
    if recipe.validation is not None:
        names.add(recipe.validation.judge)
    specs = read_models(recipe.models) if names else {}
    judges = {name: find_model(specs, name, path=recipe.models) for name in sorted(names)}
    for name, spec in judges.items():
        spec.read_key(name)
        spec.read_headers(name)
        if spec.batch:
            raise BadInputError(f"{recipe.models}: {name}.batch: a training run cannot wait for batches; leave it out")
        if recipe.run.budget is not None and spec.prices is None:
            raise BadInputError(
                f"run.budget: {recipe.models} has no prices for {name!r}, so the budget cannot be enforced"
            )
    _check_judges(recipe, judges)
    _check_templates(recipe, judges)
    check_model_path(recipe.policy)
    rows = _read_training_prompts(recipe)
    held_out = recipe.validation
    prompts = list(read_rows(held_out.prompts, Prompt, Reading.of_recipe(held_out.columns))) if held_out else []
    if recipe.validation is not None:
        for prompt in prompts:
            check_criteria(prompt, per_criterion=recipe.validation.per_criterion)
    for reward in recipe.rewards:
        if isinstance(reward, PointwiseSettings):
            for row in rows:
                if reward.applies_to(source_of(row)):
                    check_criteria(row, per_criterion=reward.per_criterion)
    if recipe.validation is not None and recipe.validation.without_criteria and not any(it.criteria for it in prompts):
        raise BadInputError(
            f"validation.without_criteria: no prompt of {recipe.validation.prompts} has criteria; longform criteria writes "
            "them"
        )
    _check_constraints(recipe, judges, rows, prompts)
    _check_schedule_of_criteria(recipe, judges, rows)
    seen = {(row.id, row.request) for row in rows}
    trained = [prompt.id for prompt in prompts if (prompt.id, prompt.request) in seen]
    if trained and recipe.validation:
        raise BadInputError(
            f"{recipe.validation.prompts}: {len(trained)} of {len(prompts)} prompts are also in the training data, "
            f"such as {trained[0]!r}; validate on held-out prompts"
        )
    return TrainingInputs(rows, prompts, judges)


def _read_training_prompts(recipe: Recipe) -> Sequence[PromptRow]:
    """The training data, checked for everything that rewards and curriculum need."""
    data = recipe.data
    rows = read_prompts(data)
    if len(rows) < data.per_step:
        raise BadInputError(f"{data.shown_path}: has {len(rows)} prompts, fewer than data.per_step ({data.per_step})")
    counts = Counter(source_of(row) for row in rows)
    for source in data.sources:
        needed = most_of_source(data.per_step, data.share([source.name]))
        if counts[source.name] < needed:
            raise BadInputError(
                f"{source.path}: has {counts[source.name]} prompts, and a step may need {needed} from {source.name!r}; "
                "lower its weight or data.per_step"
            )
    for row in rows:
        try:
            if row.rungs:
                starting_rung(row.rungs, recipe.curriculum, policy=recipe.policy_name)
        except ValueError as error:
            raise BadInputError(f"{data.path_of(source_of(row))}: ladder {row.id}: {error}") from None
    check_ranges(rows, recipe)
    check_answers(rows, recipe)
    check_plans(rows, recipe)
    for it in recipe.rewards:
        if isinstance(it, FormatSettings) and it.slop_list is not None:
            SlopLists.read(it.slop_list)
        if isinstance(it, WritingSettings):
            for model in it.models:
                check_writing_model(model)
                asked = [row for row in rows if it.applies_to(source_of(row))]
                check_prompts_fit(model, asked, max_tokens=it.max_tokens, source=data.parts[0].path)
    return rows


def read_prompts(data: DataSettings) -> list[PromptRow]:
    """Read the training data; with several sources, every prompt knows its own (`schemas.source_of`).

    Raises:
        BadInputError: a file cannot be read or has an invalid row, or two sources have a prompt of one id.
    """
    if not data.sources:
        return read_training_prompts(data.ladders, data.prompts, data.columns)
    rows: dict[str, PromptRow] = {}
    for part in data.sources:
        for row in read_training_prompts(part.ladders, part.prompts, part.columns):
            if row.id in rows:
                first = data.path_of(source_of(rows[row.id]))
                raise BadInputError(
                    f"{part.path}: prompt {row.id}: its id is also in {first}; ids are unique over all sources"
                )
            rows[row.id] = with_source(row, part.name)
    return list(rows.values())


def new_curriculum(recipe: Recipe, prompts: Sequence[PromptRow]) -> Curriculum:
    """The curriculum of a run at its start.

    Raises:
        BadInputError: a ladder does not contain the reference that the settings name.
    """
    numbers = {it.name: number for number, it in enumerate(recipe.data.sources)}
    return Curriculum.of(
        [(it.id, it.rungs) for it in prompts],
        recipe.curriculum,
        policy=recipe.policy_name,
        seed=recipe.run.seed,
        steps=recipe.run.steps,
        sources=[numbers[str(source_of(it))] for it in prompts] if numbers else None,
        shares=[it.weight for it in recipe.data.sources],
        criteria=[len(scored_criteria(it)) for it in prompts] if recipe.curriculum.criteria != "all" else (),
    )


def read_recorded_prompts(run: RunDirectory, data: DataSettings) -> Sequence[PromptRow]:
    """The training data of a run.

    Raises:
        BadInputError: the file is missing or has changed, or ids are not unique.
    """
    for fact, path in prompt_files(data).items():
        try:
            digest = hash_file(path)
        except OSError as error:
            raise BadInputError(
                f"{path}: the prompts of the run cannot be read: {error.strerror}; run the command where the run was made"
            ) from error
        stored = {str(path): run.database.fact(fact) or ""}
        check_files("the run", stored, {str(path): digest}, remedy="its records belong to the old content")
    return read_prompts(data)


def prompt_files(data: DataSettings) -> dict[str, Path]:
    """The files of prompts, by the names of the facts that hold their hashes."""
    if not data.sources:
        return {"prompts": data.parts[0].path}
    return {f"prompts/{it.name}": it.path for it in data.sources}


def check_ranges(rows: Sequence[PromptRow], recipe: Recipe) -> None:
    """Check that every prompt has a length range that the length reward can use.

    Raises:
        BadInputError: a prompt has none, or one that reaches `max_words`, or its language cannot be counted.
    """
    for it in recipe.rewards:
        if not isinstance(it, LengthSettings):
            continue
        for row in rows:
            if not it.applies_to(source_of(row)):
                continue
            place = f"{recipe.data.path_of(source_of(row))}: prompt {row.id}"
            if row.length_range is None:
                raise BadInputError(f"{place}: has no length_range, which the length reward needs")
            if not is_countable(row.request):
                raise BadInputError(
                    f"{place}: the words of its language cannot be counted, which the length reward needs (scripts without "
                    "blanks, such as Thai); leave the prompt out, or train without rewards.length"
                )
            if not row.length_range[1]:
                raise BadInputError(f"{place}: its length_range ends at 0; leave it out")
            if it.max_words is not None and row.length_range[1] >= it.max_words:
                raise BadInputError(
                    f"{place}: its length_range ends at {row.length_range[1]}; "
                    f"rewards.length.max_words, where the length reward reaches 0, is {it.max_words}"
                )


def check_answers(rows: Sequence[PromptRow], recipe: Recipe) -> None:
    """Check that every prompt states the answer that the answer reward expects.

    Raises:
        BadInputError: a prompt has none, or one that is not well-formed.
    """
    for it in recipe.rewards:
        if not isinstance(it, AnswerSettings):
            continue
        for row in rows:
            try:
                if it.applies_to(source_of(row)):
                    expected_answers(row, it.form)
            except ValueError as error:
                raise BadInputError(f"{recipe.data.path_of(source_of(row))}: prompt {row.id}: {error}") from None


def check_plans(rows: Sequence[PromptRow], recipe: Recipe) -> None:
    """Check what the likelihood reward reads; see `check_continuations`.

    Raises:
        BadInputError: its model or template cannot be used, no prompt has a continuation, or one does not fit.
    """
    for it in recipe.rewards:
        if isinstance(it, LikelihoodSettings):
            check_continuations(
                it,
                [row for row in rows if it.applies_to(source_of(row))],
                policy=recipe.policy,
                plan_tokens=recipe.generation.max_tokens,
                source=recipe.data.path_of(it.sources[0] if it.sources else None),
                trust_remote_code=recipe.trust_remote_code,
            )


def _check_templates(recipe: Recipe, judges: Mapping[str, ModelSpec]) -> None:
    """Check that the judges' own templates can ask what they are asked."""
    asked: list[tuple[str, Slots | None]] = []
    for it in recipe.judged:
        if isinstance(it, GroupSettings) and it.by == "list":
            for name in it.judges:
                check_can_list(name, judges[name])
        asked += [(name, _slots(it)) for name in it.judges]
    if recipe.validation is not None:
        slots = CRITERION_SLOTS if recipe.validation.per_criterion else POINTWISE_SLOTS
        asked.append((recipe.validation.judge, slots))
    for name, slots in asked:
        read_template(name, judges[name], slots)


def _check_constraints(
    recipe: Recipe, judges: Mapping[str, ModelSpec], rows: Sequence[PromptRow], held_out: Sequence[PromptRow]
) -> None:
    """Check that hard constraints are asked about by judges that can: one's own template has a score alone."""
    asked: list[tuple[str, Sequence[PromptRow]]] = []
    for it in recipe.rewards:
        if isinstance(it, PointwiseSettings) and not it.per_criterion:
            asked += [(name, [row for row in rows if it.applies_to(source_of(row))]) for name in it.judges]
    if recipe.validation is not None and not recipe.validation.per_criterion:
        asked.append((recipe.validation.judge, held_out))
    for name, graded in asked:
        if judges[name].template is not None:
            for row in graded:
                check_no_constraints(row, name)


def _check_schedule_of_criteria(recipe: Recipe, judges: Mapping[str, ModelSpec], rows: Sequence[PromptRow]) -> None:
    """Check that there are criteria to choose from, and that judges score by each of them."""
    if recipe.curriculum.criteria == "all":
        return
    key = f"curriculum.criteria: {recipe.curriculum.criteria}"
    for it in recipe.rewards:
        if isinstance(it, PointwiseSettings) and not it.per_criterion:
            for name in it.judges:
                if judges[name].template is not None:
                    raise BadInputError(f"{key}: {name} has a template of its own; set rewards.pointwise.per_criterion")
    if not any(scored_criteria(row) for row in rows):
        raise BadInputError(
            f"{key}: no prompt of {recipe.data.shown_path} has a list of criteria; longform criteria writes them"
        )


def _slots(reward: JudgedSettings) -> Slots | None:
    if isinstance(reward, GroupSettings) and reward.by == "list":
        return None
    if isinstance(reward, PairwiseSettings | GroupSettings):
        return PAIRWISE_SLOTS
    return CRITERION_SLOTS if reward.per_criterion else POINTWISE_SLOTS


def _check_judges(recipe: Recipe, judges: Mapping[str, ModelSpec]) -> None:
    """Check that no model is used twice under different names.

    Raises:
        BadInputError: a model has two votes in a panel, or is both judge and examiner.
    """
    asked = [*(it.judges for it in recipe.judged), *(it.endpoints for it in recipe.served)]
    for names in asked:
        seen: dict[tuple[str, str], str] = {}
        for name in names:
            same = seen.setdefault((judges[name].base_url, judges[name].model), name)
            if same != name:
                raise BadInputError(f"rewards: {same!r} and {name!r} are the same model in {recipe.models}")
        if recipe.validation is not None and not recipe.validation.same_judge:
            examiner = judges[recipe.validation.judge]
            rewarder = seen.get((examiner.base_url, examiner.model))
            if rewarder is not None:
                names = f"{recipe.validation.judge!r} and {rewarder!r}, which gives the reward,"
                raise BadInputError(
                    f"validation.judge: {names} are the same model in {recipe.models}; "
                    "choose another, or set validation.same_judge: true"
                )
