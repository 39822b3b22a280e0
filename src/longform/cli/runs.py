"""`longform runs`."""

from pathlib import Path

from longform.cli.output import print_table


def runs(folder: Path = Path("runs")) -> None:
    """List the runs under a folder with their progress.

    Args:
        folder: Folder to search recursively.
    """
    from longform.records.errors import BadInputError
    from longform.records.run_directory import RunDirectory

    found = sorted(path.parent for path in folder.rglob("run.sqlite"))
    if not found:
        raise BadInputError(f"{folder}: no runs found (no run.sqlite at any depth)")
    rows = []
    for path in found:
        with RunDirectory.read(path) as run:
            grades = run.database.metric("validation/grade")
            change = f"{grades[0][1]:.2f} to {grades[-1][1]:.2f}" if len(grades) > 1 else "-"
            rungs = run.database.metric("curriculum/mean_rung")
            rung = f"{rungs[-1][1]:.2f}" if rungs else "-"
            rows.append([str(path), str(run.database.last_step()), f"{run.database.seconds():.0f}", rung, change])
    print_table("Runs", ["run", "steps", "seconds", "mean rung", "validation grade"], rows)
