"""What can be said about a model's path without loading anything."""

from pathlib import Path

from longform.records.errors import BadInputError


def check_model_path(path: str) -> None:
    """Refuse a path that cannot be a model, before anything is loaded or paid for.

    Raises:
        BadInputError: it looks like a path of this machine and is no folder with a config.json.
    """
    folder = Path(path)
    looks_local = folder.exists() or path.startswith((".", "/", "~")) or path.count("/") != 1
    if looks_local and not (folder / "config.json").is_file():
        raise BadInputError(f"{path}: is no model folder (it has no config.json)")
