"""LongBench v2 (arXiv 2412.15204): questions with four choices about long documents. Needs no judge.

An answer that is empty, or that does not say which choice it takes, is wrong, and both are counted. The published code
leaves empty answers out of the denominator, so that a model gains by saying nothing.
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
"""To which the published code cuts a prompt for models with a context of 128k."""
CHOICES = ("A", "B", "C", "D")
DIFFICULTIES = ("easy", "hard")
LENGTHS = ("short", "medium", "long")
_ANSWER_IN_BRACKETS = re.compile(r"The correct answer is \(([A-D])\)")
_ANSWER_ALONE = re.compile(r"The correct answer is ([A-D])(?!\w)")


class LongQuestion(PromptRow):
    """A question about a document. `prompt` is all that a model is asked, the document among it."""

    difficulty: Literal["easy", "hard"]
    length: Literal["short", "medium", "long"]
    domain: str
    answer: Literal["A", "B", "C", "D"]


class LongBenchV2(Benchmark[LongQuestion]):
    """Accuracy overall, by difficulty, by length, by domain; and of a second model against the first."""

    card = BenchmarkCard(
        name="longbench-v2",
        measures="Understanding of long documents: questions with four choices, by difficulty and length.",
        home="https://github.com/THUDM/LongBench",
        licence="Apache-2.0",
        files={"data.json": "https://huggingface.co/datasets/THUDM/LongBench-v2/resolve/main/data.json"},
        fields=frozenset(
            {"_id", "domain", "difficulty", "length", "question", "answer", "context"}
            | {f"choice_{letter}" for letter in CHOICES}
        ),
        writing=SamplingSettings(max_tokens=128, temperature=0.1),
        deviations=(
            "An empty answer counts as wrong; the published code leaves it out of the denominator.",
            "A letter without brackets is an answer only where no word goes on from it; upstream reads "
            '"The correct answer is Determined" as D.',
            "The question is put in longform's own words, with the published parts, order and form of the answer.",
            "A prompt is cut in the middle by longform's estimate of tokens where its tokenizer is not at hand; the "
            "estimate is rather too high, so somewhat more is cut.",
            "Only the direct form is there, without a chain of thought.",
            "Intervals are Wilson's; upstream has none.",
        ),
    )
    schema = LongQuestion

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """The fields of a question; its id is `_id`."""
        texts = {name: row[name] for name in ("question", "context", *(f"choice_{letter}" for letter in CHOICES))}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise TypeError(f"{name}: is no text")
        return {
            "id": str(row["_id"]),
            "prompt": ask_choice(**{name: text.strip() for name, text in texts.items()}),
            **{name: row[name] for name in ("difficulty", "length", "domain", "answer")},
        }

    def prompts(self, items: Sequence[LongQuestion]) -> list[Prompt]:
        """The questions, cut to the published length by the estimate of tokens."""
        whole = [Prompt(id=item.id, prompt=item.request) for item in items]
        return self.fitted(whole, lambda text: cut_middle(text, MAX_TOKENS))

    def fitted(self, prompts: Sequence[Prompt], cut: Callable[[str], str]) -> list[Prompt]:
        """The prompts as a writer with a shorter context can take them in.

        What is cut already can be cut again: the first and last part of what was kept are those of the whole.

        Args:
            prompts: from `prompts`.
            cut: takes the middle out of a text that is too long, see `text.cutting`.
        """
        return [Prompt(id=prompt.id, prompt=cut(prompt.request)) for prompt in prompts]

    def tables(self, material: Material[LongQuestion], answers: Answers) -> list[Table]:  # noqa: ARG002
        """Accuracies; and each later model against the first, question by question."""
        scored, silent, unclear = [], Counter[str](), Counter[str]()
        for response in material.responses:
            item = material.items[response.prompt_id]
            choice = parse_choice(response.text)
            silent[response.model] += not response.text.strip()
            unclear[response.model] += choice is None and bool(response.text.strip())
            groups = {"difficulty": item.difficulty, "length": item.length, "domain": item.domain}
            scored.append(ScoredItem(response.model, item.id, {ACCURACY: 100.0 * (choice == item.answer)}, groups))
        models = list(dict.fromkeys(it.model for it in scored))
        notes = ["per cent of the questions; chance is 25"] + [
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
    """All that a model is asked: the document, the question, the choices, and the form of the answer."""
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
    """The letter that an answer takes; None where it says none.

    As published: asterisks go, the first `The correct answer is (X)` counts, and the form without brackets only where
    there is none with them.
    """
    plain = answer.replace("*", "")
    found = _ANSWER_IN_BRACKETS.search(plain) or _ANSWER_ALONE.search(plain)
    return found[1] if found else None
