"""`longform report RUN`."""

from pathlib import Path

from longform.cli.output import print_result


def report(run: Path) -> None:
    """Write the HTML report of a run, finished or in progress, into its folder.

    Args:
        run: A run directory.
    """
    from longform.records.run_directory import RunDirectory
    from longform.report.page import write_report

    with RunDirectory.read(run) as opened:
        path = write_report(opened)
    print_result({"report": str(path)}, as_json=False)
