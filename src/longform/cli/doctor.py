"""`longform doctor RUN`."""

from dataclasses import asdict
from pathlib import Path

from longform.cli.flags import Flag
from longform.cli.output import print_result, printable


def doctor(run: Path, *, json: Flag = False) -> None:
    """Check a run, finished or in progress, for known failure signatures and suggest what to change.

    Args:
        run: A run directory.
        json: Print the findings as JSON.
    """
    from longform.monitors.progress import examined_gain
    from longform.monitors.series import MIN_CASES, MIN_STEPS, VERDICTS
    from longform.monitors.watch import diagnose, is_too_early, unwatched
    from longform.records.recorded_calls import find_call_log, model_changes
    from longform.records.run_directory import RunDirectory

    with RunDirectory.read(run) as opened:
        series = opened.database.metrics()
        steps = opened.database.last_step()
    findings, missing, too_early = diagnose(series), unwatched(series), is_too_early(series)
    changes, gain = model_changes(find_call_log(run)), examined_gain(series)
    if json:
        found = [asdict(finding) for finding in findings]
        result = {"steps": steps, "too_early": too_early, "findings": found, "unwatched": missing}
        result["model_changes"] = changes
        result["gain"] = None if gain is None else gain._asdict()
        print_result(result, as_json=True)
        return
    for it in findings:
        print(f"{it.name} (steps {it.first} to {it.last})\n  {it.evidence}\n  {it.advice}")
    if gain is not None:
        print(f"gain: {gain}")
    for change in changes:
        print(f"model changed: {printable(change)}\n  grades and verdicts before and after are not comparable")
    if too_early:
        needed = f"most checks need {MIN_STEPS} steps and {MIN_CASES} verdicts"
        verdicts = int(sum(count for _, count in series.get(VERDICTS, ())))
        print(f"too early for more checks: {needed}; the run is at step {steps} with {verdicts} verdicts")
    elif not findings:
        print(f"no known failure signature in {steps} steps")
    for name, need in missing.items():
        print(f"not checked: {name} needs {need}")
