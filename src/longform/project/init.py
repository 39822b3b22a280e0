"""`longform init`: a folder with everything that the first commands need."""

from collections.abc import Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from longform.project.json_schemas import FileKind, dump_schema, schema_line, schema_name
from longform.records.errors import BadInputError
from longform.records.files import write_text

_TEMPLATES: dict[str, FileKind | None] = {
    "models.yaml": "models",
    "recipe.yaml": "recipe",
    "prompts.jsonl": None,
    "held-out.jsonl": None,
}
"""Files of a project, in the order in which they are edited, with the schema that each one names in its first line."""
NEXT_COMMANDS = (
    "edit models.yaml, and export JUDGE_KEY, EXAMINER_KEY and COMPETITOR_KEY",
    "hf download Qwen/Qwen2.5-0.5B-Instruct --local-dir policy",
    "longform generate prompts.jsonl --writer policy --out r-policy.jsonl --max-tokens 1500",
    "longform generate prompts.jsonl --writer competitor --out r-competitor.jsonl --max-tokens 3000",
    "longform grade r-policy.jsonl r-competitor.jsonl --prompts prompts.jsonl --judge judge --out grades.jsonl",
    "longform select --prompts prompts.jsonl --responses r-policy.jsonl r-competitor.jsonl --grades grades.jsonl "
    "--policy policy --out ladders.jsonl",
    "longform train recipe.yaml --dry-run",
    "longform train recipe.yaml",
    "longform report runs/first",
)
"""What to do in the folder, in order."""


class Project(NamedTuple):
    """A folder after `init_project`."""

    folder: Path
    written: list[str]
    kept: list[str]
    """Files that existed and were left as they are."""
    next_commands: list[str]


def judge_entries() -> dict[str, str]:
    """Ready entries of models.yaml for open judge models, by name: YAML with comments."""
    text = (files("longform.project") / "template" / "judges.yaml").read_text("utf-8")
    entries = (entry.strip() + "\n" for entry in text.split("\n\n"))
    return {next(line for line in it.split("\n") if line[0] not in "# ").rstrip(":"): it for it in entries}


def init_project(folder: Path = Path(), *, judges: Sequence[str] = ()) -> Project:
    """Write models.yaml, recipe.yaml, sample prompts and JSON Schemas into `folder`, which is created if it is missing.

    A file that exists is kept, so a folder may already hold prompts of one's own.

    Args:
        folder: where to write.
        judges: names of `judge_entries`, added to models.yaml.

    Raises:
        BadInputError: the folder cannot be written, or is a file; a judge is unknown, or models.yaml exists, to which it
            would have to be added.
    """
    entries = judge_entries()
    for name in judges:
        if name not in entries:
            near = get_close_matches(name, entries, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(entries)}"
            raise BadInputError(f"--judge {name}: unknown; {hint}")
    if judges and (folder / "models.yaml").exists():
        raise BadInputError(
            f"--judge: {folder / 'models.yaml'} exists and is kept; `longform init --judge` is for a new one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{folder}: cannot be created: {error.strerror}") from error
    contents: dict[str, str] = {}
    for name, kind in _TEMPLATES.items():
        text = (files("longform.project") / "template" / name).read_text("utf-8")
        if kind == "models":
            text += "".join(f"\n{entries[judge]}" for judge in judges)
        contents[name] = text if kind is None else schema_line(kind) + text
        if kind is not None:
            contents[schema_name(kind)] = dump_schema(kind)
    kept = [name for name in contents if (folder / name).exists()]
    written = [name for name in contents if name not in kept]
    for name in written:
        write_text(folder / name, contents[name])
    enter = [] if folder.resolve() == Path.cwd() else [f"cd {quote(str(folder))}"]
    return Project(folder, written, kept, [*enter, *NEXT_COMMANDS])
