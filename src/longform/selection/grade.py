"""Grade responses with a judge (pointwise); resumable per grade.

A response whose grade is missing (no answer, or no well-formed one) has no row: it is counted by cause and retried by the
next call, and never becomes a low score. A recorded answer without a well-formed grade is not requested again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.recorded import RecordedCalls, check_endpoint
from longform.judging.pointwise import PointwiseJudge, check_criteria, check_no_constraints
from longform.records.adapting import AS_IS, Reading
from longform.records.collection import Collection
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.resume import hash_json
from longform.records.schemas import Grade, Prompt, Response
from longform.selection.generate import CollectResult, hash_prompt


def grade(
    responses: Sequence[Path],
    *,
    prompts: Path,
    judge: str,
    out: Path,
    models: Path = Path("models.yaml"),
    per_criterion: bool = False,
    budget: float | None = None,
    keep_stale: bool = False,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> CollectResult:
    """Have a judge grade responses; a second call adds what is missing in `out`.

    Args:
        responses: Responses files.
        prompts: Prompts file of the responses.
        judge: A name in `models`.
        out: Grades file to write or append to.
        models: Path to models.yaml.
        per_criterion: Ask about each of a prompt's criteria in a call of its own, and average the scores.
        budget: Stop before the calls cost more than this.
        keep_stale: Keep grades whose prompt, text or judge has changed, which are otherwise made anew.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: a bad row, a response to an unknown prompt, an unknown judge, a missing key, or an unwritable file.
        StoppedError: the budget is spent, or every request failed.
    """
    rows = {row.id: row for row in read_rows(prompts, Prompt, reading)}
    texts = list(read_all(responses, Response, reading))
    check_prompts(texts, rows, source=str(prompts))
    has_template = check_endpoint(judge, models, budget=budget).template is not None
    for prompt_id in {text.prompt_id for text in texts}:
        check_criteria(rows[prompt_id], per_criterion=per_criterion)
        if has_template and not per_criterion:
            check_no_constraints(rows[prompt_id], judge)
    with RecordedCalls(out, models, judge, budget=budget) as calls, progress(f"grading with {judge}") as advance:

        async def collect() -> CollectResult:
            async with calls.endpoint() as endpoint:
                pointwise = PointwiseJudge(endpoint, secret=calls.log.secret(), per_criterion=per_criterion)
                return await collect_grades(texts, rows, pointwise, out=out, keep_stale=keep_stale, on_progress=advance)

        result = asyncio.run(collect())
        result.cost, result.first_failure = calls.cost(), calls.first_failure()
    result.check()
    return result


async def collect_grades(
    responses: Iterable[Response],
    prompts: Mapping[str, Prompt],
    judge: PointwiseJudge,
    *,
    out: Path,
    on_progress: Progress,
    keep_stale: bool = False,
) -> CollectResult:
    """Append the grades of all responses to `out`; grades of other texts, prompts or judges are made anew.

    Raises:
        BadInputError: a response to an unknown prompt, an endpoint that is down or refuses the key, or an unwritable file.
        StoppedError: the budget is spent.
    """
    result = CollectResult(out)
    with Collection(out, Grade) as collection:
        everything = list(responses)
        check_prompts(everything, prompts, source="the prompts")
        made_by = hash_json(judge.settings)
        made_from = {
            _key(it, judge.endpoint.name): {
                "prompt": hash_prompt(prompts[it.prompt_id]),
                "text": hash_json(it.text),
                "judge": made_by,
            }
            for it in everything
        }
        result.stale = collection.drop_stale(made_from, keep=keep_stale)
        missing = [response for response in everything if _key(response, judge.endpoint.name) not in collection]

        async def work(response: Response) -> None:
            graded = await judge.grade(prompts[response.prompt_id], response.text)
            if graded.value is None:
                result.failures[str(graded.cause)] += 1
            else:
                collection.add(
                    Grade(
                        prompt_id=response.prompt_id,
                        model=response.model,
                        sample=response.sample,
                        score=graded.value.score,
                        dimensions=graded.value.dimensions,
                        judge=judge.endpoint.name,
                        calls=graded.calls,
                        made_from=made_from[_key(response, judge.endpoint.name)],
                    )
                )
                result.added += 1
            on_progress(result.added + result.failures.total(), len(missing))

        await map_bounded(missing, work, workers=judge.endpoint.workers)
        result.rows = collection.finish([_key(response, judge.endpoint.name) for response in everything])
    return result


def check_prompts(responses: Iterable[Response], prompts: Mapping[str, Prompt], *, source: str) -> None:
    """Check that every response's prompt is in `prompts`; `source` names the prompts in errors.

    Raises:
        BadInputError: a prompt is missing; the error names the first such response.
    """
    for response in responses:
        if response.prompt_id not in prompts:
            raise BadInputError(
                f"{source}: no prompt {response.prompt_id!r}, but {response.model!r} has a response to it"
            )


def _key(response: Response, judge: str) -> tuple[str, str, int, str]:
    return response.prompt_id, response.model, response.sample, judge
