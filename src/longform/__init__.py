"""Reinforcement learning for long-form writers: from a pile of prompts to a measurably better writer.

The names below are imported on first use, so `import longform` loads neither torch nor a client for endpoints.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from longform.version import __version__ as __version__

if TYPE_CHECKING:
    from longform.endpoints.client import Endpoint
    from longform.engines import train
    from longform.evaluation.audit.run import audit
    from longform.evaluation.benchmarks.run import run_benchmark
    from longform.evaluation.compare.run import compare
    from longform.recipe.loading import load_recipe
    from longform.recipe.recipe import Recipe
    from longform.records.run_directory import open_run
    from longform.rewards.reward import Reward, RewardResult
    from longform.selection.generate import generate
    from longform.selection.grade import grade
    from longform.selection.select import select


__all__ = [
    "Endpoint",
    "Recipe",
    "Reward",
    "RewardResult",
    "audit",
    "compare",
    "generate",
    "grade",
    "load_recipe",
    "open_run",
    "run_benchmark",
    "select",
    "train",
]

_MODULES = {
    "Endpoint": "longform.endpoints.client",
    "Recipe": "longform.recipe.recipe",
    "Reward": "longform.rewards.reward",
    "RewardResult": "longform.rewards.reward",
    "audit": "longform.evaluation.audit.run",
    "compare": "longform.evaluation.compare.run",
    "generate": "longform.selection.generate",
    "grade": "longform.selection.grade",
    "load_recipe": "longform.recipe.loading",
    "open_run": "longform.records.run_directory",
    "run_benchmark": "longform.evaluation.benchmarks.run",
    "select": "longform.selection.select",
    "train": "longform.engines",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'longform' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
