"""A recipe of a cluster run on small files, for tests that need no Ray."""

from longform.recipe.recipe import Recipe
from longform.records.schemas import Ladder, Reference


def ladder(number, rungs=("weak", "policy", "strong")):
    references = [Reference(model=model, text=f"{model} text {number}", score=n) for n, model in enumerate(rungs)]
    return Ladder(id=f"p{number}", prompt=f"Write {number}.", references=references, policy_score=1, potential=2)


def cluster_recipe(folder, *, method="ppo", **sections):
    group = {"ppo": 1, "grpo": 4}[method]
    models = folder / "models.yaml"
    models.write_text("judge: {base_url: 'http://127.0.0.1:9/v1', model: a-judge}\n")
    return Recipe.model_validate(
        {
            "method": method,
            "engine": "cluster",
            "policy": str(folder),
            "models": str(models),
            "data": {"ladders": "ladders.jsonl", "per_step": 4, "group": group},
            "rewards": [{"kind": "pairwise", "judge": "judge"}],
            "generation": {"max_tokens": 16, "max_prompt_tokens": 8},
            "run": {"name": "run", "folder": str(folder / "runs"), "steps": 10},
            **sections,
        }
    )
