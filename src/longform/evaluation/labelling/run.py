"""Opens pairs for labelling, from a file, a run or games, with the store of their labels."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.evaluation.labelling.assignment import Assignment
from longform.evaluation.labelling.flat_rows import is_flat
from longform.evaluation.labelling.interchange import LabelFormat, check_target, export_pairs, import_pairs
from longform.evaluation.labelling.labels import LOG_SUFFIX, GivenLabels, LabelLine, LabelStore
from longform.evaluation.labelling.sampling import SampleBy, pairs_of_games, sample_run
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import AppendedRows, read_all, write_rows, write_text
from longform.records.row_kinds import kind_of_row
from longform.records.run_directory import RunDirectory
from longform.records.tables import raw_rows, read_fields

ORIGIN_SUFFIX = ".source.json"
DEFAULT_SAMPLE = 100
_SourceKind = Literal["pairs", "run", "games", "tasks"]
_TASK_FIELDS = ("data", "fields", "inputs")


@dataclass(frozen=True, kw_only=True)
class PairSource:
    """Where pairs come from, and how a part of them is drawn."""

    path: Path
    """Pairs file, run directory, games file, or JSON of Argilla or Label Studio."""
    sample: int | None = None
    """Number of rollouts to draw from a run; None: `DEFAULT_SAMPLE`."""
    by: SampleBy = "random"
    """Which rollouts half of the pairs are drawn from."""
    prompts: Path | None = None
    """Prompts of a games file."""
    responses: Sequence[Path] = ()
    """Responses files with the texts of a games file."""
    seed: int = 0
    """Random seed of the sample."""
    reading: Reading = field(default=AS_IS)
    """How files are read."""


class Origin(BaseModel):
    """The source of a pairs file, stored beside the file; paths are relative to its folder."""

    model_config = ConfigDict(frozen=True)
    source: str
    sample: int | None = None
    by: SampleBy = "random"
    prompts: str | None = None
    responses: tuple[str, ...] = ()
    seed: int = 0
    blank: int = 0
    """Number of rollouts of the run that cannot be shown, because their response or reference is empty."""


class _Made(NamedTuple):
    pairs: list[AuditedPair]
    blank: int = 0


def open_labels(
    source: PairSource, *, out: Path | None = None, people: Sequence[str] = ("me",), overlap: float = 1.0
) -> LabelStore:
    """Open a pairs file for labelling. If the source is a run, games, or another tool's JSON, the pairs file is made first.

    An existing pairs file is continued with the same pairs.

    Args:
        source: Where the pairs come from.
        out: Pairs file for the labels; a pairs file is labelled in place by default.
        people: Names of the people who label.
        overlap: Share of the pairs that all of them label.

    Raises:
        BadInputError: a file cannot be read, arguments conflict, there is nothing to label, `out` was made from another
            source, or another process has it open.
    """
    kind = _kind(source)
    if out is None and kind != "pairs":
        raise BadInputError(f"--out: required with {source.path}; the pairs file for the labels")
    path = out or source.path
    if path.suffix in (".parquet", ".json", ".csv", ".tsv", ".txt"):
        raise BadInputError(f"{path}: labels are written as JSON Lines; name a .jsonl file with --out")
    made = None
    if not path.exists():
        made = _make_pairs(source, kind)
    elif path.resolve() != source.path.resolve():
        _check_origin(path, _origin(source, kind, path))
    reading = source.reading if made is None else AS_IS
    pairs = made.pairs if made else read_pairs([path], reading)
    assignment = Assignment([it.id for it in pairs], people, overlap=overlap, seed=source.seed)
    log = AppendedRows(path.with_name(path.name + LOG_SUFFIX), LabelLine)
    try:
        if made and not path.exists():
            origin = _origin(source, kind, path).model_copy(update={"blank": made.blank})
            write_text(_origin_path(path), origin.model_dump_json() + "\n")
            write_rows(path, pairs)
        else:  # another process may have saved labels before this one had the lock
            pairs = read_pairs([path], reading)
        return LabelStore(path, pairs, assignment, log)
    except BaseException:
        log.close()
        raise


def export_labels(source: PairSource, target: Path, form: LabelFormat, *, out: Path | None = None) -> int:
    """Write pairs and their labels for another tool; returns the number of pairs.

    Args:
        source: Where the pairs come from.
        target: File for the other tool; it must not exist.
        form: The other tool.
        out: Pairs file to export, made from the source if it does not exist; None: the source alone, and the labels that
            were given to a pairs file in place.

    Raises:
        BadInputError: as `open_labels` does, or `target` exists or cannot be written.
    """
    check_target(target)
    if out is not None:
        with open_labels(source, out=out) as store:
            pairs = store.labelled_pairs()
    else:
        pairs = _make_pairs(source, _kind(source)).pairs
        log = source.path.with_name(source.path.name + LOG_SUFFIX)
        lines = read_all([log], LabelLine) if log.is_file() and log.stat().st_size else ()
        pairs = GivenLabels(pairs, lines).merged()
    export_pairs(pairs, target, form)
    return len(pairs)


def blank_rollouts(path: Path) -> int:
    """Number of rollouts that could not be shown of the run that a pairs file was drawn from; 0 for other files."""
    origin = _read_origin(path)
    return origin.blank if origin else 0


def _kind(source: PairSource) -> _SourceKind:
    """The kind of a source.

    Raises:
        BadInputError: it does not exist, is empty, has rows of no known kind, or a flag is not valid for its kind.
    """
    path = source.path
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder; name a pairs file, a run directory, or a games file")
    if path.is_dir():
        return "run"
    if source.sample is not None:
        raise BadInputError("--sample: only valid for a run; all pairs of a file are labelled")
    if source.by != "random":
        raise BadInputError(f"--by {source.by}: only valid for a run; all pairs of a file are labelled")
    first = next(raw_rows(path), None)
    if first is None:
        raise BadInputError(f"{path}: contains no rows")
    fields = read_fields(first)
    if fields is None:  # reading the pairs will say what is wrong with the row
        return "tasks" if path.suffix == ".json" else "pairs"
    if is_flat(fields):
        return "tasks"
    named = {name for name, column in source.reading.columns.items() if column in fields} | fields.keys()
    kind = kind_of_row(named)
    if kind in ("pairs", "games"):
        return kind
    if any(isinstance(fields.get(it), dict) for it in _TASK_FIELDS):
        return "tasks"
    raise BadInputError(
        f"{path}: contains neither pairs (prompt, response_a, response_b) nor games (prompt_id, model_a, model_b, winner), "
        f"and is not JSON from Argilla or Label Studio; its fields are {', '.join(map(repr, list(fields)[:12]))}"
    )


def _make_pairs(source: PairSource, kind: _SourceKind) -> _Made:
    match kind:
        case "run":
            with RunDirectory.read(source.path) as run:
                return _Made(*sample_run(run, source.sample or DEFAULT_SAMPLE, by=source.by, seed=source.seed))
        case "tasks":
            return _Made(import_pairs(source.path))
        case "pairs":
            return _Made(read_pairs([source.path], source.reading))
        case "games":
            if source.prompts is None or not source.responses:
                raise BadInputError(f"{source.path}: games have no texts; name their --prompts and --responses")
            return _Made(pairs_of_games(source.path, source.prompts, source.responses, source.reading))


def _origin(source: PairSource, kind: _SourceKind, path: Path) -> Origin:
    def relative(it: Path) -> str:
        return os.path.relpath(it.resolve(), path.resolve().parent)

    return Origin(
        source=relative(source.path),
        sample=(source.sample or DEFAULT_SAMPLE) if kind == "run" else None,
        by=source.by,
        prompts=relative(source.prompts) if source.prompts else None,
        responses=tuple(map(relative, source.responses)),
        seed=source.seed,
    )


def _check_origin(path: Path, wanted: Origin) -> None:
    """Refuse to continue a pairs file that was made in another way.

    Raises:
        BadInputError: names what differs, and the remedy.
    """
    remedy = f"run `longform label {path}` to continue it, or name another --out"
    made = _read_origin(path)
    if made is None:
        raise BadInputError(f"--out: {path} exists, and it is unknown what its pairs were made from; {remedy}")
    for name in ("source", "sample", "by", "prompts", "responses", "seed"):
        before, now = getattr(made, name), getattr(wanted, name)
        if before != now:
            what = name if name == "source" else f"--{name}"
            raise BadInputError(f"--out: {path} was made with {what} {_shown(before)}, not {_shown(now)}; {remedy}")


def _shown(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else "none" if value is None else str(value)


def _read_origin(path: Path) -> Origin | None:
    try:
        return Origin.model_validate_json(_origin_path(path).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise BadInputError(f"{_origin_path(path)}: cannot be read: {reason}") from error


def _origin_path(path: Path) -> Path:
    return path.with_name(path.name + ORIGIN_SUFFIX)
