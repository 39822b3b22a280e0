"""`longform runs`."""

from dataclasses import asdict
from pathlib import Path

from longform.cli.flags import Flag
from longform.cli.output import console, print_result, print_table, printable


def runs(folder: Path = Path("runs"), *, json: Flag = False) -> None:
    """List the runs under a folder with their progress.

    Args:
        folder: Folder to search recursively.
        json: Print the result as JSON.
    """
    from longform.records.run_list import list_runs

    found = list_runs(folder)
    if json:
        print_result({"runs": [asdict(it) | {"path": str(it.path)} for it in found]}, as_json=True)
        return
    rows = []
    for it in found:
        steps = f"{it.step} of {'?' if it.steps is None else it.steps}"
        rung = "-" if it.mean_rung is None else f"{it.mean_rung:.2f}"
        change = "-" if it.first_grade is None else f"{it.first_grade:.2f} to {it.last_grade:.2f}"
        rows.append([str(it.path), it.state, steps, f"{it.seconds:.0f}", rung, change])
    print_table("Runs", ["run", "state", "steps", "seconds", "mean rung", "validation grade"], rows)
    for it in found:
        if it.problem:
            console.print(printable(it.problem), markup=False, soft_wrap=True)
