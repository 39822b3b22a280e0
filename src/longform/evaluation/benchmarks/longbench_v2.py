"""LongBench v2 (arXiv 2412.15204): multiple-choice questions about long documents. Needs no judge.

Empty answers and answers without a choice are wrong, and both are counted. The published code leaves empty answers out
of the denominator, so that a model gains by not answering.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.transfer import ACCURACY, accuracy_interval, transfer_table
from longform.evaluation.tables import Table
from longform.records.schemas import Prompt, PromptRow
from longform.text.cutting import cut_middle

MAX_TOKENS = 120_000
"""Prompt length to which the published code truncates for models with a context of 128k."""
CHOICES = ("A", "B", "C", "D")
DIFFICULTIES = ("easy", "hard")
LENGTHS = ("short", "medium", "long")
_ANSWER_IN_BRACKETS = re.compile(r"The correct answer is \(([A-D])\)")
_ANSWER_ALONE = re.compile(r"The correct answer is ([A-D])(?!\w)")


class LongQuestion(PromptRow):
    """A question about a document. `prompt` is the full prompt, including the document."""

    difficulty: Literal["easy", "hard"]
    length: Literal["short", "medium", "long"]
    domain: str
    answer: Literal["A", "B", "C", "D"]


class LongBenchV2(Benchmark[LongQuestion]):
    """Accuracy overall and by difficulty, length and domain; further models are compared with the first."""

    card = BenchmarkCard(
        name="longbench-v2",
        measures="Understanding of long documents: multiple-choice questions by difficulty and length.",
        home="https://github.com/THUDM/LongBench",
        licence="Apache-2.0",
        files={"data.json": "https://huggingface.co/datasets/THUDM/LongBench-v2/resolve/main/data.json"},
        fields=frozenset(
            {"_id", "domain", "difficulty", "length", "question", "answer", "context"}
            | {f"choice_{letter}" for letter in CHOICES}
        ),
        writing=SamplingSettings(max_tokens=128, temperature=0.1),
        deviations=(
            "Empty answers count as wrong; the published code leaves them out of the denominator.",
            "A letter without brackets counts only if no word continues from it; upstream reads "
            '"The correct answer is Determined" as D.',
            "The question uses longform's own prompt with the published parts, order and answer format.",
            "Without the writer's tokenizer, prompts are truncated in the middle by longform's token estimate, which "
            "errs on the high side, so slightly more is removed.",
            "Only the direct form is implemented, without chain of thought.",
            "Intervals are Wilson's; upstream reports none.",
        ),
    )
    schema = LongQuestion

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the fields of a question; its id is `_id`."""
        texts = {name: row[name] for name in ("question", "context", *(f"choice_{letter}" for letter in CHOICES))}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise TypeError(f"{name}: not a text")
        return {
            "id": str(row["_id"]),
            "prompt": ask_choice(**{name: text.strip() for name, text in texts.items()}),
            **{name: row[name] for name in ("difficulty", "length", "domain", "answer")},
        }

    def prompts(self, items: Sequence[LongQuestion]) -> list[Prompt]:
        """Return the questions, truncated to the published length by the token estimate."""
        whole = [Prompt(id=item.id, prompt=item.request) for item in items]
        return self.fitted(whole, lambda text: cut_middle(text, MAX_TOKENS))

    def fitted(self, prompts: Sequence[Prompt], cut: Callable[[str], str]) -> list[Prompt]:
        """Shorten the prompts for a writer with a short context.

        Truncated prompts can be truncated again: their first and last parts are those of the original.

        Args:
            prompts: Result of `prompts`.
            cut: Truncates a text in the middle if it is too long (see `text.cutting`).
        """
        return [Prompt(id=prompt.id, prompt=cut(prompt.request)) for prompt in prompts]

    def scored(self, material: Material[LongQuestion], answers: Answers) -> list[ScoredItem]:  # noqa: ARG002
        """Return 100 for each right answer, and 0 for each other one."""
        return [
            ScoredItem(it.model, it.prompt_id, {ACCURACY: 100.0 * (parse_choice(it.text) == item.answer)})
            for it in material.responses
            for item in (material.items[it.prompt_id],)
        ]

    def tables(self, material: Material[LongQuestion], answers: Answers) -> list[Table]:  # noqa: ARG002
        """Return accuracies, and a question-by-question comparison of each later model with the first."""
        scored, silent, unclear = [], Counter[str](), Counter[str]()
        for response in material.responses:
            item = material.items[response.prompt_id]
            choice = parse_choice(response.text)
            silent[response.model] += not response.text.strip()
            unclear[response.model] += choice is None and bool(response.text.strip())
            groups = {"difficulty": item.difficulty, "length": item.length, "domain": item.domain}
            scored.append(ScoredItem(response.model, item.id, {ACCURACY: 100.0 * (choice == item.answer)}, groups))
        models = list(dict.fromkeys(it.model for it in scored))
        notes = ["percent of the questions; chance is 25"] + [
            f"{model}: {silent[model]} empty and {unclear[model]} without a choice, counted as wrong"
            for model in models
        ]
        measures = [TableMeasure(ACCURACY, 1, accuracy_interval, holds_for_few=True)]
        first, *others = ([it for it in scored if it.model == model] for model in models)
        return [
            tabulate("LongBench v2", scored, measures, notes=notes),
            tabulate("By difficulty", scored, measures, by="difficulty", order=DIFFICULTIES),
            tabulate("By length", scored, measures, by="length", order=LENGTHS),
            tabulate("By domain", scored, measures, by="domain"),
            *(transfer_table(first, other, kinds={"difficulty": DIFFICULTIES, "length": LENGTHS}) for other in others),
        ]


def ask_choice(*, context: str, question: str, choice_A: str, choice_B: str, choice_C: str, choice_D: str) -> str:
    """Build the full prompt: the document, the question, the choices, and the answer format."""
    return f"""\
Below stands a text, and after it a question about it with four choices, one of which is right. Read the text first.

<text>
{context}
</text>

The question: {question}
Choices:
(A) {choice_A}
(B) {choice_B}
(C) {choice_C}
(D) {choice_D}

Answer with the letter of the right choice, in exactly this form: "The correct answer is (insert answer here)"."""


def parse_choice(answer: str) -> str | None:
    """Parse the chosen letter; None if there is none.

    As published: asterisks are removed, the first `The correct answer is (X)` counts, and the form without brackets is used
    only if there is none with brackets.
    """
    plain = answer.replace("*", "")
    match = _ANSWER_IN_BRACKETS.search(plain) or _ANSWER_ALONE.search(plain)
    return match[1] if match else None
