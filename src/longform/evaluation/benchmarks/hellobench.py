"""HelloBench (arXiv 2409.16191), heuristic text generation: checklists, each with the weights of its category.

A judge gives each yes-or-no question of a checklist 0, 0.25, 0.5, 0.75 or 1. The weights of a category's questions add up to
100; with w the weighted sum, a text scores (w - 75) * 4, so that a text which almost meets every question scores 0, and a
perfect one 100. The score of a model is the mean over texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field, field_validator

from longform.evaluation.benchmarks.benchmark import About, Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.tables import Table
from longform.judging.checklists import (
    ask_checklist,
    checklist_shape,
    describe_checklist,
    parse_checklist,
    parse_tuned_checklist,
)
from longform.records.schemas import PromptRow, Response
from longform.text.words import count_words

WEIGHTS: Mapping[str, tuple[float, ...]] = {
    "argumentative_writing": (18.303, 24.505, 20.484, 14.552, 22.156),
    "keyword_writing": (16.274, 27.301, 15.729, 18.814, 21.883),
    "roleplaying_writing": (18.238, 22.299, 12.861, 19.918, 26.683),
    "screenplay_writing": (19.822, 20.973, 17.096, 19.566, 22.543),
    "story_writing": (23.532, 22.421, 10.540, 17.047, 26.460),
}
"""Published weights of the questions of a category: a regression on people's judgements, in percent."""
CHECKLIST_LENGTH = 5
MEETS_MOST = 75
"""The weighted sum that scores 0: every question answered with 0.75."""
SCALE = 4
_FILE = (
    "https://raw.githubusercontent.com/Quehry/HelloBench/92c7d469230b5b6b6ee1bfc1ea2ce49cb9125b57/"
    "data/main_data/heuristic_text_generation.jsonl"
)


class ChecklistItem(PromptRow):
    """A request with its category and checklist."""

    category: str
    checklist: list[str] = Field(min_length=CHECKLIST_LENGTH, max_length=CHECKLIST_LENGTH)

    @field_validator("category")
    @classmethod
    def _check_category(cls, name: str) -> str:
        if name not in WEIGHTS:
            raise ValueError(f"{name!r} is not one of the categories {', '.join(WEIGHTS)}")
        return name


class HelloBench(Benchmark[ChecklistItem]):
    """Weighted checklists, overall and by category."""

    card = BenchmarkCard(
        name="hellobench",
        measures="Essays, stories, screenplays and role play by weighted checklists (HelloBench, heuristic text).",
        home="https://github.com/Quehry/HelloBench",
        licence="MIT",
        files={"heuristic_text_generation.jsonl": _FILE},
        fields=frozenset({"id", "category", "instruction", "checklists"}),
        writing=SamplingSettings(max_tokens=16_384, temperature=0.8),
        judging=JudgeSettings(max_tokens=4096, temperature=0.8, retries=2, slots=("request", "text", "criteria")),
        deviations=(
            "Of the five tasks of HelloBench, this is heuristic text generation; question answering, summarization, chat "
            "and text completion are not implemented.",
            "The published judge is gpt-4o (August 2024); scores of another judge are not comparable with published ones.",
            "The judge gets longform's own prompt with fenced texts and states the values once, in JSON; upstream repeats "
            "its instructions after the text.",
            "The weights are those of HelloBench's port to OpenCompass, rounded to three digits; HelloBench's own "
            "repository publishes the regression that makes them.",
            "A value other than 0, 0.25, 0.5, 0.75 and 1 is malformed and the question is asked again; upstream takes any "
            "number.",
            "The judge reads the whole text; upstream keeps the first 16,000 words, joined by blanks, of a longer one.",
            "An empty response gets 0 on every question without a judge call, and so the lowest score, -300.",
            "No seed is sent to the judge (upstream: 42).",
        ),
    )
    schema = ChecklistItem

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the fields of an item."""
        return {
            "id": str(row["id"]),
            "prompt": row["instruction"],
            "category": row["category"],
            "checklist": row["checklists"],
        }

    def questions(
        self,
        material: Material[ChecklistItem],
        answers: Answers,  # noqa: ARG002
        wording: JudgePrompt,
    ) -> Iterable[JudgeQuestion]:
        """Return one question per non-empty response, with the whole checklist."""
        parse = parse_checklist if wording.template is None else parse_tuned_checklist
        for response in material.responses:
            if response.text.strip():
                item = material.items[response.prompt_id]
                asked = partial(_ask, item, response.text, wording)
                yield JudgeQuestion(
                    _about(response),
                    asked,
                    partial(parse, len(item.checklist)),
                    shape=checklist_shape(item.checklist),
                )

    def scored(self, material: Material[ChecklistItem], answers: Answers) -> list[ScoredItem]:
        """Return the score of each response."""
        scored = _score_all(material, answers)
        return [ScoredItem(it.model, it.prompt_id, {"score": it.values["score"]}) for it in scored]

    def tables(self, material: Material[ChecklistItem], answers: Answers) -> list[Table]:
        """Return scores overall and by category, and the answers to each question of the checklists."""
        scored = _score_all(material, answers)
        measures = [TableMeasure("score", 1), TableMeasure("met", 1), TableMeasure("words", 0)]
        by_question = [
            ScoredItem(
                response.model,
                response.prompt_id,
                {"met": 100 * value},
                {"question": f"{material.items[response.prompt_id].category} {number}"},
            )
            for response in material.responses
            for number, value in enumerate(_values(response, answers) or (), 1)
        ]
        order = tuple(f"{category} {number}" for category in WEIGHTS for number in range(1, CHECKLIST_LENGTH + 1))
        notes = [
            "score: (met - 75) * 4, from -300 to 100; met: the weighted sum of the checklist's values in percent; "
            "words as LongWriter counts them"
        ]
        return [
            tabulate("HelloBench: heuristic text generation", scored, measures, notes=notes),
            tabulate("By category", scored, measures[:2], by="category", order=tuple(WEIGHTS)),
            tabulate(
                "By question of the checklist",
                by_question,
                [TableMeasure("met", 1)],
                by="question",
                order=order,
            ),
        ]


def checklist_score(category: str, values: Sequence[float]) -> float:
    """Return the score of a text, from -300 to 100: (weighted sum - 75) * 4.

    Args:
        category: Of its request.
        values: The answers to the questions of its checklist, from 0 to 1.
    """
    return (_weighted(category, values) - MEETS_MOST) * SCALE


def _weighted(category: str, values: Sequence[float]) -> float:
    weights = WEIGHTS[category]
    return 100 * sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)


def _score_all(material: Material[ChecklistItem], answers: Answers) -> list[ScoredItem]:
    scored = []
    for response in material.responses:
        category, values = material.items[response.prompt_id].category, _values(response, answers)
        if values is not None:
            measured = {
                "score": checklist_score(category, values),
                "met": _weighted(category, values),
                "words": float(count_words(response.text)),
            }
            scored.append(ScoredItem(response.model, response.prompt_id, measured, {"category": category}))
    return scored


def _values(response: Response, answers: Answers) -> Sequence[float] | None:
    """Return the answers to the questions about a response; None if they are missing."""
    return answers.values.get(_about(response)) if response.text.strip() else (0.0,) * CHECKLIST_LENGTH


def _ask(item: ChecklistItem, text: str, wording: JudgePrompt) -> str:
    if wording.template is not None:
        return wording.template.fill(request=item.request, text=text, criteria=describe_checklist(item.checklist))
    return ask_checklist(item.checklist, request=item.request, text=text, tag=wording.tag(item.id))


def _about(response: Response) -> About:
    return response.prompt_id, response.model, str(response.sample)
