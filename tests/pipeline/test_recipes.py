"""Every recipe that comes with longform: it loads, it says in its name what it is, and each arm trains."""

from pathlib import Path

import pytest
import yaml

from artifacts import save_policy
from longform.endpoints.models import read_models
from longform.judging.answers import read_fences
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference
from longform.studies.plan import plan_study
from longform.studies.settings import load_study
from longform.training.judge_model.recipe import JudgeModelRecipe
from longform.training.run import train
from longform.training.supervised.pretrain_recipe import PretrainRecipe
from longform.training.supervised.reward_model import load_classifier
from longform.training.supervised.reward_model_recipe import RewardModelRecipe
from longform.training.supervised.sft_recipe import SftRecipe

RECIPES = Path(__file__).parents[2] / "src/longform/recipes"
QUICKSTART_RECIPES = sorted(
    it for name in ("miniature", "demo") for it in RECIPES.parent.glob(f"{name}/recipes/*.yaml")
)
ARMS = sorted((RECIPES / "arms").glob("*.yaml"))
ZERO_ARMS = sorted((RECIPES / "zero").glob("*.yaml"))
ARM_SECTIONS = {"rewards", "curriculum", "data", "run"}
SHARED = yaml.safe_load((RECIPES / "arms" / "dynamic.yaml").read_text())
BALANCED = yaml.safe_load((RECIPES / "zero" / "balanced.yaml").read_text())
ZERO_DIFFERENCES = {
    "balanced": set(),
    "summed": {"advantages"},
    "direct": {"generation"},
    "guarded": {"rewards"},
    "dapo": {"optim"},
    "writing": {"rewards"},
    "ladder": {"policy_name", "data", "rewards", "curriculum"},
    "ladder-ppo": {"method", "policy_name", "data", "rewards", "advantages", "curriculum"},
}
QUICK = {"dynamic", "panel", "balanced", "ladder-ppo"}
"""Arms that `make test` trains."""
DIMENSIONS = ("relevance", "coherence", "clarity", "depth", "style", "originality")


def _to_train(paths):
    return [pytest.param(it, id=it.stem, marks=[] if it.stem in QUICK else pytest.mark.full) for it in paths]


LAUNCHES = sorted((RECIPES / "accelerate").glob("*.yaml"))


MODELS = [RECIPES / f"studies/{it}/models.yaml" for it in ("writing-rl", "longwriter-zero")]
STUDIES = sorted({*(RECIPES / "studies").rglob("*.yaml")} - {*MODELS})


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_study_is_planned_whole_without_the_files_that_it_names(path, tmp_path):
    study = load_study(path)
    plan = plan_study(study, tmp_path, source=path, needs_files=False)
    assert {it.arm for it in plan.runs} == study.arms.keys()
    assert {it.column for it in plan.measurements} == study.columns.keys()
    assert all(need in plan.tasks for task in plan.tasks.values() for need in task.needs)


@pytest.mark.parametrize("models", MODELS, ids=lambda path: path.parent.name)
def test_the_models_of_the_studies_are_all_that_they_ask(models):
    specs = read_models(models)
    for path in STUDIES:
        if path.parent != models.parent:
            continue
        study = load_study(path)
        writers = {
            it for step in study.prepare.values() for it in getattr(step, "writers", []) if not it.startswith("$")
        }
        graders = {getattr(step, "judge", None) for step in study.prepare.values()} - {None}
        asked = writers | graders | {name for it in study.examine for name in (*it.judge, *(it.elo or {}))}
        assert asked <= specs.keys(), path.name


@pytest.mark.parametrize(
    "path", sorted({*RECIPES.rglob("*.yaml")} - {*LAUNCHES, *STUDIES, *MODELS}), ids=lambda path: path.stem
)
def test_every_recipe_loads(path):
    recipe = _load(path)
    if isinstance(recipe, Recipe):
        assert recipe.run.name == path.stem.removeprefix("writing-rl-")


