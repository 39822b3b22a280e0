"""Target length ranges of prompts, predicted by a judge under LongWriter-Zero's published rules.

As in `selection.filter`, the result is a function of the prompts and the recorded answers: a second call requests only
missing answers.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.recorded import RecordedCalls
from longform.judging.requests import LengthJudge, PredictedLength
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.paths import check_out
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.schemas import Prompt
from longform.selection.generate import CollectResult
from longform.text.length_rules import UNWRITTEN, Rule
from longform.text.words import is_countable


@dataclass(slots=True)
class LengthSummary:
    """Outcome of a length prediction, in numbers of prompts."""

    prompts: int = 0
    rows: int = 0
    """Prompts with a range, in `out`."""
    given: int = 0
    """Prompts of these that kept their original range."""
    kept: int = 0
    """Prompts of these for which a new range was requested without success."""
    unwritten: int = 0
    """Dropped because of [0, 0]: longer than 12,000 words, or impossible."""
    broken: int = 0
    """Dropped because every answer broke a rule."""
    rules: Counter[Rule] = field(default_factory=Counter)
    """Rules broken by the last answers of these; an answer can break several."""
    repeated: int = 0
    """Prompts that were retried after a broken rule, with or without success."""
    failures: Counter[str] = field(default_factory=Counter)
    """Prompts without a well-formed answer, by cause."""
    cost: str = ""
    """Cost and number of calls, in words."""

    @property
    def answered(self) -> int:
        """Number of prompts with an answer."""
        return self.rows - self.kept + self.unwritten + self.broken


def predict_lengths(
    prompts: Path,
    *,
    judge: str,
    out: Path,
    retries: int = 2,
    refresh: bool = False,
    models: Path = Path("models.yaml"),
    budget: float | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> LengthSummary:
    """Have a judge predict a target length range per prompt, and write the prompts with their ranges to `out`.

    Args:
        prompts: Prompts file; prompts with a `length_range` are kept unchanged.
        judge: A name in `models`.
        out: Prompts file to write.
        retries: How often to retry after a range that breaks a rule.
        refresh: Also predict prompts with a `length_range`; they keep it if there is no valid answer.
        models: Path to models.yaml.
        budget: Stop before the calls cost more than this.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: a bad row, a prompt whose words cannot be counted, an unknown judge, a missing key, an unwritable
            file, or every prompt was dropped.
        StoppedError: the budget is spent, or every request failed.
    """
    check_out(out, prompts, models)
    rows = list(read_rows(prompts, Prompt, reading))
    if uncounted := [row.id for row in rows if not is_countable(row.request)]:
        raise BadInputError(
            f"{prompts}: prompt {uncounted[0]}: the words of its language cannot be counted (a script "
            f"without blanks, such as Thai), like those of {len(uncounted)} of {len(rows)} prompts; leave them out, as with "
            "pool --language"
        )
    with RecordedCalls(out, models, judge, budget=budget) as calls, progress(f"lengths from {judge}") as advance:

        async def collect() -> LengthSummary:
            async with calls.endpoint() as endpoint:
                predictor = LengthJudge(endpoint, secret=calls.log.secret(), retries=retries)
                return await collect_lengths(rows, predictor, refresh=refresh, out=out, on_progress=advance)

        result = asyncio.run(collect())
        result.cost = calls.cost()
        first = calls.first_failure()
    CollectResult(out, rows=result.answered, failures=result.failures, first_failure=first).check()
    return result


async def collect_lengths(
    prompts: Sequence[Prompt], judge: LengthJudge, *, refresh: bool, out: Path, on_progress: Progress
) -> LengthSummary:
    """Write the prompts with their ranges to `out`, in order, with the judge's name in `meta.length_judge`.

    Prompts that have a range are kept unchanged; with `refresh` they are predicted too, and keep their range if there is no
    valid answer. Nothing is written if there is no answer at all.

    Raises:
        BadInputError: the endpoint is down or refuses the key, `out` cannot be written, or every prompt was dropped.
        StoppedError: the budget is spent.
    """
    asked = [prompt for prompt in prompts if refresh or prompt.length_range is None]
    predictions: dict[str, PredictedLength] = {}

    async def work(prompt: Prompt) -> None:
        predictions[prompt.id] = await judge.predict(prompt)
        on_progress(len(predictions), len(asked))

    await map_bounded(asked, work, workers=judge.endpoint.workers)
    rows = [it for prompt in prompts if (it := _with_range(prompt, predictions.get(prompt.id), judge.endpoint.name))]
    result = _count(predictions, prompts=len(prompts), rows=len(rows))
    result.kept = sum(it.length_range is not None and _is_unanswered(predictions[it.id]) for it in asked)
    result.given = len(prompts) - len(asked) + result.kept
    if result.answered and not rows:
        raise BadInputError(
            f"{out}: not written: no prompt has a length ({result.unwritten} got [0, 0], {result.broken} broke the rules)"
        )
    if result.answered:
        write_rows(out, rows)
    return result


def _with_range(prompt: Prompt, predicted: PredictedLength | None, judge: str) -> Prompt | None:
    if predicted is None or _is_unanswered(predicted):
        return prompt if prompt.length_range is not None else None
    if predicted.range is None or predicted.range == UNWRITTEN:
        return None
    meta = prompt.meta | {"length_judge": judge}
    return prompt.model_copy(update={"length_range": predicted.range, "meta": meta})


def _is_unanswered(predicted: PredictedLength) -> bool:
    return predicted.range is None and not predicted.broken


def _count(predictions: dict[str, PredictedLength], *, prompts: int, rows: int) -> LengthSummary:
    result = LengthSummary(prompts, rows)
    for predicted in predictions.values():
        result.repeated += predicted.repetitions > 0
        result.unwritten += predicted.range == UNWRITTEN
        if predicted.broken:
            result.broken += 1
            result.rules.update(predicted.broken)
        elif predicted.cause is not None:
            result.failures[predicted.cause] += 1
    return result
