"""Generate responses of a writer to prompts; resumable per response."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.errors import EndpointError, describe_causes
from longform.endpoints.recorded import RecordedCalls
from longform.records.adapting import AS_IS, Reading
from longform.records.collection import Collection
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.resume import hash_json, hash_model_folder
from longform.records.schemas import Prompt, PromptRow, Response
from longform.text.structure import Thinking, is_well_formed
from longform.writers.endpoint import EndpointWriter
from longform.writers.paths import check_writer, is_model_folder, writer_name
from longform.writers.settings import GenerationSettings, LocalOptions
from longform.writers.think import ThinkPrompt

if TYPE_CHECKING:
    from longform.writers.local import LocalWriter


MAX_TOKENS = 10_000
"""Longest response where neither the caller nor models.yaml states one."""


@dataclass(frozen=True, slots=True)
class TextCounts:
    """How many responses are not what was asked for, or more than it; one response may count several times."""

    empty: int = 0
    cut_off: int = 0
    """Ended by the token limit."""
    without_structure: int = 0
    """With tags that were asked for, and are missing or malformed."""
    with_thoughts: int = 0
    """Responses with thoughts of the model's own, which are not part of the text."""


def count_texts(responses: Iterable[Response]) -> TextCounts:
    """Count the responses that are empty, cut off, without structure and with thoughts."""
    counts = Counter[str]()
    for row in responses:
        counts["empty"] += not row.text.strip()
        counts["cut_off"] += row.finish_reason == "length"
        counts["without_structure"] += bool({"well_formed", "sound"} & row.meta.keys()) and not is_well_formed(row.meta)
        counts["with_thoughts"] += bool(row.meta.get("thoughts"))
    return TextCounts(**counts)


