"""LongBench v2 (arXiv 2412.15204): multiple-choice questions about long documents, answered at once or after reasoning in a
first turn (chain of thought). Needs no judge.

Empty answers and answers without a choice are wrong, and both are counted. The published code leaves empty answers out
of the denominator, so that a model gains by not answering.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.transfer import ACCURACY, accuracy_interval, transfer_table
from longform.evaluation.tables import Table
from longform.records.schemas import Message, Prompt, PromptRow, Response
from longform.text.cutting import cut_middle

MAX_TOKENS = 120_000
"""Prompt length to which the published code truncates for models with a context of 128k."""
CHOICES = ("A", "B", "C", "D")
REASONING = "reasoning"
"""Turn of the reasoning, in ids such as q1#reasoning."""
DIFFICULTIES = ("easy", "hard")
LENGTHS = ("short", "medium", "long")
FORM = 'Answer with the letter of the right choice, in exactly this form: "The correct answer is (insert answer here)".'
ASK_FOR_CHOICE = f"Given this reasoning, which choice is most likely right? {FORM}"
THINK_FIRST = "Think step by step about which choice is right. You will be asked for your choice afterwards."
NO_REASONING = "(nothing)"
"""In place of an empty reasoning."""
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
            "Intervals are Wilson's; upstream reports none.",
        ),
    )
    schema = LongQuestion
    title = "LongBench v2"

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

        Truncated prompts can be truncated again: their first and last parts are those of the original. Of a conversation,
        the first message is shortened, which has the document.

        Args:
            prompts: Result of `prompts`.
            cut: Truncates a text in the middle if it is too long (see `text.cutting`).
        """
        shortened = []
        for prompt in prompts:
            first, *later = prompt.messages
            text = cut(first["content"])
            turns = [Message(role="user", content=text), *map(Message.model_validate, later)]
            shortened.append(Prompt(id=prompt.id, prompt=turns if later else text))
        return shortened

    def scored(self, material: Material[LongQuestion], answers: Answers) -> list[ScoredItem]:  # noqa: ARG002
        """Return 100 for each right answer, and 0 for each other one."""
        return [
            ScoredItem(it.model, it.prompt_id, {ACCURACY: 100.0 * (parse_choice(it.text) == item.answer)})
            for it, item in _answered(material)
        ]

    def tables(self, material: Material[LongQuestion], answers: Answers) -> list[Table]:  # noqa: ARG002
        """Return accuracies, and a question-by-question comparison of each later model with the first."""
        scored, silent, unclear = [], Counter[str](), Counter[str]()
        for response, item in _answered(material):
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
            tabulate(self.title, scored, measures, notes=notes),
            tabulate("By difficulty", scored, measures, by="difficulty", order=DIFFICULTIES),
            tabulate("By length", scored, measures, by="length", order=LENGTHS),
            tabulate("By domain", scored, measures, by="domain"),
            *(transfer_table(first, other, kinds={"difficulty": DIFFICULTIES, "length": LENGTHS}) for other in others),
        ]


class LongBenchV2Cot(LongBenchV2):
    """The same questions with chain of thought: the writer reasons in a first turn and states its choice in a second one."""

    card = replace(
        LongBenchV2.card,
        name="longbench-v2-cot",
        measures="LongBench v2 with chain of thought: reasoning in a first turn, the choice in a second one.",
        writing=SamplingSettings(max_tokens=1024, temperature=0.1),
        deviations=(
            *LongBenchV2.card.deviations,
            "The choice is asked for in a second turn of the same conversation; the published code puts document and "
            "reasoning into one new prompt.",
            "Both turns may be 1,024 tokens long, which is published for the reasoning; the choice has 128 there.",
            "A question whose reasoning failed has no answer and is left out until it is written.",
        ),
    )
    turns = 2
    title = "LongBench v2 with chain of thought"

    def prompts(self, items: Sequence[LongQuestion]) -> list[Prompt]:
        """Return the requests for reasoning, shortened to the published length, and those for a choice."""
        return [*self.turn(items, 1, {}), *(Prompt(id=item.id, prompt=ASK_FOR_CHOICE) for item in items)]

    def turn(self, items: Sequence[LongQuestion], number: int, texts: Mapping[str, str]) -> list[Prompt]:
        """Return the questions with a request to reason or, in the second turn, the conversations that ask for a choice."""
        asked = [
            Prompt(id=f"{item.id}#{REASONING}", prompt=item.request.removesuffix(FORM) + THINK_FIRST) for item in items
        ]
        first = self.fitted(asked, lambda text: cut_middle(text, MAX_TOKENS))
        if number == 1:
            return first
        return [
            Prompt(
                id=item.id,
                prompt=[
                    Message(role="user", content=prompt.request),
                    Message(role="assistant", content=texts[prompt.id].strip() or NO_REASONING),
                    Message(role="user", content=ASK_FOR_CHOICE),
                ],
            )
            for item, prompt in zip(items, first, strict=True)
            if prompt.id in texts
        ]


def _answered(material: Material[LongQuestion]) -> Iterator[tuple[Response, LongQuestion]]:
    """The responses that state a choice, with their questions."""
    return ((it, material.items[it.prompt_id]) for it in material.responses if it.prompt_id in material.items)


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

{FORM}"""


def parse_choice(answer: str) -> str | None:
    """Parse the chosen letter; None if there is none.

    As published: asterisks are removed, the first `The correct answer is (X)` counts, and the form without brackets is used
    only if there is none with brackets.
    """
    plain = answer.replace("*", "")
    match = _ANSWER_IN_BRACKETS.search(plain) or _ANSWER_ALONE.search(plain)
    return match[1] if match else None
