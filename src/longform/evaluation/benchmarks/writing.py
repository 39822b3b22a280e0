"""Generate responses to a benchmark's prompts with its published settings, by an endpoint or a local model.

A prompt that does not fit into the writer's context together with a response of maximum length is truncated if the benchmark
allows it. If it is still too long by a local model's tokenizer, it is refused before anything is generated. Of a benchmark
with several turns, all items' texts of a turn are written before the next turn, so that a second call repeats none; a
conversation that has outgrown the context is not continued.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.endpoints.recorded import RecordedCalls
from longform.evaluation.benchmarks.benchmark import Benchmark
from longform.evaluation.benchmarks.card import SamplingSettings
from longform.evaluation.benchmarks.plan import Plan
from longform.evaluation.benchmarks.sets import ItemT
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.progress import Progress
from longform.records.schemas import Prompt, PromptRow, Response
from longform.selection.generate import CollectResult, collect_responses, collect_responses_locally
from longform.text.cutting import cut_middle, cut_middle_tokens
from longform.text.words import estimate_tokens
from longform.writers.endpoint import EndpointWriter
from longform.writers.paths import is_model_folder, writer_name
from longform.writers.settings import GenerationSettings, LocalOptions
from longform.writers.think import ThinkPrompt

_MARGIN = 64
"""Tokens reserved next to a truncated prompt and its response, for the chat template and words split by truncation."""
_LONG = 4096
"""Prompt length in tokens from which a local model uses batch size 1, because the KV cache fills the memory."""


_TURN_TOKENS = 512
"""Tokens of what a later turn asks for, with the chat template; at most."""


@dataclass(frozen=True, slots=True)
class WritingPlan:
    """The writer and its generation settings."""

    writer: str
    settings: SamplingSettings
    think_prompt: Path | None = None
    """A file in place of the built-in think prompts."""
    local: LocalOptions = field(default_factory=LocalOptions)
    """How a local model is loaded, and reads its prompts."""

    @property
    def think_template(self) -> ThinkPrompt:
        """The think prompt."""
        return ThinkPrompt.read(self.settings.think, self.think_prompt)

    @property
    def template(self) -> str | None:
        """Name and hash of the think prompt's file; None without one."""
        template = self.think_template.template
        if self.think_prompt is None or template is None:
            return None
        return f"{self.think_prompt.name} (sha256 {hashlib.sha256(template.encode()).hexdigest()[:12]})"

    def plan(self, plan: Plan, fitted: "Fitted", spec: ModelSpec | None, *, set_sha256: str) -> Plan:
        """Add the writer, its model and its settings to `plan`."""
        return replace(
            plan,
            writer=self.writer,
            model=spec and spec.model,
            address=spec and spec.address,
            settings=self.settings,
            think_prompt=self.template,
            set_sha256=set_sha256,
            context=fitted.context if fitted.cut else None,
            local=self.local.changed_texts or None,
        )

    def generation(self, *, longest: int) -> GenerationSettings:
        """Return the settings of a local model; `longest` is its longest prompt in tokens. Raises like its `local`."""
        batch = 1 if longest > _LONG else self.local.batch
        return self.local.generation(
            **asdict(self.settings), batch=batch, think_prompt=self.think_prompt, max_prompt_tokens=longest
        )


class Fitted(NamedTuple):
    """Prompts that fit the writer's context."""

    prompts: Sequence[Prompt]
    cut: int = 0
    """Number of truncated prompts."""
    context: int | None = None
    """Context of the writer in tokens (prompt and response); None if unknown."""
    longest: int = 0
    """Longest prompt of a local model in tokens, including the chat template; with several turns, a bound on it."""
    shorten: Callable[[Sequence[Prompt]], list[Prompt]] | None = None
    """Shortens the prompts of later turns in the same way; None if the context is unknown."""


def fit(benchmark: Benchmark[Any], prompts: Sequence[Prompt], writing: WritingPlan, *, models: Path) -> Fitted:
    """Truncate the prompts to the writer's context, by its tokenizer or, for an endpoint, by the token estimate.

    Raises:
        BadInputError: the writer does not exist, its context has no room for a prompt and a response of maximum length, or a
            prompt that may not be truncated does not fit a local model.
    """
    writer, max_tokens = writing.writer, writing.settings.max_tokens
    if is_model_folder(writer):
        context, cut, count = _read_local(writer, trust_remote_code=writing.local.trust_remote_code)
    else:
        context, cut, count = find_model(read_models(models), writer, path=models).context, cut_middle, estimate_tokens
    fitted, shorten = prompts, None
    if context is not None:
        limit = context - max_tokens - _MARGIN - _instruction_tokens(writing.think_template, count)
        if limit < 2:
            raise BadInputError(
                f"--max-tokens: the context of {writer} is {context} tokens for prompt and response; a response of up "
                f"to {max_tokens} leaves no room for a prompt"
            )
        limit = max(2, limit - (benchmark.turns - 1) * (max_tokens + _TURN_TOKENS))
        shorten = partial(benchmark.fitted, cut=lambda text: cut(text, limit))
        fitted = shorten(prompts)
    changed = 0 if fitted is prompts else sum(one != other for one, other in zip(prompts, fitted, strict=True))
    longest = _longest_prompt(fitted, writing, context) if is_model_folder(writer) else 0
    if longest and benchmark.turns > 1:
        longest += (benchmark.turns - 1) * (max_tokens + _TURN_TOKENS)
        longest = longest if context is None else min(longest, context - max_tokens)
    return Fitted(fitted, changed, context, longest, shorten)


