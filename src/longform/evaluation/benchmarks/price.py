"""What a run of a benchmark costs at most, before its first call.

Texts that are not written yet are taken to be as long as the writer may make them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longform.endpoints.models import ModelSpec
from longform.endpoints.request import estimate_prompt_tokens
from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import SamplingSettings
from longform.evaluation.question_price import MEASURED, QuestionPrice, price_questions
from longform.records.schemas import Prompt, Response
from longform.text.words import TOKENS_PER_LATIN_WORD

MEASURED_PROMPTS = 50
"""Prompts of a turn whose length is measured; those of some benchmarks have 120,000 tokens."""


@dataclass(frozen=True, slots=True)
class WritingPrice:
    """An upper bound: texts that are written already are not written again."""

    texts: int
    prompt_tokens: int
    max_tokens: int
    """Of a text."""
    cost: float | None
    """In the currency of models.yaml; None without prices, 0 for a local model."""

    def __str__(self) -> str:
        cost = "of unknown cost, as models.yaml has no prices" if self.cost is None else f"at most {self.cost:.2f}"
        return (
            f"the writer writes at most {self.texts:,} texts of up to {self.max_tokens:,} tokens, for prompts of about "
            f"{self.prompt_tokens:,} tokens together, {cost}; those that are there are not written again"
        )


@dataclass(frozen=True, slots=True)
class BenchmarkPrice:
    """Of a run."""

    writing: WritingPrice | None
    """None: the texts are there."""
    judging: QuestionPrice | None
    """None: no judge is needed."""

    @property
    def parts(self) -> dict[str, WritingPrice | QuestionPrice]:
        """What there is to pay for, by name."""
        named = {"writing": self.writing, "judging": self.judging}
        return {name: it for name, it in named.items() if it is not None}

    def __str__(self) -> str:
        return "; ".join(map(str, self.parts.values())) or "no calls"


def price_run(
    benchmark: Benchmark[Any],
    items: Sequence[Any],
    *,
    first: Sequence[Prompt],
    responses: Sequence[Response],
    writing: tuple[SamplingSettings, ModelSpec | None] | None,
    judging: tuple[ModelSpec, JudgePrompt] | None,
) -> BenchmarkPrice:
    """Return the price of a run.

    Args:
        benchmark: The benchmark.
        items: Its items.
        first: Prompts of the writer's first turn.
        responses: Texts to be judged; not used with a writer.
        writing: The writer's settings and its endpoint, None for a local model; None if the texts are there.
        judging: The judge's endpoint, and what its questions share; None without a judge.
    """
    written = None
    if writing is not None:
        settings, spec = writing
        prompts = _all_turns(benchmark, items, first, _longest_text(settings))
        responses = [Response(prompt_id=it.id, model="writer", text=_longest_text(settings)) for it in prompts]
        written = _price_writing(prompts, settings, spec)
    judged = None
    if judging is not None:
        spec, wording = judging
        questions = _all_questions(benchmark, Material({item.id: item for item in items}, responses), wording)
        sample = [it.message() for it in questions[:: len(questions) // MEASURED + 1]]
        judged = price_questions(sample, spec, questions=len(questions))
    return BenchmarkPrice(written, judged)


def _longest_text(settings: SamplingSettings) -> str:
    return "word " * max(1, int(settings.max_tokens / TOKENS_PER_LATIN_WORD))


def _all_turns(benchmark: Benchmark[Any], items: Sequence[Any], first: Sequence[Prompt], text: str) -> list[Prompt]:
    prompts = list(first)
    for number in range(2, benchmark.turns + 1):
        prompts += benchmark.turn(items, number, {it.id: text for it in prompts})
    return prompts


def _price_writing(prompts: Sequence[Prompt], settings: SamplingSettings, spec: ModelSpec | None) -> WritingPrice:
    sample = prompts[:: len(prompts) // MEASURED_PROMPTS + 1]
    measured = sum(estimate_prompt_tokens(it.messages) for it in sample)
    prompt_tokens = round(measured / max(len(sample), 1) * len(prompts))
    cost = 0.0 if spec is None else None
    if spec is not None and spec.prices is not None:
        cost = spec.prices.cost(prompt_tokens=prompt_tokens, completion_tokens=len(prompts) * settings.max_tokens)
    return WritingPrice(len(prompts), prompt_tokens, settings.max_tokens, cost)


def _all_questions(benchmark: Benchmark[Any], material: Material[Any], wording: JudgePrompt) -> list[JudgeQuestion]:
    """The questions of all rounds, as far as they do not depend on what is answered."""
    answers, questions = Answers(), []
    while new := [it for it in benchmark.questions(material, answers, wording) if it.about not in answers]:
        questions += new
        answers.missing |= dict.fromkeys((it.about for it in new), "not_asked")
    return questions