@pytest.mark.parametrize("path", QUICKSTART_RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_quickstarts_loads(path):
    _load(path)


def _load(path):
    content = yaml.safe_load(path.read_text())
    if "out" in content:
        schemas = {"sources": PretrainRecipe, "preferences": RewardModelRecipe, "pairs": JudgeModelRecipe}
        schema = next((schema for key, schema in schemas.items() if key in content), SftRecipe)
        return load_recipe(path, schema)
    return load_recipe(path, Recipe)


@pytest.mark.parametrize("path", ARMS, ids=lambda path: path.stem)
def test_an_arm_differs_from_the_others_in_what_it_is_about_alone(path):
    content = yaml.safe_load(path.read_text())
    for section in SHARED.keys() - ARM_SECTIONS:
        assert content[section] == SHARED[section], section
    recipe = load_recipe(path, Recipe)
    assert recipe.data.per_step * recipe.data.group == 32


@pytest.mark.parametrize("path", ZERO_ARMS, ids=lambda path: path.stem)
def test_an_arm_of_longwriter_zero_differs_in_what_it_is_about_alone(path):
    content = yaml.safe_load(path.read_text())
    sections = (content.keys() | BALANCED.keys()) - {"run"}
    assert {it for it in sections if content.get(it) != BALANCED.get(it)} == ZERO_DIFFERENCES[path.stem]


def test_the_readme_names_every_recipe():
    text = (RECIPES / "README.md").read_text()
    for path in RECIPES.rglob("*.yaml"):
        assert str(path.relative_to(RECIPES)) in text, path.name


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An untrained policy and ladders of four rungs, the lowest easy to beat."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "sft")
    texts = {"m0": "", "sft": "A", "m2": "A b c", "big": "word " * 400}
    references = [Reference(model=name, text=text, score=n) for n, (name, text) in enumerate(texts.items())]
    ladders = [
        Ladder(**prompt.model_dump(), references=references, policy_score=1, potential=2)
        for prompt in prompts(seed=5, split="train", count=6)
    ]
    write_rows(folder / "ladders.jsonl", ladders)
    write_rows(folder / "validation.jsonl", prompts(seed=6, split="held-out", count=2))
    return folder


def _judge(request, number):
    """Likes the longer text; grades by length."""
    fenced = read_fences(request["messages"][-1]["content"])
    if "TEXT" in fenced:
        grade = 1 + min(len(fenced["TEXT"]), 900) / 100
        return '{"scores": {' + ", ".join(f'"{name}": {grade}' for name in DIMENSIONS) + "}}"
    a, b = len(fenced["TEXT A"]), len(fenced["TEXT B"])
    return "[[A]]" if a > b else "[[B]]" if b > a else "[[C]]"


def _write_models(folder, url):
    names = ("judge", "judge-2", "judge-3", "exam")
    (folder / "models.yaml").write_text(yaml.safe_dump({name: {"base_url": url, "model": name} for name in names}))


def _save_writing_model(base, folder):
    """A reward model that has learned nothing."""
    tokenizer, classifier = load_classifier(str(base), seed=0)
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("path", _to_train(ARMS))
def test_an_arm_trains(path, world, tmp_path, serve):
    _write_models(tmp_path, serve(_judge).url)
    group = load_recipe(path, Recipe).data.group
    overrides = {
        "policy": world / "sft",
        "models": tmp_path / "models.yaml",
        "data.ladders": world / "ladders.jsonl",
        "data.per_step": 4 // group,
        "validation.prompts": world / "validation.jsonl",
        "generation.max_tokens": 12,
        "optim.mini_batch": 2,
        "run.steps": 3,
        "run.folder": tmp_path,
    }
    recipe = load_recipe(path, Recipe, [f"{key}={value}" for key, value in overrides.items()])
    result = train(recipe, on_step=lambda report: None)
    with RunDirectory.read(result.path) as run:
        rollouts = list(run.database.rollouts())
        assert len(rollouts) == 12
        assert all(it.reward is not None for it in rollouts)
        climbs = bool(run.database.promotions())
    assert climbs == (recipe.curriculum.mode == "dynamic" and path.stem != "pointwise")


@pytest.mark.slow
@pytest.mark.parametrize("path", _to_train(ZERO_ARMS))
def test_an_arm_of_longwriter_zero_trains(path, world, tmp_path, serve):
    _write_models(tmp_path, serve(_judge).url)
    recipe = load_recipe(path, Recipe)
    asked = "Think first. {request}" if recipe.generation.think == "on" else "In tags. {request}"
    (tmp_path / "think.txt").write_text(asked)
    overrides = {
        "policy": world / "sft",
        "policy_name": "sft",
        "models": tmp_path / "models.yaml",
        "data": {recipe.data.path.stem: str(world / "ladders.jsonl"), "per_step": 4 if recipe.method == "ppo" else 2}
        | ({} if recipe.method == "ppo" else {"group": 2}),
        "validation.prompts": world / "validation.jsonl",
        "generation.max_tokens": 16,
        "generation.think_prompt": tmp_path / "think.txt",
        "optim.mini_batch": 2,
        "run.steps": 2,
        "run.folder": tmp_path,
    }
    if any(it.kind == "writing" for it in recipe.rewards):
        _save_writing_model(world / "sft", tmp_path / "writing")
        overrides["rewards.writing.model"] = tmp_path / "writing"
    recipe = load_recipe(path, Recipe, [f"{key}={value}" for key, value in overrides.items()])
    result = train(recipe, on_step=lambda report: None)
    with RunDirectory.read(result.path) as run:
        rollouts = list(run.database.rollouts())
        assert len(rollouts) >= 8
        assert all(it.scores is not None and it.scores.keys() == {r.kind for r in recipe.rewards} for it in rollouts)
        assert dict(run.database.metric("text/structure")).keys() == {1, 2}
