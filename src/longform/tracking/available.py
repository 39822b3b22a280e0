"""The trackers that a recipe may name: four libraries, and plugins of other packages."""

import importlib
import inspect
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple, cast

from longform.plugins import describe_error, describe_unknown, is_attribute, load_plugin, plugin_names
from longform.records.errors import BadInputError
from longform.tracking.tracker import Tracker


class _Library(NamedTuple):
    module: str
    cls: str
    needs: tuple[str, ...]
    """Modules that must be installed."""
    package: str
    """What to install."""


LIBRARIES = {
    "trackio": _Library("longform.tracking.trackio", "TrackioTracker", ("trackio",), "trackio"),
    "wandb": _Library("longform.tracking.wandb", "WandbTracker", ("wandb",), "wandb"),
    "tensorboard": _Library(
        "longform.tracking.tensorboard", "TensorBoardTracker", ("tensorboard", "torch"), "tensorboard"
    ),
    "mlflow": _Library("longform.tracking.mlflow", "MlflowTracker", ("mlflow",), "mlflow"),
}


def check_trackers(names: Sequence[str], *, key: str = "run.track") -> None:
    """Check that trackers are known and installed, before a run starts. Libraries are not imported; plugins are.

    Args:
        names: of a recipe.
        key: the recipe's key.

    Raises:
        BadInputError: one is unknown or not installed, or a plugin cannot be imported.
    """
    for name in names:
        library = LIBRARIES.get(name)
        if library is None:
            _load(name, key)
        elif any(find_spec(module) is None for module in library.needs):
            raise BadInputError(f"{key}: {name} is not installed: pip install {library.package}")


def build_tracker(name: str, *, key: str = "run.track") -> Tracker:
    """A tracker by its name; its library is imported here.

    Raises:
        BadInputError: a plugin cannot be imported, or its constructor raised.
    """
    library = LIBRARIES.get(name)
    if library is not None:
        return getattr(importlib.import_module(library.module), library.cls)()
    return _load(name, key)


def _load(name: str, key: str) -> Tracker:
    if not is_attribute(name) and name not in plugin_names("longform.trackers"):
        raise BadInputError(
            f"{key}: {describe_unknown(name, [*LIBRARIES, *plugin_names('longform.trackers')], what='tracker')}"
        )
    plugin = load_plugin(name, "longform.trackers")
    found = plugin.object
    if inspect.isclass(found):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise BadInputError(f"{key}: {name}: {describe_error(error, file=plugin.file)}") from error
    missing = [it for it in ("start", "log", "texts", "finding", "finish") if not callable(getattr(found, it, None))]
    if missing:
        raise BadInputError(f"{key}: {name} has no method {missing[0]!r}; see docs/tracking.md")
    return cast(Tracker, found)
