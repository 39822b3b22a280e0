"""`longform grade RESPONSES`."""

from pathlib import Path

from longform.cli.flags import READ_FLAGS, CostLimit, Flag, ReadFlags
from longform.cli.output import command_line, describe_stale, print_result, progress


def grade(
    responses: tuple[Path, ...],
    *,
    prompts: Path,
    judge: str,
    out: Path,
    models: Path = Path("models.yaml"),
    per_criterion: Flag = False,
    budget: CostLimit | None = None,
    keep_stale: Flag = False,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Have a judge grade responses. Running it again adds the missing grades.

    Args:
        responses: One or more responses files.
        prompts: Prompts file of the responses.
        judge: A name in models.yaml.
        out: Grades file to write or append to.
        models: Path to models.yaml (endpoint definitions).
        per_criterion: Ask about each of a prompt's criteria in a call of its own, and average the scores.
        budget: Stop before the calls cost more than this.
        keep_stale: Keep grades whose prompt, text or judge has changed, instead of making them anew.
        json: Print the result as JSON.
    """
    from longform.selection import grade as grading

    result = grading.grade(
        responses,
        prompts=prompts,
        judge=judge,
        out=out,
        models=models,
        per_criterion=per_criterion,
        budget=budget,
        keep_stale=keep_stale,
        reading=reading.parse(),
        progress=progress,
    )
    print_result(
        {
            "grades": result.rows,
            "new": result.added,
            "no grade": dict(result.failures) or 0,
            **describe_stale(result, kept=keep_stale),
            "cost": result.cost,
            "path": str(out),
        },
        as_json=json,
        next_command=command_line(
            *("select", "--prompts", prompts, *reading.again(), "--responses", *responses, "--grades", out),
            *("--policy", "MODEL", "--out", "LADDERS"),
        ),
    )
