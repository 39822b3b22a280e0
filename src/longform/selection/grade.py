"""Grades: a judge's pointwise score of every response, resumable grade by grade.

A response that gets no grade (no answer, no well-formed one) has no row: it is counted by cause and tried again by the
same command. It never becomes a low score. An answer without a well-formed grade stands: what is on record in the log of
calls is not asked for again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from longform.judging.pointwise import PointwiseJudge
from longform.records.collection import Collection
from longform.records.errors import BadInputError
from longform.records.schemas import Grade, Prompt, Response
from longform.selection.gathering import for_each
from longform.selection.generate import Gathered, Progress


async def grade(
    responses: Iterable[Response],
    prompts: Mapping[str, Prompt],
    judge: PointwiseJudge,
    *,
    out: Path,
    on_progress: Progress,
) -> Gathered:
    """Grades of all responses, added to those that `out` already holds.

    Raises:
        BadInputError: a response to an unknown prompt, an endpoint that is down or refuses the key, or an unwritable file.
        StoppedError: the budget is spent.
    """
    result = Gathered(out)
    with Collection(out, Grade) as collection:
        everything = list(responses)
        check_prompts(everything, prompts, source="the prompts")
        missing = [response for response in everything if _key(response, judge.endpoint.name) not in collection]

        async def work(response: Response) -> None:
            graded = await judge.grade(prompts[response.prompt_id], response.text)
            if graded.score is None:
                result.failures[str(graded.cause)] += 1
            else:
                collection.add(
                    Grade(
                        prompt_id=response.prompt_id,
                        model=response.model,
                        sample=response.sample,
                        score=graded.score,
                        dimensions=graded.dimensions,
                        judge=judge.endpoint.name,
                    )
                )
                result.added += 1
            on_progress(result.added + result.failures.total(), len(missing))

        await for_each(missing, work, workers=judge.endpoint.spec.concurrency)
        result.rows = collection.finish([_key(response, judge.endpoint.name) for response in everything])
    return result


def check_prompts(responses: Iterable[Response], prompts: Mapping[str, Prompt], *, source: str) -> None:
    """Refuse responses to prompts that are not in `prompts`; `source` says where these come from.

    Raises:
        BadInputError: names the first such response.
    """
    for response in responses:
        if response.prompt_id not in prompts:
            raise BadInputError(
                f"{source}: no prompt {response.prompt_id!r}, for which {response.model!r} wrote a response"
            )


def _key(response: Response, judge: str) -> tuple[str, str, int, str]:
    return response.prompt_id, response.model, response.sample, judge
