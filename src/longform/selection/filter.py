"""Keep the prompts that need long, high-quality writing according to a judge.

The result is a function of the prompts and the recorded answers: a second call reuses recorded answers and requests only
missing ones. A prompt without a verdict is neither kept nor counted as dropped.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.recorded import RecordedCalls
from longform.judging.requests import RequestCriteria, RequestJudge
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.paths import check_out
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.schemas import Prompt
from longform.selection.generate import CollectResult


@dataclass(slots=True)
class Filtered:
    """Result of filtering, in numbers of prompts."""

    prompts: int = 0
    kept: int = 0
    judged: int = 0
    """Prompts with a verdict."""
    criteria: dict[str, str] = field(default_factory=dict)
    """Criterion -> its text."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Prompts that fail a criterion, by criterion; a prompt can fail several."""
    alone: dict[str, int] = field(default_factory=dict)
    """Prompts that fail only this criterion."""
    failures: Counter[str] = field(default_factory=Counter)
    """Prompts without a verdict, by cause."""
    cost: str = ""
    """Cost and number of calls, in words."""


def filter_prompts(
    prompts: Path,
    *,
    judge: str,
    out: Path,
    also: str | None = None,
    models: Path = Path("models.yaml"),
    budget: float | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> Filtered:
    """Have a judge decide which prompts need long, high-quality writing, and write those to `out`.

    Args:
        prompts: Prompts file.
        judge: A name in `models`.
        out: Prompts file to write.
        also: An additional criterion in plain words.
        models: Path to models.yaml.
        budget: Stop before the calls cost more than this.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: a bad row, an unknown judge, a missing key, an unwritable file, or no prompt is kept.
        StoppedError: the budget is spent, or every request failed.
    """
    check_out(out, prompts, models)
    rows = list(read_rows(prompts, Prompt, reading))
    with RecordedCalls(out, models, judge, budget=budget) as calls, progress(f"filtering with {judge}") as advance:

        async def collect() -> Filtered:
            async with calls.endpoint() as endpoint:
                needs = RequestJudge(endpoint, secret=calls.log.secret(), also=also)
                return await filter_by_judge(rows, needs, out=out, on_progress=advance)

        result = asyncio.run(collect())
        result.cost = calls.cost()
        first = calls.first_failure()
    CollectResult(out, rows=result.judged, failures=result.failures, first_failure=first).check()
    return result


async def filter_by_judge(
    prompts: Sequence[Prompt], judge: RequestJudge, *, out: Path, on_progress: Progress
) -> Filtered:
    """Write the prompts that meet every criterion to `out`, in order, with the judge's name in `meta.filter`.

    Nothing is written if none is kept.

    Raises:
        BadInputError: the endpoint is down or refuses the key, `out` cannot be written, or the judge keeps no prompt.
        StoppedError: the budget is spent.
    """
    criteria = judge.meanings()
    result = Filtered(prompts=len(prompts), criteria=criteria)
    verdicts: dict[str, RequestCriteria] = {}

    async def work(prompt: Prompt) -> None:
        asked = await judge.judge(prompt)
        if asked.value is None:
            result.failures[str(asked.cause)] += 1
        else:
            verdicts[prompt.id] = asked.value
        on_progress(len(verdicts) + result.failures.total(), len(prompts))

    await map_bounded(prompts, work, workers=judge.endpoint.workers)
    failed = [[name for name, holds in verdict.items() if not holds] for verdict in verdicts.values()]
    result.judged = len(verdicts)
    result.dropped = {name: sum(name in names for names in failed) for name in judge.criteria}
    result.alone = {name: failed.count([name]) for name in judge.criteria}
    kept = [prompt for prompt in prompts if prompt.id in verdicts and all(verdicts[prompt.id].values())]
    result.kept = len(kept)
    if verdicts and not kept:
        causes = ", ".join(f"{name} {count}" for name, count in result.dropped.items() if count)
        raise BadInputError(f"{out}: not written: the judge kept none of {len(verdicts)} prompts (failed: {causes})")
    if kept:
        mark = {"filter": {"judge": judge.endpoint.name}}
        write_rows(out, (prompt.model_copy(update={"meta": prompt.meta | mark}) for prompt in kept))
    return result
