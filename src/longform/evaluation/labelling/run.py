"""Prepare labelling: the pairs of a file, a run or games, and the store of their labels."""

from collections.abc import Sequence
from pathlib import Path

from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.evaluation.labelling.assignment import Assignment
from longform.evaluation.labelling.interchange import import_pairs
from longform.evaluation.labelling.labels import LabelStore
from longform.evaluation.labelling.sampling import SampleBy, pairs_of_games, sample_run
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.tables import raw_rows


def open_labels(
    source: Path,
    *,
    out: Path | None = None,
    people: Sequence[str] = ("me",),
    overlap: float = 1.0,
    sample: int | None = None,
    by: SampleBy = "random",
    prompts: Path | None = None,
    responses: Sequence[Path] = (),
    seed: int = 0,
    reading: Reading = AS_IS,
) -> LabelStore:
    """Open a pairs file for labelling; from a run, games, or another tool's JSON it is made first.

    A pairs file that exists is gone on with: its pairs stay as they are.

    Args:
        source: Pairs file, run directory, games file, or JSON of Argilla or Label Studio.
        out: Pairs file for the labels; a pairs file is labelled in place by default.
        people: Names of those who label.
        overlap: Share of the pairs that all of them label.
        sample: Number of rollouts to draw from a run (default: 100).
        by: Where half of them are drawn.
        prompts: Prompts of a games file.
        responses: Responses files with the texts of a games file.
        seed: Random seed of the sample, of who labels what, and of the order of the texts.
        reading: How files are read.

    Raises:
        BadInputError: a file cannot be read, arguments conflict, or there is nothing to label.
    """
    is_pairs = source.is_file() and source.suffix != ".json" and _has_field(source, "response_a")
    path = out or (source if is_pairs else None)
    if path is None:
        raise BadInputError(f"--out: required with {source}; the pairs file for the labels")
    if sample is not None and not source.is_dir():
        raise BadInputError("--sample: only for a run; of a pairs file all pairs are labelled")
    if path.suffix == ".parquet" or path.suffix == ".json":
        raise BadInputError(f"{path}: labels are written as JSON Lines; name a .jsonl file with --out")
    if not path.exists():
        write_rows(path, _make_pairs(source, is_pairs, sample or 100, by, prompts, responses, seed, reading))
    pairs = read_pairs([path], reading)
    return LabelStore(path, pairs, Assignment([it.id for it in pairs], people, overlap=overlap, seed=seed))


def _make_pairs(
    source: Path,
    is_pairs: bool,
    count: int,
    by: SampleBy,
    prompts: Path | None,
    responses: Sequence[Path],
    seed: int,
    reading: Reading,
) -> list[AuditedPair]:
    if not source.exists():
        raise BadInputError(f"{source}: no such file or folder; name a pairs file, a run directory, or a games file")
    if source.is_dir():
        with RunDirectory.read(source) as run:
            return sample_run(run, count, by=by, seed=seed)
    if source.suffix == ".json":
        return import_pairs(source)
    if is_pairs:
        return read_pairs([source], reading)
    if prompts is None or not responses:
        raise BadInputError(f"{source}: games have no texts; name their --prompts and --responses")
    return pairs_of_games(source, prompts, responses, reading)


def _has_field(path: Path, name: str) -> bool:
    first = next(raw_rows(path), None)
    return first is not None and name in (first.content if isinstance(first.content, dict) else str(first.content))
