"""How rows of other tools become ours: renamed columns, replaced bad bytes, JSON in cells, ids as text, `messages`.

A row that is valid as it stands never comes here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, NamedTuple

from longform.records.errors import BadInputError
from longform.records.schemas import Game, Grade, Ladder, Pair, Preference, Prompt, Response, Row, TrainingRow

_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 200
"""Deepest nesting of a row, as in the JSON parser of pydantic; what is deeper could not be written again."""
_IDS = ("id", "prompt_id", "model", "model_a", "model_b", "judge")
_ROLES = {"developer": "system", "human": "user", "gpt": "assistant"}
_IN_CELLS = ("meta", "length_range", "dimensions", "verdicts", "labels", "references", "messages", "conversations")
"""Fields that a cell of CSV holds as JSON."""
_PERHAPS_IN_CELLS = {"prompt": "role", "completion": "role", "criteria": "name"}
"""Fields that a cell holds as text or as a JSON list of objects with this field."""
_FIELDS = sorted(
    {
        name
        for kind in (Prompt, Response, Grade, Ladder, Game, Pair, Preference, TrainingRow)
        for name in kind.model_fields
    }
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How files of rows are read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a field -> its name in the file; used in files that have it."""
    skip_bad_rows: int = 0
    """Number of bad rows of a file to leave out, with a warning; one more is an error."""
    hint: str = ""
    """How to name a column, for the error about a missing field; {} is the field."""

    def __post_init__(self) -> None:
        check_columns(self.columns)

    @classmethod
    def parse(cls, columns: tuple[str, ...] = (), skip_bad_rows: int = 0) -> "Reading":
        """Build from values of `--column FIELD=NAME` and `--skip-bad-rows N`.

        Raises:
            BadInputError: a value is not of this form, or names no field of any row.
        """
        named = {}
        for value in columns:
            name, equals, column = value.partition("=")
            if not (name and equals and column):
                raise BadInputError(f"--column {value}: needs FIELD=NAME, such as prompt=question")
            named[name] = column
        return cls(named, skip_bad_rows, hint="; --column {}=NAME names another column")

    @classmethod
    def of_recipe(cls, columns: Mapping[str, str]) -> "Reading":
        """Build from the key `columns` of a recipe.

        Raises:
            BadInputError: a name is no field of any row.
        """
        return cls(columns, hint="; `columns: {{{}: NAME}}` in the recipe names another column")


