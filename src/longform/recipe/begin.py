"""Begins a run, or checks that a run is resumed with the recipe and the files that it was begun with."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from longform.endpoints.models import find_model, read_models
from longform.plugins import Plugin, shown_path
from longform.recipe.inputs import prompt_files
from longform.recipe.loading import dump_recipe, load_stored_recipe, removed_values
from longform.recipe.recipe import MINI_BATCH, Recipe
from longform.recipe.renamed import replaced_values
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.resume import check_files, check_resume, flatten, hash_file, hash_model_folder
from longform.records.run_directory import RunDirectory
from longform.rewards.likelihood import frozen_model
from longform.rewards.plugin import load_rewards
from longform.rewards.settings import FormatSettings, LikelihoodSettings, WritingSettings
from longform.rl.settings import POLICY_WARMUP
from longform.version import __version__
from longform.wording import CURRENT, VERSIONS, Wording, load_wording
from longform.writers.paths import models_below

CHANGEABLE = (
    "device",
    "run.name",
    "run.folder",
    "run.budget",
    "run.checkpoint_minutes",
    "run.keep_checkpoints",
    "run.keep_policies",
    "run.track",
    "run.show_every",
    "rewards.max_judge_failure_rate",
    "memory.limit_gb",
    "memory.max_tokens_per_microbatch",
    "memory.gradient_checkpointing",
    "cluster.stall_timeout_hours",
)
"""Keys that may differ when a run is resumed: they change no weight, except through the order of summation. A run's
folder may have been renamed or moved, as may files and folders whose content is held by hash (`_unchanged_paths`)."""

STARTED, MADE_WITH = "started", "longform"
"""Names of the facts that hold when a run began, and the version that began it."""
_WORDING = "wording"
"""Name of the fact that holds the version of the wording."""


def begin_run(run: RunDirectory, recipe: Recipe, *, resume: bool) -> Wording:
    """Write the resolved recipe into a new run; compare recipe and files with those of a run that is resumed.

    A run that stopped before its first step holds nothing worth keeping, and begins again.

    Returns:
        The wording of the run's questions and think prompt, which stays the one that it began with.

    Raises:
        BadInputError: the run exists and `resume` is False, it was begun with another recipe or other files, or a reward
            of another package cannot be loaded or has changed.
    """
    basis = _Basis.of(recipe)
    if run.database.last_step() > 0:
        _check_begun(run, recipe, basis, resume=resume)
    else:
        run.database.set_fact(_WORDING, str(CURRENT))
        run.database.set_fact(STARTED, f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC")
        run.database.set_fact(MADE_WITH, __version__)
    for name, digest in basis.hashes.items():
        run.database.set_fact(name, digest)
    for name, plugin in basis.plugins.items():
        run.database.set_fact(_plugin_fact(name), json.dumps(plugin.facts))
    for name, value in basis.made_with.items():
        run.database.set_fact(_made_with_fact(name), json.dumps(value, ensure_ascii=False))
    write_text(run.recipe_path, dump_recipe(recipe.resolved))
    return run_wording(run)


def check_begin(recipe: Recipe, *, resume: bool) -> None:
    """Check that `begin_run` can begin or continue the run of a recipe; writes nothing.

    Raises:
        BadInputError: it cannot, or there is no run to resume.
    """
    if not recipe.run_path.exists():
        if resume:
            raise BadInputError(f"{recipe.run_path}: no such run to resume")
        return
    if not RunDirectory(recipe.run_path).database_path.exists():
        return
    with RunDirectory.read(recipe.run_path) as run:
        if run.database.last_step() > 0:
            _check_begun(run, recipe, _Basis.of(recipe), resume=resume)


class _Basis(NamedTuple):
    """What a run rests on, beside the values of its recipe."""

    plugins: Mapping[str, Plugin]
    made_with: Mapping[str, Any]
    files: Mapping[str, Path]
    hashes: Mapping[str, str]
    """Of the files, by the same names."""

    @classmethod
    def of(cls, recipe: Recipe) -> "_Basis":
        plugins, made_with, files = load_rewards(recipe.rewards), _made_with(recipe), _files(recipe)
        return cls(plugins, made_with, files, {name: hash_file(path) for name, path in files.items()})


def _check_begun(run: RunDirectory, recipe: Recipe, basis: _Basis, *, resume: bool) -> None:
    """Refuse to begin a run with steps anew, or to continue it with something else than it began with."""
    if not run.recipe_path.exists():
        raise BadInputError(
            f"{run.recipe_path}: is missing, so the settings of the run's {run.database.last_step()} steps are unknown; "
            "restore it, or choose another run.name"
        )
    if not resume:
        raise BadInputError(f"{run.path}: this run exists; continue it with --resume, or choose another run.name")
    stored = _as_it_ran(load_stored_recipe(run.recipe_path, Recipe)).model_dump(mode="json")
    present = recipe.resolved.model_dump(mode="json")
    removed = removed_values(run.recipe_path)
    check_resume(
        str(run.recipe_path),
        flatten(stored) | removed,
        flatten(present) | replaced_values(present, removed),
        remedy="a run can only be resumed with its own settings; to continue with others, start a new run whose "
        "`policy` is the newest checkpoint's",
        changeable=CHANGEABLE,
        unchanged=_unchanged_paths(run, recipe, basis),
    )
    check_files(
        "the run",
        {str(path): run.database.fact(name) or "" for name, path in basis.files.items()},
        {str(path): basis.hashes[name] for name, path in basis.files.items()},
        remedy="its records belong to the old content",
    )
    _check_made_with(run, basis.made_with)
    if changed := changed_plugins(run, basis.plugins):
        raise BadInputError(
            f"{changed[0]}; a run can only be resumed with the rewards it began with; restore the source, or start a "
            "new run whose `policy` is the newest checkpoint's"
        )


def _unchanged_paths(run: RunDirectory, recipe: Recipe, basis: _Basis) -> set[str]:
    """Paths of the recipe that may be others than those it began with, since their content is held by hash."""
    unchanged = {str(path) for name, path in basis.files.items() if run.database.fact(name) == basis.hashes[name]}
    recorded = {name: run.database.fact(_made_with_fact(name)) for name in basis.made_with}
    unchanged |= {
        str(folder)
        for name, folder in _model_folders(recipe).items()
        if name in recorded and recorded[name] == json.dumps(basis.made_with[name])
    }
    judges = [f"judge {name}" for name in recipe.asked_with_validation]
    if all(recorded[judge] is not None for judge in judges):  # `_check_made_with` compares their settings
        unchanged.add(str(recipe.models))
    return unchanged


def _as_it_ran(stored: Recipe) -> Recipe:
    """A stored recipe with its defaults written out. Runs from before version 0.3 leave them out, and grpo had
    those of ppo.
    """
    if stored.method == "grpo" and stored.optim.mini_batch is None:
        stored = stored.changed("optim.mini_batch", min(MINI_BATCH, stored.rollouts))
    if stored.method == "grpo" and stored.optim.warmup_steps is None:
        stored = stored.changed("optim.warmup_steps", round(POLICY_WARMUP * stored.run.steps))
    return stored.resolved


def run_wording(run: RunDirectory) -> Wording:
    """The wording that a run began with; runs of before version 0.2 do not name it."""
    return load_wording(int(run.database.fact(_WORDING) or VERSIONS[0]))


def changed_plugins(run: RunDirectory, plugins: Mapping[str, Plugin]) -> list[str]:
    """The plugins whose source is not the one that is recorded with the run, each in words; those that the run did not
    use are left out.
    """
    changed = []
    for name, plugin in plugins.items():
        stored = json.loads(run.database.fact(_plugin_fact(name)) or "{}")
        if stored and stored["source_sha256"] != plugin.source_sha256:
            versions = (stored["version"], plugin.version)
            was = ", from version {} to {}".format(*versions) if versions[0] != versions[1] else ""
            changed.append(
                f"reward {name}: the source in {shown_path(plugin.file)} has changed since the run began{was}"
            )
    return changed


def _made_with(recipe: Recipe) -> dict[str, Any]:
    """What the weights and figures of a run depend on besides recipe and files, by a readable name.

    Raises:
        BadInputError: models.yaml lacks a model, or a model folder cannot be read.
    """
    names = recipe.asked_with_validation
    specs = read_models(recipe.models) if names else {}
    made_with: dict[str, Any] = {
        f"judge {name}": find_model(specs, name, path=recipe.models).settings_of_answers for name in names
    }
    return made_with | {
        name: hash_model_folder(Path(folder))
        for name, folder in _model_folders(recipe).items()
        if Path(folder).is_dir()
    }


def _model_folders(recipe: Recipe) -> dict[str, str]:
    """Folders and Hub ids of the models that a run uses, by a readable name."""
    folders = {"policy": recipe.policy}
    folders |= {f"model below the policy's adapters {path}": path for path in models_below(recipe.policy)[1:]}
    for it in recipe.rewards:
        if isinstance(it, WritingSettings):
            folders |= {f"reward model {path}": path for path in it.models}
        if isinstance(it, LikelihoodSettings):
            folders["model of the likelihood reward"] = frozen_model(it, policy=recipe.policy)
    return folders


def _check_made_with(run: RunDirectory, present: Mapping[str, Any]) -> None:
    """Refuse another judge, policy or reward model than the run began with; runs of before version 0.2 do not name them.

    Raises:
        BadInputError: names what has changed, and how.
    """
    changed = []
    for name, value in present.items():
        recorded = run.database.fact(_made_with_fact(name))
        if recorded is None or (stored := json.loads(recorded)) == value:
            continue
        if isinstance(value, Mapping) and isinstance(stored, Mapping):
            before, now = flatten(stored), flatten(value)
            keys = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
            changed.append(f"{name} ({', '.join(f'{key} {before.get(key)}, not {now.get(key)}' for key in keys)})")
        else:
            changed.append(f"{name} (other files)")
    if changed:
        raise BadInputError(
            f"{run.path}: was begun with another {'; another '.join(changed)}; restore it, or start a new run whose "
            "`policy` is the newest checkpoint's"
        )


def _made_with_fact(name: str) -> str:
    """Name of the fact that holds a judge's settings or a folder's hash."""
    return f"made with/{name}"


def _plugin_fact(kind: str) -> str:
    """Name of the fact that holds name, version and source hash of a reward of another package."""
    return f"reward/{kind}"


def _files(recipe: Recipe) -> dict[str, Path]:
    """The files whose content decides the prompts and what is asked."""
    files = prompt_files(recipe.data)
    if recipe.validation is not None:
        files["validation"] = recipe.validation.prompts
    if recipe.generation.think_prompt is not None:
        files["think_prompt"] = recipe.generation.think_prompt
    for it in recipe.rewards:
        if isinstance(it, FormatSettings) and it.slop_list is not None:
            files["slop_list"] = it.slop_list
        if isinstance(it, LikelihoodSettings) and it.template is not None:
            files["plan_template"] = it.template
    return files
