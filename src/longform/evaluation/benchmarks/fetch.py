"""Download a benchmark's data from its public source.

Files are downloaded to a temporary folder that is renamed once the data parses, so the data is complete or absent. The
prompts are written next to it, with the ids that responses refer to, for `longform generate` or any other writer; not if
texts are written in several turns, since later prompts contain earlier texts.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from longform.evaluation.benchmarks.benchmark import Benchmark
from longform.evaluation.benchmarks.catalogue import read_set
from longform.evaluation.benchmarks.result import SetVersion, describe_set
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.optional import require

PROMPTS = "prompts.jsonl"
TIMEOUT_SECONDS = 60.0
"""Timeout in seconds without receiving any data."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A downloaded data set."""

    set: SetVersion
    files: Sequence[str]
    not_there: Sequence[str]
    """Optional files that the source does not have."""


def fetch_set(benchmark: Benchmark[Any], out: Path, *, on_progress: Callable[[int, int, str], None]) -> Fetched:
    """Download the data of `benchmark` into the folder `out`; `on_progress` is called with (files, total, name).

    Raises:
        BadInputError: the data is Parquet and pyarrow is not installed, the network or a file is unavailable, the data does
            not parse, `out` cannot be written, or it contains other prompts.
    """
    card, target = benchmark.card, out.resolve()
    if not target.name:
        raise BadInputError(f"--out {out}: the data needs a folder of its own")
    for name in card.files:
        if name.endswith(".parquet"):
            require("pyarrow", f"{card.name}: {name}")
    if (target / PROMPTS).exists() and not (target / next(iter(card.files))).exists():
        raise BadInputError(f"--out {out}: contains another {PROMPTS}; choose another folder")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left over from an interrupted download
    try:
        partial.mkdir(parents=True)
        missing = []
        for number, (name, address) in enumerate(card.files.items()):
            on_progress(number, len(card.files), name)
            if not _download(address, partial / name, required=number == 0, home=card.home):
                missing.append(name)
        on_progress(len(card.files), len(card.files), "")
        items = _read(benchmark, partial)
        prompts = benchmark.prompts(items)
        version = describe_set(partial, card, prompts=len(prompts), version=benchmark.version(items))
        names = sorted(path.name for path in partial.iterdir())
        if benchmark.turns == 1:
            write_rows(partial / PROMPTS, prompts)
            names.append(PROMPTS)
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            (partial / name).replace(out / name)
    except OSError as error:
        raise BadInputError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Fetched(version, [name for name in names if name != PROMPTS], missing)


def _read(benchmark: Benchmark[Any], folder: Path) -> list[Any]:
    try:
        return read_set(benchmark, folder)
    except BadInputError as error:
        reason = str(error).replace(f"{folder}/", "")
        raise BadInputError(f"{benchmark.card.home}: the downloaded data is invalid: {reason}") from None


def _download(address: str, path: Path, *, required: bool, home: str) -> bool:
    """Download a file to `path`; return False if an optional file does not exist."""
    import httpx2

    is_local = urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
    try:
        with (
            httpx2.Client(follow_redirects=True, timeout=TIMEOUT_SECONDS, trust_env=not is_local) as client,
            client.stream("GET", address) as response,
        ):
            if response.status_code == 404 and not required:
                return False
            if response.status_code != 200:
                raise BadInputError(
                    f"{address}: cannot be fetched: HTTP {response.status_code}; download a file by hand from {home} "
                    "and use `bench run --set FILE`"
                )
            with path.open("wb") as file:
                for chunk in response.iter_bytes(_CHUNK):
                    file.write(chunk)
    except httpx2.HTTPError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInputError(f"{address}: cannot be fetched: {reason}; is there a network?") from error
    return True
