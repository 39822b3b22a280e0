"""The cluster recipes compose on verl's own schema."""

from pathlib import Path

import pytest

from longform.cluster.config import compose_config
from longform.planning.cluster import tokens_at_once
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe

PATHS = sorted((Path(__file__).parents[3] / "src/longform/recipes/cluster").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_cluster_recipe_composes(path, tmp_path):
    recipe = load_recipe(path, Recipe)
    config = compose_config(recipe, data=tmp_path, checkpoints=tmp_path)
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    places = gpus // recipe.machines.sequence_parallel
    assert config.actor_rollout_ref.actor.ppo_mini_batch_size * config.actor_rollout_ref.rollout.n % places == 0
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu == tokens_at_once(recipe)
