"""Responses to a benchmark's prompts, by an endpoint or a local model, with the benchmark's published settings.

A prompt that does not fit into the writer's context together with its longest response is cut if the benchmark allows it.
If a local model's tokenizer shows that it stays too long, it is refused before anything is written.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.endpoints.recorded import RecordedCalls
from longform.evaluation.benchmarks.benchmark import Benchmark
from longform.evaluation.benchmarks.card import SamplingSettings
from longform.evaluation.benchmarks.plan import Plan
from longform.records.errors import BadInputError
from longform.records.progress import Progress
from longform.records.schemas import Prompt, PromptRow, Response
from longform.selection.generate import CollectResult, collect_responses, collect_responses_locally
from longform.text.cutting import cut_middle, cut_middle_tokens
from longform.text.words import estimate_tokens
from longform.writers.endpoint import EndpointWriter
from longform.writers.paths import is_model_folder, model_below, writer_name
from longform.writers.settings import GenerationSettings
from longform.writers.think import ThinkPrompt

_MARGIN = 64
"""Tokens left free next to a cut prompt and its response, for the chat template and words split by the cut."""
_LONG = 4096
"""Tokens of a prompt from which on a local model writes one response at a time, for its keys and values fill the memory."""


@dataclass(frozen=True, slots=True)
class WritingPlan:
    """The writer and its settings."""

    writer: str
    settings: SamplingSettings
    think_prompt: Path | None = None
    """A file in place of the built-in prompts that ask for thoughts or tags."""

    @property
    def think_template(self) -> ThinkPrompt:
        """The prompt that asks for thoughts or tags."""
        return ThinkPrompt.read(self.settings.think, self.think_prompt)

    @property
    def template(self) -> str | None:
        """Name and hash of the think prompt's file; None without one."""
        template = self.think_template.template
        if self.think_prompt is None or template is None:
            return None
        return f"{self.think_prompt.name} (sha256 {hashlib.sha256(template.encode()).hexdigest()[:12]})"

    def plan(self, plan: Plan, fitted: "Fitted", spec: ModelSpec | None, *, set_sha256: str) -> Plan:
        """`plan` with the writer, its model, and all settings its responses depend on."""
        return replace(
            plan,
            writer=self.writer,
            model=spec and spec.model,
            address=spec and spec.address,
            settings=self.settings,
            think_prompt=self.template,
            set_sha256=set_sha256,
            context=fitted.context if fitted.cut else None,
        )

    def generation(self, *, longest: int) -> GenerationSettings:
        """The settings of a local model, whose longest prompt has `longest` tokens."""
        asked: dict[str, Any] = asdict(self.settings) | ({"batch": 1} if longest > _LONG else {})
        return GenerationSettings(**asked, think_prompt=self.think_prompt, max_prompt_tokens=longest)


class Fitted(NamedTuple):
    """Prompts as a writer can take them in."""

    prompts: Sequence[Prompt]
    cut: int = 0
    """How many of them lost their middle."""
    context: int | None = None
    """Tokens that the writer takes in, prompt and response together; None where that is not known."""
    longest: int = 0
    """Tokens of the longest prompt with the chat template, for a local model."""


def fit(benchmark: Benchmark[Any], prompts: Sequence[Prompt], writing: WritingPlan, *, models: Path) -> Fitted:
    """The prompts as the writer can take them in, cut by its tokenizer, or by the estimate of tokens for an endpoint.

    Raises:
        BadInputError: there is no such writer, its context has no room for prompt and longest response, or a prompt that
            may not be cut does not fit into a local model's.
    """
    writer, most = writing.writer, writing.settings.max_tokens
    if is_model_folder(writer):
        context, cut, count = _read_local(writer)
    else:
        context, cut, count = find_model(read_models(models), writer, path=models).context, cut_middle, estimate_tokens
    fitted = prompts
    if context is not None:
        limit = context - most - _MARGIN - _instruction_tokens(writing.think_template, count)
        if limit < 2:
            raise BadInputError(
                f"--max-tokens: {writer} takes in {context} tokens, prompt and response together; a response of up to "
                f"{most} leaves no room for a prompt"
            )
        fitted = benchmark.fitted(prompts, lambda text: cut(text, limit))
    changed = 0 if fitted is prompts else sum(one != other for one, other in zip(prompts, fitted, strict=True))
    longest = _longest_prompt(fitted, writing, context) if is_model_folder(writer) else 0
    return Fitted(fitted, changed, context, longest)


