"""`longform schema`."""

from pathlib import Path

from longform.cli.flags import Flag
from longform.cli.output import print_result
from longform.project.json_schemas import FileKind


def schema(kind: FileKind = "recipe", /, *, out: Path | None = None, json: Flag = False) -> None:
    """Print or write the JSON Schema of a recipe, of a study or of models.yaml, for completion and checks in an editor.

    An editor with the YAML language server finds it by a line of the file:
    `# yaml-language-server: $schema=./recipe.schema.json`.

    Args:
        kind: What the schema describes: the recipe of `longform train` (recipe), of `sft`, `pretrain`, `reward-model` or
            `judge-model`, a study, or models.yaml (models).
        out: File to write; it replaces an existing one (default: print the schema).
        json: Print the result as JSON.
    """
    from longform.project.json_schemas import dump_schema
    from longform.records.files import write_text

    text = dump_schema(kind)
    if out is None:
        print(text, end="")
        return
    write_text(out, text)
    print_result({"kind": kind, "path": str(out)}, as_json=json)
