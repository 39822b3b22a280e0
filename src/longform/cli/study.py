"""`longform study run | status | table | plot`."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from longform.cli.flags import Flag, PositiveInt, TableFormat
from longform.cli.output import command_line, console, print_result, print_tables, printable, progress, show_clock
from longform.records.errors import BadInputError

if TYPE_CHECKING:
    from longform.studies.tasks import StudyPlan, StudyTask
    from longform.studies.work import MakeWorld

study = App(name="study", help="Arms x seeds x examinations, joined into tables and curves.")


@study.command
def run(
    study: Path, *, out: Path | None = None, jobs: PositiveInt = 1, dry_run: Flag = False, json: Flag = False
) -> None:
    """Run the tasks of a study that are not done yet. Running it again resumes.

    Arms share whatever they have in common, such as the fine-tuned start, candidates and grades. After a change of the
    study file only the tasks that it affects are run.

    Args:
        study: Path to the study file (YAML).
        out: Folder of everything that the study makes (default: runs/NAME, where NAME is the study's).
        jobs: Tasks that run at once, each in a process of its own with one thread.
        dry_run: Check everything that can be checked, and list the tasks; nothing is trained, and judges of recipes are
            asked one small question each.
        json: Print the result as JSON.
    """
    from longform.studies.check import check_study
    from longform.studies.run import missing_tasks, run_study
    from longform.studies.status import study_status

    plan = _plan(study, out)
    check_study(plan)
    world = _world(plan, study)
    if dry_run:
        status = study_status(plan)
        if not json:
            print_tables([status.table])
            print()
        result = {"tasks": status.tasks, "done": status.done, "measurements": len(plan.measurements)}
        print_result(result | {"path": str(plan.folder)}, as_json=json, next_command=_command("run", study, out))
        return

    def report(task: "StudyTask", done: int, total: int) -> None:
        console.print(printable(f"{done}/{total}  {task.title}"), markup=False, soft_wrap=True)

    if missing_tasks(plan):
        with world as make_world:
            run_study(plan, jobs=jobs, make_world=make_world, progress=progress, on_task=report)
    status = study_status(plan)
    cost = "0 (no calls)" if status.calls is None else status.calls.shown_cost
    print_result(
        {"tasks": status.tasks, "cost": cost, "path": str(plan.folder)},
        as_json=json,
        next_command=_command("table", study, out),
    )


@study.command
def status(study: Path, *, out: Path | None = None, json: Flag = False) -> None:
    """Show the progress of a study: tasks done, hours so far and remaining, and money.

    Args:
        study: Path to the study file.
        out: Folder of the study (default: runs/NAME).
        json: Print as JSON.
    """
    from longform.studies.status import study_status

    plan = _plan(study, out)
    found = study_status(plan)
    if json:
        kinds = [it._asdict() | {"remaining": it.remaining} for it in found.kinds]
        calls = None if found.calls is None else found.calls._asdict()
        print_result({"done": found.done, "tasks": found.tasks, "kinds": kinds, "calls": calls}, as_json=True)
        return
    print_tables([found.table])
    print()
    remaining = [it.remaining for it in found.kinds]
    known = None if any(it is None for it in remaining) else sum(it or 0.0 for it in remaining)
    print_result(
        {
            "done": f"{found.done} of {found.tasks}",
            "remaining": show_clock(known),
            "next task": "none" if found.next_task is None else found.next_task.title,
            "cost": "0 (no calls)" if found.calls is None else found.calls.shown_cost,
            "path": str(plan.folder),
        },
        as_json=False,
        next_command=_command("table" if found.next_task is None else "run", study, out),
    )


@study.command
def table(study: Path, *, out: Path | None = None, format: TableFormat = "text", json: Flag = False) -> None:
    """Print a study's tables from what was measured so far: means, paired differences, hypotheses. No model is called.

    A difference is undecided where its interval contains 0. Intervals are over seeds and prompts.

    Args:
        study: Path to the study file.
        out: Folder of the study (default: runs/NAME).
        format: Output format.
        json: Same as --format json.
    """
    from longform.studies.page import findings_of
    from longform.studies.results import read_results

    plan = _begun(study, out)
    findings = findings_of(read_results(plan))
    path = findings.write(plan.folder)
    if json or format == "json":
        print_result(findings.as_json(), as_json=True)
        return
    print_tables(findings.tables, format)
    print()
    view = command_line("view", plan.folder)
    print_result({"path": str(path)}, as_json=False, next_command=view, aside=format != "text")


@study.command
def plot(study: Path, *, out: Path | None = None, page: Path | None = None, json: Flag = False) -> None:
    """Draw a study's curves with their intervals, and write them with all tables as an HTML page.

    Args:
        study: Path to the study file.
        out: Folder of the study (default: runs/NAME).
        page: The page (default: NAME.html in the folder).
        json: Print the result as JSON.
    """
    from longform.report.study import study_charts
    from longform.studies.page import findings_of, write_study_page
    from longform.studies.results import read_results

    plan = _begun(study, out)
    findings, path = findings_of(read_results(plan)), page or plan.folder / f"{plan.study.study}.html"
    write_study_page(path, findings)
    print_result({"curves": len(study_charts(findings)), "path": str(path)}, as_json=json)


def _begun(study: Path, out: Path | None) -> "StudyPlan":
    """The plan of a study with a folder."""
    plan = _plan(study, out)
    if not plan.folder.exists():
        raise BadInputError(f"{plan.folder}: no such folder; `{_command('run', study, out)}` makes it")
    return plan


def _plan(study: Path, out: Path | None) -> "StudyPlan":
    from longform.studies.plan import plan_study
    from longform.studies.settings import load_study

    read = load_study(study)
    return plan_study(read, out or Path("runs") / read.study, source=study)


def _world(plan: "StudyPlan", source: Path) -> "AbstractContextManager[MakeWorld | None]":
    """The server of the study's world; of no effect without one. Its settings are checked at once."""
    if plan.study.world is None:
        return nullcontext()
    from longform.miniature.study import read_world, serve_world

    return serve_world(read_world(plan.study.world, source=source), plan.folder)


def _command(name: str, study: Path, out: Path | None) -> str:
    return command_line("study", name, study, *([] if out is None else ["--out", out]))