def write_responses(
    benchmark: Benchmark[ItemT],
    items: Sequence[ItemT],
    fitted: Fitted,
    writing: WritingPlan,
    out: Path,
    *,
    calls: RecordedCalls | None,
    on_progress: Progress,
) -> CollectResult:
    """Append the writer's responses to `out`, turn by turn.

    Args:
        benchmark: The benchmark.
        items: Its items.
        fitted: Prompts of the first turn, from `fit`.
        writing: The writer and its settings.
        out: Responses file.
        calls: Calls to the writer's endpoint; None for a local model.
        on_progress: Called with (done, total).

    Raises:
        BadInputError: the endpoint is down or refuses the key, or `out` cannot be written.
        StoppedError: the budget is exhausted, or every request failed.
    """
    turns = _turns(benchmark, items, fitted, out, name=writer_name(writing.writer) if calls is None else writing.writer)
    if calls is None:
        return _write_locally(turns, fitted, writing, out, on_progress)
    settings, recorded = writing.settings, calls

    async def collect() -> CollectResult:
        async with recorded.endpoint() as endpoint:
            source = _AnsweringWriter(
                endpoint,
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                think_prompt=writing.think_template,
            )
            results = [
                await collect_responses(prompts, source, samples=1, out=out, on_progress=on_progress)
                for _, prompts in turns
            ]
            return _joined(results)

    result = asyncio.run(collect())
    result.cost = calls.cost()
    result.check()
    return result


def _turns(
    benchmark: Benchmark[ItemT], items: Sequence[ItemT], fitted: Fitted, out: Path, *, name: str
) -> Iterator[tuple[int, Sequence[Prompt]]]:
    """The turns, from 0, with their prompts, which are made once the texts of the turn before are in `out`."""
    yield 0, fitted.prompts
    for number in range(2, benchmark.turns + 1):
        rows = read_rows(out, Response) if out.exists() else ()
        prompts = benchmark.turn(items, number, {row.prompt_id: row.text for row in rows if row.model == name})
        if not prompts:
            return
        yield number - 1, prompts if fitted.shorten is None else fitted.shorten(prompts)


def _joined(results: Sequence[CollectResult]) -> CollectResult:
    """The results of all turns as one."""
    *earlier, last = results
    for it in earlier:
        last.added += it.added
        last.failures += it.failures
        last.stale += it.stale
        last.first_failure = it.first_failure or last.first_failure
    return last


class _AnsweringWriter(EndpointWriter):
    """A writer whose empty answers count as responses; leaving them out would reward a model for not answering."""

    async def write(self, prompt: PromptRow, *, sample: int = 0) -> Response:
        """Generate one response; empty if all attempts returned nothing."""
        try:
            return await super().write(prompt, sample=sample)
        except EndpointError as error:
            if error.cause != "empty":
                raise
            return Response(prompt_id=prompt.id, model=self.endpoint.name, sample=sample, text="")


def _read_local(
    writer: str, *, trust_remote_code: bool
) -> tuple[int | None, Callable[[str, int], str], Callable[[str], int]]:
    """Return a local model's context, and functions to truncate and count text by its tokenizer; loads no weights."""
    from longform.writers.loading import context_length, load_config, load_tokenizer

    config = load_config(writer, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(writer, trust_remote_code=trust_remote_code)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    cut = partial(cut_middle_tokens, encode=encode, decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    return context_length(config), cut, lambda text: len(encode(text))


def _instruction_tokens(think: ThinkPrompt, count: Callable[[str], int]) -> int:
    """Return the number of tokens that the think prompt adds, in the language in which it is longer."""
    if think.thinking == "off":
        return 0
    return max(count(think.text(Prompt(id=probe, prompt=probe))) for probe in ("a", "字"))


def _write_locally(
    turns: Iterator[tuple[int, Sequence[Prompt]]],
    fitted: Fitted,
    writing: WritingPlan,
    out: Path,
    on_progress: Progress,
) -> CollectResult:
    from longform.writers.encoding import encode_prompts
    from longform.writers.local import open_writer  # loads torch

    settings = writing.generation(longest=fitted.longest)
    any_length = settings.model_copy(update={"max_prompt_tokens": sys.maxsize})
    results = []
    with open_writer(writing.writer, writing.local) as model:
        model.prepare(settings, longest_prompt=fitted.longest, self_check=writing.local.self_check)
        for turn, prompts in turns:
            lengths = map(len, encode_prompts(model.tokenizer, prompts, settings=any_length))
            fitting = [it for it, length in zip(prompts, lengths, strict=True) if length <= fitted.longest]
            result = collect_responses_locally(
                fitting,
                model,
                name=writer_name(writing.writer),
                samples=1,
                settings=settings,
                seed=turn,
                out=out,
                on_progress=on_progress,
            )
            result.failures["too_long"] += len(prompts) - len(fitting)
            results.append(result)
    joined = _joined(results)
    joined.failures = +joined.failures
    return joined


def _longest_prompt(prompts: Sequence[Prompt], writing: WritingPlan, context: int | None) -> int:
    """Return the length in tokens of a local model's longest prompt, including the chat template.

    Raises:
        BadInputError: it does not fit into the context next to a response of maximum length.
    """
    from longform.writers.encoding import encode_prompts
    from longform.writers.loading import load_tokenizer

    tokenizer = load_tokenizer(writing.writer, trust_remote_code=writing.local.trust_remote_code)
    encoded = encode_prompts(tokenizer, prompts, settings=writing.generation(longest=sys.maxsize))
    longest, prompt_id = max((len(ids), prompt.id) for ids, prompt in zip(encoded, prompts, strict=True))
    max_tokens = writing.settings.max_tokens
    if context is not None and longest + max_tokens > context:
        raise BadInputError(
            f"prompt {prompt_id}: has {longest} tokens, but {writing.writer} has room for {context} next to a response "
            f"of up to {max_tokens}; lower --max-tokens"
        )
    return longest
