"""Preferences by requirement dropping, end to end: reduced requests, responses or revisions, pairs; resumable.

Revisions depend on the responses, so the prompts of a stage are built when the stage begins.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from longform.endpoints.models import find_model, read_models
from longform.endpoints.recorded import RecordedCalls
from longform.judging.rewriting import Rewriter
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.paths import check_out
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.schemas import Prompt
from longform.selection.dropping import (
    DroppingFiles,
    WritingRecord,
    ask_for_revisions,
    prefer_full,
    read_reduced,
    record_writing,
    reduce_by_model,
    reduce_by_rule,
    rule_name,
)
from longform.selection.generate import CollectResult, collect_responses, collect_responses_locally
from longform.selection.preferences import LeftOut, Preferences
from longform.writers.endpoint import EndpointWriter
from longform.writers.paths import check_writer, is_model_folder, writer_name
from longform.writers.settings import GenerationSettings, LocalOptions

Pairs = Sequence[tuple[Prompt, Prompt]]
"""(prompt, reduced prompt) pairs."""


class WritingStage(NamedTuple):
    """A stage of generation."""

    title: str
    prompts: list[Prompt]
    samples: int
    out: Path


class DroppingResult(NamedTuple):
    """Result of requirement dropping."""

    preferences: Preferences
    failures: Counter[str]
    """Requests without a result, by cause; the next call retries them."""
    cost: str
    """Cost and number of calls, in words."""


def preferences_from_dropping(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    rewriter: str | None = None,
    revise: bool = False,
    samples: int = 1,
    models: Path = Path("models.yaml"),
    max_tokens: int = 10_000,
    temperature: float = 1.0,
    local: LocalOptions | None = None,
    seed: int = 0,
    budget: float | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> DroppingResult:
    """Pair a writer's responses to full and reduced requests; a second call adds what is missing.

    Args:
        prompts: Prompts file.
        writer: A name in `models`, or the folder of a local model.
        out: Preferences file; reduced prompts, responses and calls are kept next to it.
        rewriter: A name in `models`: the model that reduces requests. None removes random sentences after the first.
        revise: Have the writer revise its text for the reduced request instead of writing a new one.
        samples: Responses per request, and pairs per prompt.
        models: Path to models.yaml.
        max_tokens: Maximum response length in tokens.
        temperature: Sampling temperature.
        local: How a local model is loaded and reads its prompts.
        seed: Seed of the random reduction and of a local model's sampling.
        budget: Stop before the calls cost more than this.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: an invalid row, an unknown model, a missing key, an unwritable file, existing responses with other
            settings, or no pair.
        StoppedError: the budget is exhausted, or every request failed.
    """
    local = local or LocalOptions()
    check_writer(writer, local)
    settings = local.generation(max_tokens=max_tokens, temperature=temperature)
    task = _Dropping(writer, rewriter, models, out, revise, samples, settings, local, seed, budget, progress)
    for path in (out, *task.files):
        check_out(path, prompts, models)
    rows = list(read_rows(prompts, Prompt, reading))
    task.check_names()
    record_writing(task.writing(), out=out)
    reduced = task.reduce(rows)
    pairs = read_reduced(task.files.reduced, rows, by=task.reduced_by)
    if not pairs:
        hint = "has a second sentence to remove; use --rewriter" if rewriter is None else "was reduced"
        raise BadInputError(f"{prompts}: no request {hint}")
    failures, cost = task.write(pairs, cost=reduced.cost)
    made = prefer_full(pairs, task.files, model=task.model, samples=samples, revised=revise)
    made.left_out[LeftOut.NOT_REDUCED] += len(rows) - len(pairs)
    made.write(out, source=str(prompts))
    return DroppingResult(made, reduced.failures + failures, cost)


@dataclass(frozen=True, slots=True)
class _Dropping:
    """The arguments of one call."""

    writer: str
    rewriter: str | None
    models: Path
    out: Path
    revise: bool
    samples: int
    settings: GenerationSettings
    local: LocalOptions
    seed: int
    budget: float | None
    progress: ProgressDisplay

    @property
    def files(self) -> DroppingFiles:
        """The files next to `out`."""
        return DroppingFiles.next_to(self.out)

    @property
    def is_local(self) -> bool:
        """Whether the writer is a model folder."""
        return is_model_folder(self.writer)

    @property
    def model(self) -> str:
        """Model name of the responses."""
        return writer_name(self.writer) if self.is_local else self.writer

    @property
    def reduced_by(self) -> str:
        """Name of the method of reduction."""
        return self.rewriter or rule_name(self.seed)

    def check_names(self) -> None:
        """Check name, key and prices of every model before the first call."""
        for name in filter(None, (self.rewriter, None if self.is_local else self.writer)):
            self._record(name).log.close()

    def writing(self) -> WritingRecord:
        """The writer's settings."""
        given = {"max_tokens": self.settings.max_tokens, "temperature": self.settings.temperature}
        if self.is_local:
            return WritingRecord(
                writer=self.model,
                model=str(Path(self.writer).resolve()),
                seed=self.seed,
                local=self.local.changed_texts or None,
                **given,
            )
        spec = find_model(read_models(self.models), self.writer, path=self.models)
        return WritingRecord(writer=self.writer, model=spec.model, **given)

    def reduce(self, rows: Sequence[Prompt]) -> CollectResult:
        """Reduce requests with the rewriter, or by the rule if there is none."""
        out = self.files.reduced
        if self.rewriter is None:
            return reduce_by_rule(rows, seed=self.seed, out=out)
        with self._record(self.rewriter) as calls, self.progress(f"reducing with {self.rewriter}") as advance:

            async def ask() -> CollectResult:
                async with calls.endpoint() as endpoint:
                    source = Rewriter(endpoint, secret=calls.log.secret())
                    return await reduce_by_model(rows, source, out=out, on_progress=advance)

            result = asyncio.run(ask())
            result.cost = calls.cost()
            result.check()
            return result

    def write(self, pairs: Pairs, *, cost: str) -> tuple[Counter[str], str]:
        """Generate responses to both requests of every pair; return failures by cause, and the cost including `cost`."""
        if self.is_local:
            self._write_locally(pairs)
            return Counter(), cost
        with self._record(self.writer) as calls:
            results = asyncio.run(self._write(pairs, calls))
            return sum((it.failures for it in results), Counter()), calls.cost()

    async def _write(self, pairs: Pairs, calls: RecordedCalls) -> list[CollectResult]:
        gathered, settings = [], self.settings
        async with calls.endpoint() as endpoint:
            source = EndpointWriter(endpoint, max_tokens=settings.max_tokens, temperature=settings.temperature)
            for it in self._stages(pairs, secret=calls.log.secret()):
                with self.progress(f"{it.title} with {self.writer}") as advance:
                    result = await collect_responses(
                        it.prompts, source, samples=it.samples, out=it.out, on_progress=advance
                    )
                result.check()
                gathered.append(result)
        return gathered

    def _write_locally(self, pairs: Pairs) -> None:
        from longform.writers.local import open_writer

        with open_writer(self.writer, self.local) as model:
            for it in self._stages(pairs, secret=f"dropping/{self.seed}".encode()):
                longest = model.longest_prompt(it.prompts, self.settings)
                model.prepare(self.settings, longest_prompt=longest, self_check=self.local.self_check)
                with self.progress(f"{it.title} with {self.writer}") as advance:
                    collect_responses_locally(
                        it.prompts,
                        model,
                        name=self.model,
                        samples=it.samples,
                        settings=self.settings,
                        seed=self.seed,
                        out=it.out,
                        on_progress=advance,
                    )

    def _stages(self, pairs: Pairs, *, secret: bytes) -> Iterator[WritingStage]:
        whole, reduced = ([prompts[side] for prompts in pairs] for side in (0, 1))
        yield WritingStage("responding to full requests", whole, self.samples, self.files.full_responses)
        if self.revise:
            asked = ask_for_revisions(pairs, self.files, model=self.model, samples=self.samples, secret=secret)
            yield WritingStage("revising for reduced requests", asked, 1, self.files.revisions)
        else:
            yield WritingStage("responding to reduced requests", reduced, self.samples, self.files.reduced_responses)

    def _record(self, name: str) -> RecordedCalls:
        return RecordedCalls(self.out, self.models, name, budget=self.budget)
