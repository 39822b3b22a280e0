"""A folder with which another trainer can be started: prompts, the recipe's rewards, and a script."""

import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

import yaml

from longform.export.recipe_reward import load_without_run
from longform.recipe.inputs import check_inputs
from longform.recipe.public import FILES, SOURCE_FILES
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.folders import write_folder
from longform.text.structure import CLOSING_TAG
from longform.wording import load_wording
from longform.writers.think import ThinkPrompt

Trainer = Literal["trl", "verifiers"]
SCRIPTS: dict[Trainer, str] = {"trl": "train.py", "verifiers": "environment.py"}


def export_recipe(path: Path, out: Path, trainer: Trainer) -> Path:
    """Write prompts, recipe and a script into a new folder; the path of the script.

    Args:
        path: Recipe file.
        out: Must not exist.
        trainer: Whose script it is.

    Raises:
        BadInputError: the recipe or a file that it names cannot be used, or the folder exists.
    """
    if out.exists():
        raise BadInputError(f"--out {out}: exists; name a new folder")
    recipe = load_without_run(path)
    prompts = check_inputs(recipe).prompts

    def write(folder: Path) -> None:
        asked = ThinkPrompt.read(recipe.generation.think, recipe.generation.think_prompt, wording=load_wording())
        rows = [json.dumps({"prompt": asked.messages(it), "prompt_id": it.id}, ensure_ascii=False) for it in prompts]
        write_text(folder / "prompts.jsonl", "\n".join(rows) + "\n")
        write_text(folder / "recipe.yaml", _with_absolute_paths(recipe))
        write_text(folder / SCRIPTS[trainer], _script(recipe, trainer))

    write_folder(out, write)
    return out / SCRIPTS[trainer]


def _with_absolute_paths(recipe: Recipe) -> str:
    """The resolved recipe as YAML, with paths that hold in any working directory."""
    content = recipe.resolved.model_dump(mode="json")
    content |= {key: _absolute(content[key]) for key in ("policy", "models")}
    for section, keys in FILES.items():
        if content[section]:
            content[section] |= {key: _absolute(content[section][key]) for key in keys}
    for source in content["data"]["sources"]:
        source |= {key: _absolute(source[key]) for key in SOURCE_FILES}
    for reward in content["rewards"]:
        if reward["kind"] == "writing":
            models = reward["model"]
            reward["model"] = _absolute(models) if isinstance(models, str) else list(map(_absolute, models))
        if reward["kind"] == "likelihood":
            reward |= {key: _absolute(reward[key]) for key in ("model", "template")}
        if reward["kind"] == "format":
            reward["slop_list"] = _absolute(reward["slop_list"])
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _absolute(path: str | None) -> str | None:
    """The absolute path of a file or folder; a hub id stays."""
    return str(Path(path).resolve()) if path and Path(path).exists() else path


def _script(recipe: Recipe, trainer: Trainer) -> str:
    text = (files("longform.export") / "templates" / f"{trainer}.py.txt").read_text(encoding="utf-8")
    group = max(2, recipe.data.group)
    stops = [*recipe.generation.stop, *([CLOSING_TAG] if recipe.generation.think != "off" else [])]
    return Template(text).substitute(
        policy=repr(_absolute(recipe.policy)),
        group=group,
        prompts=recipe.data.per_step,
        template_kwargs=repr(recipe.generation.chat_template_kwargs or None),
        generation_kwargs=repr({"stop_strings": stops} if stops else None),
        steps=recipe.run.steps,
        lr=recipe.optim.lr,
        kl=recipe.optim.kl_coef,
        temperature=recipe.generation.temperature,
        top_p=recipe.generation.top_p,
        max_tokens=recipe.generation.max_tokens,
        seed=recipe.run.seed,
    )
