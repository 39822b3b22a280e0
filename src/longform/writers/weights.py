"""Finds missing and damaged weight files of a model folder, by their names and headers."""

import json
import zipfile
from pathlib import Path

_LFS_POINTER = b"version https://git-lfs"
_INDEX = ".index.json"
_NAMES = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")


def has_weights(folder: Path) -> bool:
    """Whether a folder contains a weight file of a model or of adapters."""
    return bool(_files(folder))


def describe_damage(folder: Path) -> str | None:
    """Describe the first missing or damaged weight file, with the remedy; None if no damage is found."""
    from safetensors import SafetensorError, safe_open

    if not has_weights(folder):
        return "it has no weight files (model.safetensors, or its shards); download the model again"
    for path in _files(folder):
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                return f"{path.name} is a Git LFS pointer instead of the weights; fetch them with git lfs pull"
            file.seek(0)
            is_archive = file.read(2) == b"PK"
        if path.suffix == ".bin" and is_archive and not zipfile.is_zipfile(path):
            return f"{path.name} is damaged or incomplete; download it again"
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, "np"):
                    pass
            except (SafetensorError, OSError) as error:
                reason = " ".join(str(error).split())[:100]
                return f"{path.name} is damaged or incomplete ({reason}); download it again"
    for path in folder.glob(f"*{_INDEX}"):
        try:
            parts = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return f"{path.name} is damaged; download it again"
        if missing := sorted(part for part in parts if not (folder / part).is_file()):
            return f"{missing[0]} is missing, one of {len(parts)} shards; download it"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for name in _NAMES for path in folder.glob(name))
