"""`longform runs`."""

from dataclasses import asdict
from pathlib import Path

from longform.cli.flags import Flag
from longform.cli.output import print_result, print_table


def runs(folder: Path = Path("runs"), *, json: Flag = False) -> None:
    """List the runs under a folder with their progress: finished, running, stopped, or damaged.

    Args:
        folder: Folder to search recursively.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError
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
    if damaged := [it.problem for it in found if it.problem]:
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        raise BadInputError(f"{damaged[0]}{more}")