def check_columns(columns: Mapping[str, str]) -> None:
    """Check that columns are given for fields that rows have.

    Raises:
        BadInputError: one is not; suggests the nearest name.
    """
    for name, column in columns.items():
        if name not in _FIELDS:
            near = get_close_matches(name, _FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"fields: {', '.join(_FIELDS)}"
            raise BadInputError(f"column {name}={column}: {name!r} is not a field of a row; {hint}")


AS_IS = Reading()


class Adapted(NamedTuple):
    """The fields of a row under our names and types."""

    fields: dict[str, Any]
    is_repaired: bool
    """Whether lone surrogates or bytes that are not UTF-8 were replaced."""
    made_id: bool
    """Whether the row had no id, and has one of its content."""


def adapt(fields: Mapping[str, Any], schema: type[Row], reading: Reading, *, is_text: bool) -> Adapted:
    """Return a row's fields under our names and types, as far as they can be told.

    Args:
        fields: The row as it stands in the file.
        schema: What it is read as.
        reading: With renamed columns.
        is_text: Whether all values are text: empty ones are then missing, and some hold JSON.

    Raises:
        RecursionError: the row is nested more than 200 deep.
    """
    row = {str(name): value for name, value in fields.items()}
    for ours, theirs in reading.columns.items():
        if ours in schema.model_fields and theirs in row:
            row[ours] = row.pop(theirs)
    if is_text:
        row |= {name: row[name].strip() for name in _IDS if isinstance(row.get(name), str)}
        row = {name: _from_cell(name, value) for name, value in row.items() if value or _may_be_empty(schema, name)}
    optional = schema.model_fields.keys() - {name for name in row if _is_required(schema, name)}
    row = {name: value for name, value in row.items() if value is not None or name not in optional}
    repairs = [0]
    row = _repaired(row, repairs, _DEEPEST)
    for name in _IDS:
        if name in schema.model_fields and name in row:
            row[name] = _id_text(row[name])
    if "messages" in schema.model_fields:
        _adapt_conversations(row)
    elif "prompt" in schema.model_fields:
        _adapt_prompt(row)
    made_id = "id" in schema.key_fields and _is_required(schema, "id") and row.get("id") is None
    if made_id:
        row.pop("id", None)
        row["id"] = content_id([row[name] for name in ("prompt", "response_a", "response_b") if name in row])
    return Adapted(row, bool(repairs[0]), made_id)


def replace_surrogates(text: str) -> str:
    """`text` with U+FFFD for each lone surrogate; two that are a pair become one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def content_id(content: Any) -> str:
    """A short, stable id of a row's content: 16 hexadecimal digits."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _may_be_empty(schema: type[Row], name: str) -> bool:
    """Whether an empty cell is an empty text, rather than a missing value."""
    return name not in _IDS and _is_required(schema, name)


def _is_required(schema: type[Row], name: str) -> bool:
    """Whether a field, by its name or alias, has no default."""
    return any(
        info.is_required() and name in (known, info.validation_alias) for known, info in schema.model_fields.items()
    )


def _repaired(value: Any, repairs: list[int], depth: int) -> Any:
    """`value` with lone surrogates and bytes that are not UTF-8 replaced by U+FFFD."""
    if not depth:
        raise RecursionError(f"nested more than {_DEEPEST} deep")
    match value:
        case str():
            if value.isascii() or not _SURROGATE.search(value):
                return value
            repairs[0] += 1
            return replace_surrogates(value)
        case bytes():
            return _repaired(value.decode("utf-8", "surrogateescape"), repairs, depth)
        case dict():
            return {_repaired(k, repairs, depth - 1): _repaired(v, repairs, depth - 1) for k, v in value.items()}
        case list() | tuple():
            return [_repaired(item, repairs, depth - 1) for item in value]
        case _:
            return value


def _from_cell(name: str, cell: Any) -> Any:
    if not isinstance(cell, str) or (name not in _IN_CELLS and name not in _PERHAPS_IN_CELLS) or cell[:1] not in "[{":
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    if name in _IN_CELLS:
        return value
    is_rows = isinstance(value, list) and value and all(isinstance(it, dict) for it in value)
    return value if is_rows and all(_PERHAPS_IN_CELLS[name] in it for it in value) else cell


def _id_text(value: Any) -> Any:
    """An integer id as text; other tools turn integers into floats where some are missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else value


def _adapt_prompt(row: dict[str, Any]) -> None:
    """Take a missing prompt from `messages`: the turns before the first answer, since later ones react to it."""
    _name_messages(row)
    if row.get("prompt") in (None, "") and isinstance(row.get("messages"), list):
        turns = [_adapt_turn(turn) for turn in row.pop("messages")]
        is_answer = [isinstance(turn, dict) and turn.get("role") == "assistant" for turn in turns]
        row["prompt"] = turns[: is_answer.index(True)] if True in is_answer else turns
    elif isinstance(row.get("prompt"), list):
        row["prompt"] = [_adapt_turn(turn) for turn in row["prompt"]]


def _adapt_conversations(row: dict[str, Any]) -> None:
    """Name roles and contents of all conversations as usual; `conversations` is another name of `messages`."""
    _name_messages(row)
    for name in ("messages", "prompt", "completion"):
        if isinstance(row.get(name), list):
            row[name] = [_adapt_turn(turn) for turn in row[name]]


def _name_messages(row: dict[str, Any]) -> None:
    if row.get("messages") is None and isinstance(row.get("conversations"), list):
        row["messages"] = row.pop("conversations")


def _adapt_turn(turn: Any) -> Any:
    """A turn with the role's usual name, and content that is a list of parts as one text."""
    if not isinstance(turn, dict):
        return turn
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(role, str):
        role = _ROLES.get(role, role)
    return turn | {"role": role, "content": join_parts(content)}


def join_parts(content: Any) -> Any:
    """The content of a turn as one text, if it is a list of text parts; otherwise unchanged."""
    if isinstance(content, list) and all(isinstance(it, dict) and isinstance(it.get("text"), str) for it in content):
        return "\n".join(part["text"] for part in content)
    return content
