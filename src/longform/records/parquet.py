"""Rows of Parquet files."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from longform.records.encoding import decode_line
from longform.records.errors import BadInputError, in_one_line
from longform.records.foreign import check_kind
from longform.records.optional import require

PARQUET_BATCH = 1024


def field_names(path: Path) -> list[str]:
    """The columns of a Parquet file.

    Raises:
        BadInputError: it cannot be read as Parquet.
    """
    require("pyarrow", path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_kind(path)
        return pq.read_schema(path).names
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _no_parquet(path, error) from error


def parquet_rows(path: Path, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file.

    Args:
        path: The file.
        columns: Names of the fields that are read, including nested ones; empty: all.

    Raises:
        BadInputError: it cannot be read as Parquet, or pyarrow is not installed.
    """
    require("pyarrow", path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_kind(path)
        with pq.ParquetFile(path) as file:
            wanted = None
            if columns:
                leaves = [file.schema.column(i).path for i in range(len(file.schema))]
                wanted = [leaf for leaf in leaves if {leaf.split(".")[0], _last_name(leaf)} <= set(columns)]
            for batch in file.iter_batches(PARQUET_BATCH, columns=wanted):
                for row in _python_rows(batch):
                    yield row if columns else without_gaps(row)
    except (OSError, ValueError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: Path, error: Exception) -> BadInputError:
    return BadInputError(f"{path}: cannot be read as Parquet: {in_one_line(error)}")


def _python_rows(batch: Any) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        import pyarrow as pa

        schema = pa.schema([pa.field(field.name, _as_bytes(field.type)) for field in batch.schema])
        return [_as_text(row) for row in batch.cast(schema).to_pylist()]


def _as_bytes(kind: Any) -> Any:
    """The type of a Parquet column, with bytes instead of texts."""
    import pyarrow as pa

    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _as_bytes(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    return kind


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return decode_line(value)
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_text(item) for name, item in value.items()}
    return value


def _last_name(leaf: str) -> str:
    """The last name on the way to a Parquet column that is a field's, not one that Parquet gives a list's items."""
    return [name for name in leaf.split(".") if name not in ("list", "element", "item", "array")][-1]


def without_gaps(value: Any) -> Any:
    """`value` without nested nulls and empty objects, since a Parquet column gives all rows the same fields."""
    if isinstance(value, list):
        return [without_gaps(item) for item in value]
    if isinstance(value, dict):
        cleaned = {name: without_gaps(item) for name, item in value.items()}
        return {name: item for name, item in cleaned.items() if item is not None and item != {}}
    return value
