"""Criteria of prompts: names, weights, score bands and hard constraints, written by a judge or taken from published files.

As in `selection.lengths`, the result is a function of the prompts and the recorded answers: a second call requests only
missing answers.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import model_validator

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.recorded import RecordedCalls
from longform.judging.criteria_writing import CriteriaJudge, TextContrast
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.paths import check_out
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.schemas import Criterion, Message, Prompt, Row, Winner, majority
from longform.selection.generate import CollectResult
from longform.selection.preferences import flaw
from longform.selection.published_criteria import read_published


@dataclass(slots=True)
class CriteriaSummary:
    """Outcome of writing or importing criteria, in numbers of prompts."""

    prompts: int = 0
    rows: int = 0
    """Prompts with criteria, in `out`."""
    given: int = 0
    """Prompts of these that kept the criteria that they had."""
    contrasted: int = 0
    """Prompts of these whose new criteria come from a better and a worse text."""
    constraints: int = 0
    """Hard constraints of all rows."""
    failures: Counter[str] = field(default_factory=Counter)
    """Prompts without a well-formed answer, by cause."""
    unmatched: int = 0
    """Of an import: prompts that the published file does not have."""
    left_out: int = 0
    """Of an import: criteria with negative points or without a text, which have no place in a mean."""
    cost: str = "0"
    """Cost and number of calls, in words."""


class ContrastRow(Row):
    """A row of a preferences or a pairs file, as far as criteria need it."""

    prompt: str | list[Message]
    prompt_id: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    margin: float | None = None
    response_a: str | None = None
    response_b: str | None = None
    label: Winner | None = None
    labels: dict[str, Winner] | None = None

    @model_validator(mode="after")
    def _check_texts(self) -> "ContrastRow":
        texts = (self.chosen, self.rejected) if self.chosen is not None else (self.response_a, self.response_b)
        if None in texts:
            raise ValueError("needs either `chosen` and `rejected`, or `response_a`, `response_b` and `label`")
        return self

    @property
    def contrast(self) -> TextContrast | None:
        """The two texts; None for a tie, a pair without a label, and texts that are equal or empty."""
        if self.chosen is not None:
            better, worse = self.chosen, self.rejected
        else:
            better, worse = self.response_a, self.response_b
            label = majority(self.labels) if self.labels else self.label
            if label == "b":
                better, worse = worse, better
            elif label != "a":
                return None
        assert better is not None and worse is not None, "checked by _check_texts"
        return None if flaw(better, worse) else TextContrast(better, worse)


def write_criteria(
    prompts: Path,
    *,
    judge: str,
    out: Path,
    pairs: Path | None = None,
    contrasts: Sequence[ContrastRow] = (),
    count: int = 5,
    retries: int = 2,
    refresh: bool = False,
    models: Path = Path("models.yaml"),
    budget: float | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> CriteriaSummary:
    """Have a judge write the criteria of each prompt, and write the prompts with their criteria to `out`.

    Args:
        prompts: Prompts file; prompts with `criteria` are kept unchanged.
        judge: A name in `models`.
        out: Prompts file to write.
        pairs: Preferences or pairs file; the criteria of a prompt with a better and a worse text in it come from their
            difference.
        contrasts: More such rows.
        count: Criteria per prompt, without hard constraints.
        retries: How often to ask again after an answer that breaks a rule.
        refresh: Also write criteria for prompts that have some; they keep them if there is no valid answer.
        models: Path to models.yaml.
        budget: Stop before the calls cost more than this.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: a bad row, pairs of which none is about a prompt, an unknown judge, a missing key, or an unwritable
            file.
        StoppedError: the budget is spent, or every request failed.
    """
    check_out(out, prompts, models, *([] if pairs is None else [pairs]))
    rows = list(read_rows(prompts, Prompt, reading))
    given = [*contrasts, *([] if pairs is None else read_rows(pairs, ContrastRow, reading))]
    chosen = choose_contrasts(rows, given)
    if given and not chosen:
        raise BadInputError(f"{pairs or prompts}: no pair of a better and a worse text is about a prompt of {prompts}")
    with RecordedCalls(out, models, judge, budget=budget) as calls, progress(f"criteria from {judge}") as advance:

        async def collect() -> CriteriaSummary:
            async with calls.endpoint() as endpoint:
                writer = CriteriaJudge(endpoint, secret=calls.log.secret(), count=count, retries=retries)
                return await collect_criteria(rows, writer, chosen, refresh=refresh, out=out, on_progress=advance)

        result = asyncio.run(collect())
        result.cost = calls.cost()
        first = calls.first_failure()
    CollectResult(out, rows=result.rows, failures=result.failures, first_failure=first).check()
    return result


def choose_contrasts(prompts: Iterable[Prompt], rows: Iterable[ContrastRow]) -> dict[str, TextContrast]:
    """The better and the worse text of each prompt, by its id: of several the pair with the largest margin, then the last.

    A row belongs to the prompt with its `prompt_id`, or without one to every prompt with its request.
    """
    best: dict[str, tuple[float, TextContrast]] = {}
    for row in rows:
        key = _by_id(row.prompt_id) if row.prompt_id is not None else _by_turns(Prompt(id="-", prompt=row.prompt))
        margin = row.margin or 0.0
        if (contrast := row.contrast) is not None and (key not in best or margin >= best[key][0]):
            best[key] = margin, contrast
    found = {it.id: best.get(_by_id(it.id)) or best.get(_by_turns(it)) for it in prompts}
    return {id_: pair[1] for id_, pair in found.items() if pair is not None}


async def collect_criteria(
    prompts: Sequence[Prompt],
    judge: CriteriaJudge,
    contrasts: Mapping[str, TextContrast],
    *,
    refresh: bool,
    out: Path,
    on_progress: Progress,
) -> CriteriaSummary:
    """Write the prompts with their criteria to `out`, in order, with the judge's name in `meta.criteria_judge`.

    Prompts that have criteria are kept unchanged, with `refresh` only where there is no valid answer. Nothing is written if
    no prompt has criteria.

    Raises:
        BadInputError: the endpoint is down or refuses the key, or `out` cannot be written.
        StoppedError: the budget is spent.
    """
    asked = [prompt for prompt in prompts if refresh or not prompt.criteria]
    result = CriteriaSummary(len(prompts))
    written: dict[str, list[Criterion]] = {}

    async def work(prompt: Prompt) -> None:
        reply = await judge.write(prompt, contrasts.get(prompt.id))
        if reply.value is None:
            result.failures[str(reply.cause)] += 1
        else:
            written[prompt.id] = reply.value
        on_progress(len(written) + result.failures.total(), len(asked))

    await map_bounded(asked, work, workers=judge.endpoint.workers)
    mark = {"criteria_judge": judge.endpoint.name}
    rows = [
        prompt.model_copy(update={"criteria": written[prompt.id], "meta": prompt.meta | mark})
        if prompt.id in written
        else prompt
        for prompt in prompts
        if prompt.id in written or prompt.criteria
    ]
    result.given = len(rows) - len(written)
    result.contrasted = len(written.keys() & contrasts.keys())
    _write(result, rows, out)
    return result


def import_criteria(
    source: Path,
    *,
    out: Path,
    prompts: Path | None = None,
    refresh: bool = False,
    reading: Reading = AS_IS,
) -> CriteriaSummary:
    """Write prompts with the criteria of a published file: WritingBench's queries, or RubricHub's rows.

    Args:
        source: The published file.
        out: Prompts file to write.
        prompts: Only these prompts, matched by id or else by request; None: all of the file.
        refresh: Also replace the criteria of prompts that have some.
        reading: How `prompts` is read.

    Raises:
        BadInputError: a bad row, a file of neither, no match, or an unwritable file.
    """
    check_out(out, source, *([] if prompts is None else [prompts]))
    published = read_published(source)
    rows, result = published.prompts, CriteriaSummary(len(published.prompts), left_out=published.left_out)
    if prompts is not None:
        known = {key: it.criteria for it in rows for key in (_by_turns(it), _by_id(it.id))}
        own = list(read_rows(prompts, Prompt, reading))
        rows = []
        for row in own:
            found = known.get(_by_turns(row)) or known.get(_by_id(row.id))
            if row.criteria and not (refresh and found):
                result.given += 1
                rows.append(row)
            elif found:
                rows.append(row.model_copy(update={"criteria": found}))
        result.prompts, result.unmatched = len(own), len(own) - len(rows)
        if not rows:
            raise BadInputError(f"{source}: has none of the prompts of {prompts}, by id or by request")
    _write(result, rows, out)
    return result


def _write(result: CriteriaSummary, rows: Sequence[Prompt], out: Path) -> None:
    result.rows = len(rows)
    criteria = [it for row in rows if isinstance(row.criteria, list) for it in row.criteria]
    result.constraints = sum(it.hard for it in criteria)
    if rows:
        write_rows(out, rows)


def _by_id(id_: str) -> str:
    return f"id {id_}"


def _by_turns(prompt: Prompt) -> str:
    return json.dumps([[turn["role"], turn["content"].strip()] for turn in prompt.messages], ensure_ascii=False)
