"""Run a benchmark: generate responses, query the judge, build tables. Resumable per answer."""

import asyncio
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longform.endpoints.models import ModelSpec
from longform.endpoints.recorded import RecordedCalls, check_endpoint
from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, JudgePrompt, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, SamplingSettings
from longform.evaluation.benchmarks.catalogue import find_benchmark, read_set
from longform.evaluation.benchmarks.judged import ask_judge
from longform.evaluation.benchmarks.plan import Plan, begin
from longform.evaluation.benchmarks.price import BenchmarkPrice, price_run
from longform.evaluation.benchmarks.result import (
    JudgeUsed,
    ResponsesUsed,
    Result,
    SetVersion,
    describe_judge,
    describe_set,
    find_gaps,
    score_rows,
    write_result,
)
from longform.evaluation.benchmarks.sets import with_old_ids
from longform.evaluation.benchmarks.writing import Fitted, WritingPlan, fit, write_responses
from longform.judging.judge_template import JudgeTemplate
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError, RowsWarning
from longform.records.files import read_all, read_rows
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.schemas import Prompt, Response
from longform.selection.grade import check_prompts
from longform.text.structure import Thinking
from longform.writers.paths import check_writer, is_model_folder
from longform.writers.settings import LocalOptions

RESPONSES = "responses.jsonl"
"""File in the result's folder: the writer's responses."""
CALLS = "bench"
"""Prefix in the result's folder, before `.calls.sqlite`: all calls of the run."""


def run_benchmark(
    name: str,
    *,
    set_path: Path,
    out: Path,
    responses: Sequence[Path] = (),
    writer: str | None = None,
    judge: str | None = None,
    models: Path = Path("models.yaml"),
    max_tokens: int | None = None,
    temperature: float | None = None,
    think: Thinking = "off",
    think_prompt: Path | None = None,
    local: LocalOptions | None = None,
    budget: float | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] | None = None,
) -> Result:
    """Score responses to a benchmark's prompts and write the result to `out`; a second call resumes.

    Args:
        name: Name of the benchmark (see `catalogue.BENCHMARKS`).
        set_path: The benchmark's data: a file, or the folder that `fetch_set` created.
        out: Folder for the result, the judge's answers and the calls.
        responses: Responses files of one or more models; `prompt_id` is the id in the data. Texts are scored as they
            are, so they should not contain thoughts or tags.
        writer: Generate the responses with this writer instead: a name in `models`, or the folder of a local model.
        judge: A name in `models`; None for benchmarks without a judge.
        models: Path to models.yaml.
        max_tokens: Maximum response length in tokens (default: as published).
        temperature: Sampling temperature of the writer (default: as published).
        think: Ask the writer for a plan and an answer in tags (`on`), or for an answer in tags (`direct`).
        think_prompt: Text file with {request} in it, in place of the built-in think prompt.
        local: How a local model is loaded, and reads its prompts.
        budget: Stop before generation and judging cost more than this.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.
        on_plan: Called with the price, as text, before the first call.

    Raises:
        BadInputError: arguments conflict, the data is unreadable, responses belong to other prompts, a model is unknown,
            a key is missing, or the folder belongs to a run with other settings.
        StoppedError: the budget is exhausted, or no question was answered.
    """
    run = _prepare(
        name,
        set_path=set_path,
        out=out,
        responses=responses,
        writer=writer,
        judge=judge,
        models=models,
        max_tokens=max_tokens,
        temperature=temperature,
        think=think,
        think_prompt=think_prompt,
        local=local,
        budget=budget,
        reading=reading,
    )
    if on_plan is not None:
        on_plan(str(run.price(responses, reading)))
    benchmark, writing, card = run.benchmark, run.writing, run.benchmark.card
    plan, unwritten, cost = Plan(name, judge), Counter[str](), "0 (no calls)"
    if writing is not None:
        plan = writing.plan(plan, run.fitted, run.writer_spec, set_sha256=run.version.sha256)
        begin(out, plan)
        responses = (out / RESPONSES,)
        with progress(f"generating with {writer}") as advance:
            if run.writer_spec is None:
                written = write_responses(
                    benchmark, run.items, run.fitted, writing, responses[0], calls=None, on_progress=advance
                )
            else:
                with RecordedCalls(out / CALLS, models, writing.writer, budget=budget) as calls:
                    written = write_responses(
                        benchmark, run.items, run.fitted, writing, responses[0], calls=calls, on_progress=advance
                    )
                cost = written.cost
            unwritten = written.failures
    texts = run.read_texts(responses, reading)
    begin(out, plan)
    material = Material({item.id: item for item in run.items}, texts)
    answers, used = Answers(), None
    if judge is not None:
        with RecordedCalls(out / CALLS, models, judge, budget=budget) as calls:
            answers, used = _judge(benchmark, material, judge, run.template, calls, progress)
            cost = calls.cost()
    games = [game.model_copy(update={"judge": judge}) for game in benchmark.games(material, answers)]
    result = Result(
        benchmark=name,
        home=card.home,
        set=run.version,
        responses=ResponsesUsed(
            writer,
            writing and writing.settings,
            [it.name for it in responses],
            Counter(it.model for it in texts),
            run.fitted.cut,
            writing and writing.template,
        ),
        judge=used,
        deviations=card.deviations,
        partial=find_gaps(run.prompts, material, answers, unwritten),
        tables=benchmark.tables(material, answers),
        cost=cost,
    )
    write_result(out, result, answers, games, score_rows(benchmark.scored(material, answers)))
    return result


