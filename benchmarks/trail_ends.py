"""Whether thinking can matter in the world with trails: stories that begin with the right place, planned and direct.

    python benchmarks/trail_ends.py --seeds 1 2        # pretrains a base for each seed: some minutes each
    python benchmarks/trail_ends.py --model FOLDER     # examines a trained policy or a base

Prints the fraction right by planning need; the answers are greedy.
"""

import argparse
import tempfile
from pathlib import Path

from longform.miniature.corpus import DIRECT_PROMPT, THINK_PROMPT
from longform.miniature.study_world import WorldSettings, write_study_world
from longform.miniature.trail_base import EndsNamed, examine_ends
from longform.recipe.loading import load_recipe
from longform.studies.settings import load_study
from longform.studies.steps import find_recipe_path
from longform.training.supervised.sft_recipe import SftRecipe
from longform.training.supervised.sft_run import run_sft
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

STUDY = Path(__file__).parents[1] / "src/longform/recipes/studies/miniature/thinking.yaml"


def main() -> None:
    """Examine bases of several seeds, or one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--prompts", type=int, default=100, help="of each planning need")
    given = parser.parse_args()
    if given.model is not None:
        show(given.model.name, examine(given.model, prompts=given.prompts))
        return
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            show(f"seed {seed}", examine(pretrained(Path(folder), seed=seed), prompts=given.prompts))


def pretrained(folder: Path, *, seed: int) -> Path:
    """The base of a seed, with the settings of the study."""
    study = load_study(STUDY)
    step = study.prepare["start"].model_dump()
    world = WorldSettings.model_validate(study.world)
    write_study_world(folder / "world", base_url="http://127.0.0.1:1/v1", settings=world, seed=seed)
    places = {"policy": folder / "world/untrained", "data.rows": f'["{folder}/world/documents.jsonl"]'}
    values = {**step["set"], **places, "settings.seed": seed, "out": folder / "base"}
    recipe = load_recipe(
        find_recipe_path(step["sft"], source=STUDY), SftRecipe, [f"{key}={value}" for key, value in values.items()]
    )
    return run_sft(recipe, on_progress=lambda *_: None).path


def examine(model: Path, *, prompts: int) -> EndsNamed:
    """Examine a model."""
    with LocalWriter(str(model)) as writer, tempfile.TemporaryDirectory() as folder:
        paths = {"on": Path(folder) / "think.txt", "direct": Path(folder) / "direct.txt"}
        paths["on"].write_text(THINK_PROMPT, encoding="utf-8")
        paths["direct"].write_text(DIRECT_PROMPT, encoding="utf-8")

        def write(rows, thinking):
            settings = GenerationSettings(max_tokens=24, temperature=0, think=thinking, think_prompt=paths[thinking])
            return writer.write(rows, settings=settings, seed=1, name="base")

        return examine_ends(write, prompts=prompts)


def show(name: str, found: EndsNamed) -> None:
    """Print the figures of a model."""
    for how, rates in {"planned": found.planned, "direct": found.direct}.items():
        print(f"{name}  {how:8}" + "  ".join(f"need {need}: {rate:.2f}" for need, rate in rates.items()), flush=True)


if __name__ == "__main__":
    main()
