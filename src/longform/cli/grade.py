"""`longform grade RESPONSES`."""

import asyncio
from pathlib import Path

from longform.cli.calls import RecordedCalls, check_gathered
from longform.cli.flags import Budget, Flag
from longform.cli.output import print_result, progress


def grade(
    responses: tuple[Path, ...],
    *,
    prompts: Path,
    judge: str,
    out: Path,
    models: Path = Path("models.yaml"),
    budget: Budget | None = None,
    json: Flag = False,
) -> None:
    """Have a judge grade responses. Started again, it adds what is missing in OUT.

    Args:
        responses: One or more responses files.
        prompts: The prompts they were written for.
        judge: A name of models.yaml.
        out: Grades file to write or to add to.
        models: What the names of models mean.
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.judging.pointwise import PointwiseJudge
    from longform.records.files import read_all, read_rows
    from longform.records.schemas import Prompt, Response
    from longform.selection.generate import Gathered
    from longform.selection.grade import check_prompts
    from longform.selection.grade import grade as gather

    rows = {row.id: row for row in read_rows(prompts, Prompt)}
    texts = list(read_all(responses, Response))
    check_prompts(texts, rows, source=str(prompts))
    with RecordedCalls(out, models, judge, budget=budget) as calls, progress(f"grading with {judge}") as advance:

        async def ask() -> Gathered:
            async with calls.endpoint() as endpoint:
                pointwise = PointwiseJudge(endpoint, secret=calls.log.secret())
                return await gather(texts, rows, pointwise, out=out, on_progress=advance)

        result = asyncio.run(ask())
        cost = calls.cost()
    check_gathered(result)
    print_result(
        {
            "grades": result.rows,
            "new": result.added,
            "no grade": dict(result.failures) or 0,
            "cost": cost,
            "path": str(out),
        },
        as_json=json,
        next_command=f"longform select --prompts {prompts} --responses ... --grades {out} --policy MODEL --out LADDERS",
    )