def write_responses(
    fitted: Fitted, writing: WritingPlan, out: Path, *, calls: RecordedCalls | None, on_progress: Progress
) -> CollectResult:
    """Responses of the writer, added to those that `out` already holds.

    Args:
        fitted: prompts from `fit`.
        writing: who writes, and how.
        out: responses file.
        calls: to the writer's endpoint; None for a local model.
        on_progress: called with (done, total).

    Raises:
        BadInputError: the endpoint is down or refuses the key, or `out` cannot be written.
        StoppedError: the budget is spent, or every request failed.
    """
    if calls is None:
        return _write_locally(fitted, writing, out, on_progress)
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
            return await collect_responses(fitted.prompts, source, samples=1, out=out, on_progress=on_progress)

    result = asyncio.run(collect())
    result.cost = calls.cost()
    result.check()
    return result


class _AnsweringWriter(EndpointWriter):
    """A writer whose empty answers are responses: a model would gain by saying nothing if they were left out."""

    async def write(self, prompt: PromptRow, *, sample: int = 0) -> Response:
        """One response, without a word where all tries came back empty."""
        try:
            return await super().write(prompt, sample=sample)
        except EndpointError as error:
            if error.cause != "empty":
                raise
            return Response(prompt_id=prompt.id, model=self.endpoint.name, sample=sample, text="")


def _read_local(writer: str) -> tuple[int | None, Callable[[str, int], str], Callable[[str], int]]:
    """The context of a local model, and how to cut and count a text by its tokenizer. The weights are not loaded."""
    from transformers import AutoConfig

    from longform.writers.local import load_tokenizer

    try:
        config: Any = AutoConfig.from_pretrained(model_below(writer))
    except BadInputError:
        raise
    except Exception as error:  # what a broken folder makes transformers raise has no bounds
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"--writer {writer}: its config.json cannot be read: {reason}") from error
    tokenizer = load_tokenizer(writer)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    cut = partial(cut_middle_tokens, encode=encode, decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    return context, cut, lambda text: len(encode(text))


def _instruction_tokens(think: ThinkPrompt, count: Callable[[str], int]) -> int:
    """Tokens that the think prompt adds to a request, in the language where these are more."""
    if think.thinking == "off":
        return 0
    return max(count(think.text(Prompt(id=probe, prompt=probe))) for probe in ("a", "字"))


def _write_locally(fitted: Fitted, writing: WritingPlan, out: Path, on_progress: Progress) -> CollectResult:
    from longform.writers.local import LocalWriter  # loads torch

    return collect_responses_locally(
        fitted.prompts,
        LocalWriter(writing.writer),
        name=writer_name(writing.writer),
        samples=1,
        settings=writing.generation(longest=fitted.longest),
        seed=0,
        out=out,
        on_progress=on_progress,
    )


def _longest_prompt(prompts: Sequence[Prompt], writing: WritingPlan, context: int | None) -> int:
    """Tokens of a local model's longest prompt, with the chat template.

    Raises:
        BadInputError: it does not fit into the context next to the longest response.
    """
    from longform.writers.local import encode_prompts, load_tokenizer

    encoded = encode_prompts(load_tokenizer(writing.writer), prompts, settings=writing.generation(longest=sys.maxsize))
    longest, prompt_id = max((len(ids), prompt.id) for ids, prompt in zip(encoded, prompts, strict=True))
    most = writing.settings.max_tokens
    if context is not None and longest + most > context:
        raise BadInputError(
            f"prompt {prompt_id}: has {longest} tokens, and {writing.writer} takes in {context} with a response of up "
            f"to {most}; a smaller --max-tokens leaves more room"
        )
    return longest
