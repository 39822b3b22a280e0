"""The miniature world of a study: its server, at an address that stays the same when the study is resumed."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from longform.miniature.quickstart import prepare_process
from longform.miniature.study_world import WorldSettings, serve_study_world, write_study_world
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.studies.settings import describe_invalid
from longform.studies.work import MakeWorld

_ADDRESS = "world-address"
"""File in the study's folder: recorded answers are found again only under the address that gave them."""


def read_world(settings: Mapping[str, Any], *, source: Path) -> WorldSettings:
    """The section `world` of a study.

    Raises:
        BadInputError: a key is unknown or a value invalid.
    """
    try:
        return WorldSettings.model_validate(dict(settings))
    except ValidationError as error:
        raise BadInputError(f"{source}: {describe_invalid(error, WorldSettings, place='world')}") from None


@contextmanager
def serve_world(settings: WorldSettings, folder: Path) -> Iterator[MakeWorld]:
    """Serve a study's world while it runs; yield what writes the world of a seed.

    Raises:
        BadInputError: the address that the study was begun with is taken.
    """
    prepare_process()
    path = folder / _ADDRESS
    port = _port_in(path) if path.exists() else 0
    with serve_study_world(settings, port=port) as base_url:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, base_url)
        yield partial(_write, base_url)


def _port_in(path: Path) -> int:
    found = re.fullmatch(r"http://.*:(\d{1,5})/v1", path.read_text(encoding="utf-8", errors="replace").strip())
    if found is None:
        raise BadInputError(
            f"{path}: not an address; delete it to begin with a new one, whose answers are requested anew"
        )
    return int(found[1])


def _write(base_url: str, folder: Path, settings: Mapping[str, Any], seed: int) -> None:
    write_study_world(folder, base_url=base_url, settings=WorldSettings.model_validate(dict(settings)), seed=seed)
