"""Whether a cluster run fits its GPUs and its disk, and what would make it fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longform.cluster.plan import GIB, ClusterPlan, plan_cluster
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.writers.shapes import ModelShape, fetch_shape

_MOST_NODES = 64
Change = tuple[str, str, Any]
"""Section, key and value of a recipe."""


def check_cluster_memory(recipe: Recipe) -> ClusterPlan:
    """The plan of a recipe on its own machines.

    Raises:
        BadInputError: it can't fit, or cannot be spread so; names the settings that would make it fit, or says that none do.
    """
    shape = fetch_shape(recipe.policy)
    check_spread(shape, recipe)
    plan = plan_cluster(shape, recipe)
    if not plan.shortfall:
        return plan
    if plan.total > plan.limit:
        needs = (
            f"needs up to {plan.total / GIB:.1f} GiB on each GPU, and cluster.gpu_memory_gb is {plan.limit / GIB:.0f}"
        )
    else:
        room = f"{max(plan.cache, 0) / GIB:.1f} GiB for keys and values"
        needs = f"its weights leave {room} of cluster.rollout_memory, and one sequence needs {plan.sequence_cache / GIB:.1f}"
    changes, fitting = fitting_changes(shape, recipe)
    if fitting.shortfall:
        most = f"with {', '.join(changes)} it would still lack" if changes else "nothing in the recipe adds the missing"
        raise BadInputError(
            f"{recipe.policy}: {needs}; {most} {fitting.shortfall / GIB:.1f}: "
            "take a smaller model or shorter responses (generation.max_tokens)"
        )
    raise BadInputError(f"{recipe.policy}: {needs}; it fits with {', '.join(changes)}")


def check_spread(shape: ModelShape, recipe: Recipe) -> None:
    """The GPUs, the heads and the rollouts can be divided as the recipe says.

    Raises:
        BadInputError: names the setting.
    """
    machines = recipe.machines
    gpus = machines.nodes * machines.gpus_per_node
    model = f"the {shape.heads} attention heads of {recipe.policy}"
    together = machines.sequence_parallel * (machines.tensor_parallel if machines.trainer == "megatron" else 1)
    rows = max(gpus // together, 1)
    refused = {
        f"cluster.tensor_parallel: {machines.tensor_parallel} does not divide the {gpus} GPUs": gpus
        % machines.tensor_parallel,
        f"cluster.tensor_parallel: {machines.tensor_parallel} does not divide {model}": shape.heads
        % machines.tensor_parallel,
        f"cluster.sequence_parallel: {together} GPUs to a sequence do not divide the {gpus} GPUs": gpus % together,
        f"cluster.sequence_parallel: {machines.sequence_parallel} does not divide {model}": shape.heads
        % machines.sequence_parallel,
        f"optim.mini_batch: {recipe.mini_batch} rollouts do not divide evenly among {rows} places ({gpus} GPUs, "
        f"{together} to a sequence)": recipe.mini_batch % rows,
    }
    for message, rest in refused.items():
        if rest:
            raise BadInputError(message)


def fitting_changes(shape: ModelShape, recipe: Recipe) -> tuple[list[str], ClusterPlan]:
    """Settings to change, the cheapest first, until the recipe fits; and its plan then."""
    changes: dict[str, str] = {}
    plan = plan_cluster(shape, recipe)
    for section, key, value in (*_steps(recipe), *_steps(recipe)):  # some help only beside a later one
        if not plan.shortfall:
            break
        changed = _with(recipe, section, key, value)
        if _spreads(shape, changed) and plan_cluster(shape, changed).shortfall < plan.shortfall:
            recipe, plan = changed, plan_cluster(shape, changed)
            changes[key] = f"{section}.{key}: {json.dumps(value)}"
    return list(changes.values()), plan


def checkpoints_of(recipe: Recipe) -> Path:
    """The folder that verl writes a run's checkpoints into."""
    shared = recipe.machines.checkpoints
    return recipe.run_path / "checkpoints" if shared is None else shared / recipe.run.name


def check_disk(recipe: Recipe, *, free: Callable[[Path], int] | None = None) -> float:
    """Bytes that the run's checkpoints will take; they go to `cluster.checkpoints`, else into the run directory.

    Args:
        recipe: of the run.
        free: bytes that are free at a folder.

    Raises:
        BadInputError: the disk has less room.
    """
    folder = checkpoints_of(recipe)
    needed = plan_cluster(fetch_shape(recipe.policy), recipe).disk
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    # What the run's own checkpoints hold already is room for those that take their place.
    own = sum(it.stat().st_size for it in folder.rglob("global_step_*/**/*") if it.is_file()) if folder.exists() else 0
    room = (free or _free)(there) + own
    if needed > room:
        raise BadInputError(
            f"{folder}: checkpoints take up to {needed / GIB:.0f} GiB, and {room / GIB:.0f} are free there; name another "
            "folder in cluster.checkpoints, or lower run.keep_checkpoints"
        )
    return needed


def _steps(recipe: Recipe) -> list[Change]:
    """What can be changed, the cheapest first."""
    machines = recipe.machines
    doubled = [2**power for power in range(1, 7)]
    wider = [it for it in doubled if it <= machines.gpus_per_node]
    return [
        ("cluster", "offload", True),
        ("memory", "gradient_checkpointing", True),
        ("memory", "micro_tokens", None),
        *(("cluster", "rollout_memory", share) for share in (0.7, 0.5, 0.4)),
        *(("cluster", "tensor_parallel", it) for it in wider if it > machines.tensor_parallel),
        *(("cluster", "sequence_parallel", it) for it in wider if it > machines.sequence_parallel),
        *(("cluster", "nodes", it) for it in doubled if it > machines.nodes and it <= _MOST_NODES),
    ]


def _spreads(shape: ModelShape, recipe: Recipe) -> bool:
    try:
        check_spread(shape, recipe)
    except BadInputError:
        return False
    return True


def _with(recipe: Recipe, section: str, key: str, value: Any) -> Recipe:
    content = recipe.model_dump(mode="json")
    content[section] = {**(content[section] or {}), key: value}
    return Recipe.model_validate(content)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
