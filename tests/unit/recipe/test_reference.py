from pathlib import Path

from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.recipe.reference import describe_recipe

PAGE = Path(__file__).parents[3] / "docs" / "recipe.md"


def test_the_page_of_keys_is_that_of_the_settings():
    assert PAGE.read_text(encoding="utf-8") == describe_recipe(), (
        "run `python -m longform.recipe.reference > docs/recipe.md`"
    )


def test_every_key_of_a_resolved_recipe_is_on_the_page():
    recipe = load_recipe(PAGE.parents[1] / "src/longform/recipes/arms/panel.yaml", Recipe)
    text = describe_recipe()

    def check(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                assert f"`{key}`" in text or f"## {key}" in text or f".{key}" in text, key
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    check(recipe.model_dump(mode="json"))
