"""`longform init`."""

from pathlib import Path

from longform.cli.flags import Flag, Repeated
from longform.cli.output import print_result


def init(folder: Path = Path(), /, *, judge: Repeated = (), json: Flag = False) -> None:
    """Write a new project: models.yaml, a recipe, sample prompts and JSON Schemas for your editor.

    Files that exist are kept.

    Args:
        folder: Where to write; created if it is missing (default: the current folder).
        judge: Add a ready entry for an open judge model: writingbench-critic, letter-judge or reward-model. May be
            repeated.
        json: Print the result as JSON.
    """
    from longform.project.init import init_project

    project = init_project(folder, judges=judge)
    result = {"written": project.written, "kept": project.kept, "path": str(project.folder)}
    if json:
        print_result(result | {"next": project.next_commands}, as_json=True)
        return
    shown = {name: ", ".join(value) or "none" for name, value in result.items() if isinstance(value, list)}
    print_result(shown | {"path": str(project.folder)}, as_json=False)
    print("\nNext, in this order:")
    for command in project.next_commands:
        print(f"  {command}")
