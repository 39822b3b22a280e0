"""Checks of model paths that load no model."""

import json
from pathlib import Path

from longform.records.errors import BadInputError
from longform.writers.settings import LocalOptions

ADAPTER = "adapter_config.json"
"""File that marks a folder of LoRA adapters."""

_UNREACHED = ("LocalEntryNotFoundError", "OfflineModeIsEnabled")
"""Exceptions of huggingface_hub for files that are not cached while the hub cannot be reached."""


def is_model_folder(path: str) -> bool:
    """Whether `path` is a folder with a model or with adapters, in Hugging Face format."""
    return any((Path(path) / name).is_file() for name in ("config.json", ADAPTER))


def check_writer(writer: str, local: LocalOptions) -> None:
    """Check that a writer given as a path is a model folder, and that an engine is given only for a local model.

    Raises:
        BadInputError: it is not. If the path is a run, the error names its latest policy.
    """
    is_path = writer.startswith((".", "/", "~")) or ("/" in writer and Path(writer).exists())
    if is_model_folder(writer):
        return
    if not is_path:
        if local.engine != "own":
            raise BadInputError(
                f"--engine {local.engine}: only valid for a local model, but {writer} is a name in models.yaml"
            )
        return
    raise BadInputError(f"--writer {writer}: not a model folder{_hint_policy(writer)}")


def _hint_policy(folder: str) -> str:
    """Name the latest policy of a run that is given where a model is needed."""
    policies = sorted(str(it) for it in Path(folder).glob("**/policy") if is_model_folder(str(it)))
    return f"; did you mean {policies[-1]}?" if policies else ""


def writer_name(path: str) -> str:
    """Return the model name for responses of a model folder: the folder's name, or RUN-step-N for a run's checkpoint or
    a policy that it kept, including checkpoints written by verl.
    """
    folder = Path(path).resolve()
    if folder.parts[-2:] == ("actor", "huggingface") and folder.parents[1].name.startswith("global_step_"):
        step, checkpoints = int(folder.parents[1].name.rpartition("_")[2]), folder.parents[2]
        run = checkpoints.parent if checkpoints.name == "checkpoints" else checkpoints
        return f"{run.name}-step-{step:06d}"
    if folder.name == "policy" and folder.parent.parent.name == "checkpoints":
        return f"{folder.parents[2].name}-{folder.parent.name}"
    if folder.parent.name == "policies" and folder.name.startswith("step-"):
        return f"{folder.parents[1].name}-{folder.name}"
    return folder.name


def holds_adapters(path: str) -> bool:
    """Whether `path` is a folder of LoRA adapters."""
    return (Path(path) / ADAPTER).is_file()


def adapter_rank(adapters: Path) -> int:
    """The largest rank of a folder of LoRA adapters.

    Raises:
        BadInputError: its configuration does not state a rank.
    """
    try:
        config = json.loads((adapters / ADAPTER).read_text(encoding="utf-8"))
        return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()), 1)
    except (OSError, AttributeError, LookupError, TypeError, ValueError):
        raise BadInputError(f"{adapters / ADAPTER}: does not name the rank of its adapters (r)") from None


def model_below(path: str) -> str:
    """Return the base model of the adapters at `path`, following nested adapters; `path` itself if it holds none.

    Raises:
        BadInputError: adapters do not name their base model, or are their own base.
    """
    return models_below(path)[-1]


def models_below(path: str) -> list[str]:
    """Return `path` and the models below it, the base model last, following nested adapters.

    Raises:
        BadInputError: adapters do not name their base model, or are their own base.
    """
    found = [path]
    while holds_adapters(found[-1]):
        found.append(base_of_adapters(found[-1]))
        if found[-1] in found[:-1]:
            raise BadInputError(f"{found[-1]}: the adapters name themselves as their base model")
    return found


def base_of_adapters(path: str) -> str:
    """Return the base model that a folder of adapters names; it may be a folder of adapters itself.

    Raises:
        BadInputError: it names none.
    """
    try:
        base = json.loads((Path(path) / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise BadInputError(f"{path}: {ADAPTER} does not name the adapters' base model")
    return base


def load_failure(path: str, error: Exception) -> str:
    """Describe in one line why a model could not be read; if the hub could not be reached, say what to do instead."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    if any(type(it).__name__ in _UNREACHED for it in chain) and not Path(path).exists():
        return (
            "there is no such folder here, and the Hugging Face hub cannot be reached; check the path, or fetch the model "
            f"first (`hf download {path} --local-dir FOLDER`)"
        )
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_model_path(path: str) -> None:
    """Check that a path can be a model, before anything is loaded or any call is made.

    Raises:
        BadInputError: it looks like a local path and is not a model folder, or it holds adapters without their base model.
    """
    if not path:
        raise BadInputError("the path of the model (policy or base) is empty; name a folder or a hub id")
    if _looks_local(path) and not is_model_folder(path):
        raise BadInputError(f"{path}: not a model folder (it has no config.json){_hint_policy(path)}")
    below = model_below(path)
    if _looks_local(below) and not is_model_folder(below):
        raise BadInputError(
            f"{path}: the base model of its adapters is not at {below}; put it there, or name its place as "
            f"base_model_name_or_path in {ADAPTER}"
        )


def _looks_local(path: str) -> bool:
    """Whether a path can't be a hub id."""
    return Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") != 1