@dataclass(slots=True)
class CollectResult:
    """Result of a resumable collection of rows."""

    out: Path
    rows: int = 0
    """Rows in `out`, including those of earlier calls."""
    added: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Requests without a result, by cause; the next call retries them."""
    first_failure: str = ""
    """Cause and answer of the first of them, quoted."""
    cost: str = "0 (local)"
    """Cost and number of calls, in words."""
    stale: Counter[str] = field(default_factory=Counter)
    """Rows that were made from something else than is given now, by what has changed: made anew, or kept if asked for."""
    texts: TextCounts = field(default_factory=TextCounts)
    """Of responses: counts over all that were asked for, including those of earlier calls."""

    def check(self) -> None:
        """Raise if every request failed.

        Raises:
            StoppedError: every request failed; the error lists the causes.
        """
        if not self.rows and self.failures:
            first = f"; the first: {self.first_failure}" if self.first_failure else ""
            raise StoppedError(
                f"{self.out}: every request failed ({describe_causes(self.failures)}){first}; run the same command again to "
                "retry"
            )


def generate(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    samples: int = 1,
    models: Path = Path("models.yaml"),
    name: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    think: Thinking = "off",
    think_prompt: Path | None = None,
    local: LocalOptions | None = None,
    seed: int = 0,
    budget: float | None = None,
    keep_stale: bool = False,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> CollectResult:
    """Generate responses to prompts; a second call adds what is missing in `out`.

    Args:
        prompts: Prompts file.
        writer: A name in `models`, or the folder of a local model.
        out: Responses file to write or append to.
        samples: Responses per prompt.
        models: Path to models.yaml.
        name: Model name to record for a local model (default: its folder's name, or RUN-step-N).
        max_tokens: Maximum response length in tokens, thoughts included; None: of `models`, else `MAX_TOKENS`.
        temperature: Sampling temperature; None: of `models`, else 1.
        top_p: Nucleus sampling probability; None: of `models`, else 1.
        think: Ask for a plan and an answer in tags (`on`), or for an answer in tags (`direct`). Only the answer is kept.
        think_prompt: Text file with {request} in it, in place of the built-in think prompt.
        local: How a local model is loaded and reads its prompts.
        seed: Sampling seed of a local model.
        budget: Stop before the calls cost more than this.
        keep_stale: Keep rows whose prompt, writer or settings have changed, which are otherwise made anew.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: an invalid row, an unknown writer, a missing key, or an unwritable file.
        StoppedError: the budget is exhausted, or every request failed.
    """
    local = local or LocalOptions()
    check_writer(writer, local)
    is_raw = is_model_folder(writer) and local.chat_template == "off"
    if think_prompt and think == "off" and not is_raw:
        raise BadInputError(
            f"--think-prompt {think_prompt}: only valid with --think on or --think direct, or for a local model with "
            "--chat-template off"
        )
    think_template = ThinkPrompt.read(think, think_prompt)
    rows = list(read_rows(prompts, Prompt, reading))
    if is_model_folder(writer):
        from longform.writers.local import open_writer  # loads torch

        settings = local.generation(
            max_tokens=max_tokens or MAX_TOKENS,
            temperature=1.0 if temperature is None else temperature,
            top_p=1.0 if top_p is None else top_p,
            think=think,
            think_prompt=think_prompt,
        )
        model = open_writer(writer, local)
        longest = model.longest_prompt(rows, settings) if rows else 0
        if max_tokens is None and model.context is not None:
            settings = settings.model_copy(update={"max_tokens": max(1, min(MAX_TOKENS, model.context - longest))})
        with model, progress(f"writing with {writer}") as advance:
            model.prepare(settings, longest_prompt=longest, self_check=local.self_check)
            return collect_responses_locally(
                rows,
                model,
                name=name or writer_name(writer),
                samples=samples,
                settings=settings,
                seed=seed,
                out=out,
                keep_stale=keep_stale,
                on_progress=advance,
            )
    given = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    changes = {key: value for key, value in given.items() if value is not None}
    with (
        RecordedCalls(out, models, writer, budget=budget, changes=changes) as calls,
        progress(f"writing with {writer}") as advance,
    ):

        async def collect() -> CollectResult:
            async with calls.endpoint() as endpoint:
                source = EndpointWriter(endpoint, max_tokens=MAX_TOKENS, temperature=1.0, think_prompt=think_template)
                return await collect_responses(
                    rows, source, samples=samples, out=out, keep_stale=keep_stale, on_progress=advance
                )

        result = asyncio.run(collect())
        result.cost, result.first_failure = calls.cost(), calls.first_failure()
    result.check()
    return result


async def collect_responses(
    prompts: Sequence[Prompt],
    writer: EndpointWriter,
    *,
    samples: int,
    out: Path,
    on_progress: Progress,
    keep_stale: bool = False,
) -> CollectResult:
    """Append responses of an endpoint writer to `out`; rows made from other prompts or settings are made anew.

    Raises:
        BadInputError: the endpoint is down or refuses the key, or `out` cannot be written.
        StoppedError: the budget is spent.
    """
    result = CollectResult(out)
    with Collection(out, Response) as collection:
        keys = list(_keys(prompts, writer.endpoint.name, samples))
        by_id = {prompt.id: prompt for prompt in prompts}
        made_by = hash_json(writer.settings)
        made_from = {key: {"prompt": hash_prompt(by_id[key[0]]), "writer": made_by} for key in keys}
        result.stale = collection.drop_stale(made_from, keep=keep_stale)
        missing = [key for key in keys if key not in collection]

        async def write(key: tuple[str, str, int]) -> None:
            try:
                response = await writer.write(by_id[key[0]], sample=key[2])
                collection.add(response.model_copy(update={"made_from": made_from[key]}))
                result.added += 1
            except EndpointError as error:
                result.failures[error.cause] += 1
            on_progress(result.added + result.failures.total(), len(missing))

        await map_bounded(missing, write, workers=writer.endpoint.workers)
        _finish(result, collection, keys)
    return result


def hash_prompt(prompt: PromptRow) -> str:
    """Short hash of what a writer or a judge reads of a prompt."""
    return hash_json(prompt.model_dump(mode="json", include={"prompt", "criteria"}))


def collect_responses_locally(
    prompts: Sequence[Prompt],
    writer: "LocalWriter",
    *,
    name: str,
    samples: int,
    settings: GenerationSettings,
    seed: int,
    out: Path,
    on_progress: Progress,
    keep_stale: bool = False,
) -> CollectResult:
    """Append responses of a local model to `out`; `name` is their model name. Rows made from other prompts, weights or
    settings are made anew.
    """
    result = CollectResult(out)
    with Collection(out, Response) as collection:
        folder = Path(writer.path)
        weights = hash_model_folder(folder)[:16] if folder.is_dir() else hash_json(writer.path)
        used = hash_json(_settings_of_texts(settings, writer) | {"seed": seed})
        made_from = {
            (prompt.id, name, sample): {"prompt": hash_prompt(prompt), "writer": weights, "settings": used}
            for prompt in prompts
            for sample in range(samples)
        }
        result.stale = collection.drop_stale(made_from, keep=keep_stale)

        def store(response: Response) -> None:
            if response.key not in collection:
                collection.add(response.model_copy(update={"made_from": made_from[response.key]}))
                result.added += 1

        for sample in range(samples):
            # Complete batches, as in an uninterrupted run: through rounding, a text depends on the others in its batch.
            for start in range(0, len(prompts), settings.batch):
                chunk = prompts[start : start + settings.batch]
                if any((prompt.id, name, sample) not in collection for prompt in chunk):
                    writer.write(
                        chunk,
                        settings=settings,
                        seed=seed,
                        name=name,
                        sample=sample,
                        first_row=start,
                        on_response=store,
                    )
                on_progress(sample * len(prompts) + start + len(chunk), samples * len(prompts))
        _finish(result, collection, list(_keys(prompts, name, samples)))
    return result


def _settings_of_texts(settings: GenerationSettings, writer: "LocalWriter") -> dict[str, Any]:
    """What decides the texts of a local model beside weights and prompts. Keys that are newer than stored rows are named
    where they are set.
    """
    content = settings.model_dump(mode="json", exclude={"batch", "max_prompt_tokens", "server"})
    newer = {"chat_template": "on", "chat_template_kwargs": {}, "stop": []}
    content = {key: value for key, value in content.items() if key not in newer or value != newer[key]}
    return content if writer.precision == "float32" else content | {"precision": writer.precision}


def _finish(result: CollectResult, collection: Collection[Response], keys: list[tuple[str, str, int]]) -> None:
    result.texts = count_texts(collection[key] for key in keys if key in collection)
    result.rows = collection.finish(keys)


def _keys(prompts: Sequence[Prompt], model: str, samples: int) -> Iterator[tuple[str, str, int]]:
    return ((prompt.id, model, sample) for prompt in prompts for sample in range(samples))
