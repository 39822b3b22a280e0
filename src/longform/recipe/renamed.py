"""Recipe keys that have other names than in earlier versions, or are gone, and how a stored recipe is read with them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

RENAMED = {
    "optim.kl": "optim.kl_coef",
    "optim.entropy": "optim.entropy_coef",
    "optim.final_lr": "optim.lr_end_ratio",
    "memory.micro_tokens": "memory.max_tokens_per_microbatch",
    "cluster.patience_hours": "cluster.stall_timeout_hours",
    "rewards.max_no_verdict": "rewards.max_judge_failure_rate",
    "most_epochs": "max_epochs",
}
"""Old and new names, without positions in lists. A new name stays in its section."""


class Removed(NamedTuple):
    """A key that is gone."""

    value: Callable[[Mapping[str, Any]], Any]
    """What a recipe now stands for in its place."""
    instead: str = "leave it out"
    """What to do, for a person who writes it."""


_REPETITION = "use `repetition` (near copies); no measure of paraphrase agreed with a reader"
REMOVED: Mapping[str, Removed] = {
    "optim.reference_lr": Removed(lambda recipe: 0.01 if recipe["optim"]["critic_lr"] else 0.0),
    "optim.critic_epochs": Removed(lambda recipe: recipe["optim"]["epochs"]),
    "rewards.redundancy": Removed(lambda recipe: 0.0, _REPETITION),
    "rewards.redundancy_measure": Removed(lambda recipe: "minhash", _REPETITION),
    "rewards.embeddings": Removed(lambda recipe: None, _REPETITION),
}
"""Keys that are gone, without positions in lists."""
_ADDED = {"length": {"cut_off": 1.0}}
"""Keys of rewards, by kind, whose default is not what earlier versions did, with what they did."""


def explain_key(key: str) -> str | None:
    """What to write in place of an old key (dotted, without positions in lists); None for a key that never was one."""
    if key in RENAMED:
        return f"was renamed to {RENAMED[key]}"
    return f"was removed; {REMOVED[key].instead}" if key in REMOVED else None


def translate_stored(content: Any) -> tuple[Any, dict[str, Any]]:
    """A recipe that was stored by an earlier version, with today's keys; and the values of keys that are gone."""
    removed: dict[str, Any] = {}

    def walk(place: str, value: Any) -> Any:
        if isinstance(value, list):
            return [walk(place, inner) for inner in value]
        if not isinstance(value, Mapping):
            return value
        translated: dict[Any, Any] = {}
        for name, inner in value.items():
            key = f"{place}.{name}" if place else str(name)
            if key in REMOVED:
                removed[key] = inner
            else:
                translated[RENAMED[key].rpartition(".")[2] if key in RENAMED else name] = walk(key, inner)
        if place == "rewards":
            translated = _ADDED.get(translated.get("kind", ""), {}) | translated
        return translated

    return walk("", content), removed


def translate_flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same for stored settings by dotted name, where none is gone."""
    return {RENAMED.get(name, name): value for name, value in settings.items()}


def replaced_values(recipe: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """What `recipe` stands for in place of keys that are gone."""
    return {key: REMOVED[key].value(recipe) for key in keys}
