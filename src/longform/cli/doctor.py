"""`longform doctor RUN`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import CostLimit, Flag, PositiveInt, Seed
from longform.cli.output import console, print_result, printable, progress

if TYPE_CHECKING:
    from longform.evaluation.keywords import KeywordCheck
    from longform.monitors.series import Series


def doctor(
    run: Path,
    *,
    judge: str | None = None,
    questions: PositiveInt = 40,
    models: Path | None = None,
    budget: CostLimit | None = None,
    seed: Seed = 0,
    json: Flag = False,
) -> None:
    """Check a run, finished or in progress, for known failure signatures and suggest what to change.

    No model is called without --judge. With it, a judge is asked whether words that the run uses more and more often are out
    of place in its latest responses; the price is printed first, and the calls are recorded in the run directory.

    Args:
        run: A run directory.
        judge: A name in models.yaml, preferably of a judge that gives no reward.
        questions: Ask about at most this many responses, drawn at random.
        models: Path to models.yaml (default: that of the run's recipe).
        budget: Stop before the calls cost more than this.
        seed: Random seed of the responses that are asked about.
        json: Print the findings as JSON.
    """
    from longform.evaluation.tables import plain
    from longform.monitors.progress import criteria_gain, examined_gain
    from longform.monitors.watch import diagnose, is_too_early, unwatched
    from longform.records.errors import BadInputError
    from longform.records.recorded_calls import find_call_log, model_changes
    from longform.records.run_directory import RunDirectory

    if judge is None and (models is not None or budget is not None):
        raise BadInputError(f"{'--models' if models else '--budget'}: only valid with --judge")
    with RunDirectory.read(run) as opened:
        series = opened.database.metrics()
        steps = opened.database.last_step()
    findings, missing, too_early = diagnose(series), unwatched(series), is_too_early(series)
    changes, gain = model_changes(find_call_log(run)), examined_gain(series)
    by_criteria = criteria_gain(series)
    checked = None
    if judge is not None:
        from longform.evaluation.keywords import check_keywords

        checked = check_keywords(
            run,
            judge=judge,
            models=models,
            questions=questions,
            budget=budget,
            seed=seed,
            progress=progress,
            on_plan=lambda line: console.print(line, markup=False, soft_wrap=True),
        )
    if json:
        found = [asdict(finding) for finding in findings]
        result = {"steps": steps, "too_early": too_early, "findings": found, "unwatched": missing}
        result["model_changes"] = changes
        result["gain"] = None if gain is None else gain._asdict()
        result["criteria_gain"] = None if by_criteria is None else by_criteria._asdict()
        print_result(result | ({} if checked is None else {"keywords": plain(checked)}), as_json=True)
        return
    for it in findings:
        print(f"{it.name} (steps {it.first} to {it.last})\n  {it.evidence}\n  {it.advice}")
    if checked is not None:
        _print_keywords(checked)
    if gain is not None:
        print(f"gain: {gain}")
    if by_criteria is not None:
        print(f"gain by criteria: {by_criteria}")
    for change in changes:
        print(f"model changed: {printable(change)}\n  grades and verdicts before and after are not comparable")
    if too_early:
        _print_too_early(series, steps)
    elif not findings:
        print(f"no known failure signature in {steps} steps")
    for name, need in missing.items():
        print(f"not checked: {name} needs {need}")


def _print_too_early(series: "Series", steps: int) -> None:
    from longform.monitors.series import MIN_CASES, MIN_STEPS, VERDICTS

    verdicts = int(sum(count for _, count in series.get(VERDICTS, ())))
    print(
        f"too early for most checks, which need {MIN_STEPS} steps and {MIN_CASES} verdicts: the run is at step {steps} with "
        f"{verdicts} verdicts"
    )


def _print_keywords(checked: "KeywordCheck") -> None:
    from longform.endpoints.errors import describe_causes
    from longform.evaluation.tables import show

    if not checked.words:
        print("rising words: none, so the judge was asked nothing")
        return
    share = "no verdict" if checked.out_of_place is None else show(checked.out_of_place.cell, digits=2)
    words = ", ".join(f"{printable(word)} {bad} of {count}" for word, (bad, count) in checked.by_word.items())
    print(f"rising words out of place, by {checked.judge}: {share} of {checked.asked} responses ({words or 'none'})")
    if checked.no_verdict:
        print(f"  no verdict: {describe_causes(checked.no_verdict)}")
    print(f"  cost {checked.cost}")