def price_benchmark(
    name: str,
    *,
    set_path: Path,
    out: Path,
    responses: Sequence[Path] = (),
    reading: Reading = AS_IS,
    **settings: Any,
) -> BenchmarkPrice:
    """Return what `run_benchmark` with the same arguments costs at most; nothing is written, and no model is called.

    Raises:
        BadInputError: as `run_benchmark` does.
    """
    run = _prepare(name, set_path=set_path, out=out, responses=responses, reading=reading, **settings)
    return run.price(responses, reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class _BenchmarkRun:
    """A run whose arguments are checked."""

    benchmark: Benchmark[Any]
    items: Sequence[Any]
    prompts: Sequence[Prompt]
    """Of all turns."""
    source: Path
    version: SetVersion
    writing: WritingPlan | None
    writer_spec: ModelSpec | None
    """None for a local model."""
    fitted: Fitted
    """Prompts of the first turn."""
    judge_spec: ModelSpec | None
    template: JudgeTemplate | None

    def read_texts(self, responses: Sequence[Path], reading: Reading) -> list[Response]:
        """Read the responses, all of which are to prompts of the set."""
        texts = list(read_all(responses, Response, reading))
        check_prompts(texts, {prompt.id: prompt for prompt in self.prompts}, source=str(self.source))
        return texts

    def price(self, responses: Sequence[Path], reading: Reading) -> BenchmarkPrice:
        """Return the price."""
        return price_run(
            self.benchmark,
            self.items,
            first=self.fitted.prompts,
            responses=self.read_texts(responses, reading) if self.writing is None else (),
            writing=None if self.writing is None else (self.writing.settings, self.writer_spec),
            judging=None if self.judge_spec is None else (self.judge_spec, JudgePrompt(b"", self.template)),
        )


def _prepare(
    name: str,
    *,
    set_path: Path,
    out: Path,
    responses: Sequence[Path],
    reading: Reading,
    models: Path = Path("models.yaml"),
    writer: str | None = None,
    judge: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    think: Thinking = "off",
    think_prompt: Path | None = None,
    local: LocalOptions | None = None,
    budget: float | None = None,
) -> _BenchmarkRun:
    """Check all arguments and read the set, before anything is written or paid for."""
    benchmark = find_benchmark(name)
    card = benchmark.card
    wanted = {"--max-tokens": max_tokens, "--temperature": temperature, "--think-prompt": think_prompt}
    wanted["--think"] = None if think == "off" else think
    local = local or LocalOptions()
    _check_arguments(card, responses, writer=writer, judge=judge, wanted=wanted)
    if writer is not None:
        check_writer(writer, local)
    judge_spec = None if judge is None else check_endpoint(judge, models, budget=budget)
    template = None if judge_spec is None else _read_template(judge_spec, card)
    used_ids = _earlier_ids(out) if writer is not None else _used_ids(responses, reading)
    items = _as_named_before(benchmark, read_set(benchmark, set_path), used_ids, source=set_path)
    prompts = benchmark.prompts(items)
    if twice := next((id_ for id_, count in Counter(prompt.id for prompt in prompts).items() if count > 1), None):
        raise BadInputError(f"{set_path}: asks for two texts with the id {twice!r}; each must have its own")
    writing, spec, fitted = None, None, Fitted(prompts)
    if writer is not None:
        settings = _settings(card.writing, max_tokens, temperature, think)
        writing = WritingPlan(writer, settings, think_prompt, local)
        spec = None if is_model_folder(writer) else check_endpoint(writer, models, budget=budget)
        fitted = fit(benchmark, benchmark.turn(items, 1, {}), writing, models=models)
        if spec is None:  # refused before the price is printed
            writing.generation(longest=fitted.longest)
    return _BenchmarkRun(
        benchmark=benchmark,
        items=items,
        prompts=prompts,
        source=set_path,
        version=describe_set(set_path, card, prompts=len(prompts), version=benchmark.version(items)),
        writing=writing,
        writer_spec=spec,
        fitted=fitted,
        judge_spec=judge_spec,
        template=template,
    )


def _used_ids(responses: Sequence[Path], reading: Reading) -> set[str]:
    return {row.prompt_id for row in read_all(responses, Response, reading)}


def _earlier_ids(out: Path) -> set[str]:
    """The ids by which the responses of an earlier call were begun."""
    ids = set()
    for path in (out / RESPONSES, out / f"{RESPONSES}.partial"):
        if path.exists():
            with suppress(BadInputError):  # an empty file, or a first line that was being written
                ids.add(next(read_rows(path, Response)).prompt_id)
    return ids


def _as_named_before(benchmark: Benchmark[Any], items: list[Any], used: set[str], *, source: Path) -> list[Any]:
    """Return the items under their old ids, by position in the file, if that is how the responses call them."""
    old = with_old_ids(items)
    present, former = ({prompt.id for prompt in benchmark.prompts(it)} for it in (items, old))
    if present == former or not used or not used <= former or used & present:
        return items
    warnings.warn(
        f"the responses name prompts by position, such as {min(used)}: taken as positions in {source}, which "
        f"has to be the "
        "file that they were written for",
        RowsWarning,
        stacklevel=2,
    )
    return old


def _check_arguments(
    card: BenchmarkCard, responses: Sequence[Path], *, writer: str | None, judge: str | None, wanted: dict[str, object]
) -> None:
    """Check the arguments before any call."""
    if bool(responses) == (writer is not None):
        raise BadInputError("bench run: needs either --responses (existing texts) or --writer (to generate them)")
    for flag, value in wanted.items():
        if value is not None and writer is None:
            raise BadInputError(f"{flag}: only valid with --writer")
    if wanted["--think-prompt"] and not wanted["--think"]:
        raise BadInputError("--think-prompt: only valid with --think on or --think direct")
    if card.judging is None and judge is not None:
        raise BadInputError(f"--judge {judge}: {card.name} needs no judge")
    if card.judging is not None and judge is None:
        raise BadInputError(f"--judge: required for {card.name}")


def _read_template(spec: ModelSpec, card: BenchmarkCard) -> JudgeTemplate | None:
    """Read the judge's custom template, if it has one."""
    if spec.template is None or card.judging is None:
        return None
    return JudgeTemplate.read(spec.template, needs=card.judging.slots, takes=card.judging.optional_slots)


def _settings(
    published: SamplingSettings, max_tokens: int | None, temperature: float | None, think: Thinking
) -> SamplingSettings:
    """Apply overrides to the published settings."""
    changed = {"max_tokens": max_tokens, "temperature": temperature, "think": think}
    return replace(published, **{name: value for name, value in changed.items() if value is not None})


def _judge(
    benchmark: Benchmark[Any],
    material: Material[Any],
    judge: str,
    template: JudgeTemplate | None,
    calls: RecordedCalls,
    progress: ProgressDisplay,
) -> tuple[Answers, JudgeUsed]:
    """Query the judge; return the answers and a description of the judge."""
    wording = JudgePrompt(calls.log.secret(), template)
    with progress(f"judging with {judge}") as advance:

        async def collect() -> tuple[Answers, JudgeUsed]:
            async with calls.endpoint() as endpoint:
                answers = await ask_judge(benchmark, material, endpoint, wording, on_progress=advance)
                return answers, describe_judge(judge, endpoint.spec, benchmark.card, wording)

        return asyncio.run(collect())
