"""LIFEBench (arXiv 2505.16234): how closely texts keep to a length, from 16 to 8,192 words. Needs no judge.

Each task is set with ten lengths and three ways to ask for one: equal to, at most, at least. With d = (words - required) /
required, a text scores 100 exp(5 d) if it is too short and 100 exp(-2 d) if it is too long; at most and at least are fully
met by any shorter or longer text.
"""

from collections.abc import Sequence
from math import exp
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.sets import made_id
from longform.evaluation.tables import Table
from longform.records.schemas import Prompt, PromptRow
from longform.text.words import count_words

LengthMethod = Literal["equal to", "at most", "at least"]

METHODS: tuple[LengthMethod, ...] = ("equal to", "at most", "at least")
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
METHOD_SLOT, LENGTH_SLOT = "{word_count_type}", "{word_count}"
TOO_SHORT, TOO_LONG = 5, 2
"""How fast the score of a text falls with what it lacks, and with what it has too much."""
MIN_WORDS = 2
"""A text with fewer is no answer."""
_FILE = "https://huggingface.co/datasets/LIFEBench/LIFEBench/resolve/refs%2Fconvert%2Fparquet/default/main/0000.parquet"
_IN_CHINESE: dict[LengthMethod, str] = {"equal to": "等于", "at most": "至多有", "at least": "至少有"}


class LengthTask(PromptRow):
    """A task with slots for a length and the way to ask for it."""

    type: str
    category: str
    lang: str
    lengths: list[int] = Field(default_factory=lambda: list(LENGTHS), min_length=1)
    """In words; a row may name fewer than the published ones."""
    methods: list[LengthMethod] = Field(default_factory=lambda: list(METHODS), min_length=1)

    @field_validator("prompt")
    @classmethod
    def _check_slots(cls, task: Any) -> Any:
        for slot in (METHOD_SLOT, LENGTH_SLOT):
            if slot not in str(task):
                raise ValueError(f"lacks {slot}")
        return task

    @field_validator("lengths")
    @classmethod
    def _check_lengths(cls, lengths: list[int]) -> list[int]:
        if min(lengths) < 1:
            raise ValueError("needs positive numbers of words")
        return lengths

    def request_for(self, method: LengthMethod, length: int) -> str:
        """Return the request for a length."""
        word = _IN_CHINESE[method] if self.lang == "zh" else method
        return self.request.replace(METHOD_SLOT, word).replace(LENGTH_SLOT, str(length))


class LengthConstraint(NamedTuple):
    """What a prompt's id says: the task and the length it was set with."""

    task: str
    method: LengthMethod
    length: int

    @property
    def id(self) -> str:
        """As the id of a prompt: TASK#METHOD#LENGTH."""
        return f"{self.task}#{self.method.replace(' ', '-')}#{self.length}"

    @classmethod
    def parse(cls, prompt_id: str) -> "LengthConstraint":
        """Parse an id that `id` made."""
        task, method, length = prompt_id.rsplit("#", 2)
        return cls(task, next(it for it in METHODS if it.replace(" ", "-") == method), int(length))


class LifeBench(Benchmark[LengthTask]):
    """Length score and length deviation by way of asking, length, language and category."""

    card = BenchmarkCard(
        name="lifebench",
        measures="Length: how closely texts of 16 to 8,192 words keep to equal to, at most and at least N words.",
        home="https://github.com/LIFEBench/LIFEBench",
        licence="MIT",
        files={"lifebench.parquet": _FILE},
        fields=frozenset({"task", "type", "category", "lang"}),
        writing=SamplingSettings(max_tokens=16_384, temperature=0.8),
        deviations=(
            "The deviation enters the score as a ratio, as in the paper; the published code computes it in percent, by "
            "which any text that is 1% off would score close to 0.",
            "A text of at most one word scores 0; upstream leaves it out, so that a model gains by not answering.",
            "Words are counted as LongWriter does, Chinese by characters; the published counter was not found in the public "
            "repository.",
            "The overall score of a way of asking is the mean over texts; upstream averages the means of the lengths, which "
            "is the same if every length has as many texts.",
            "All ten lengths are asked for whatever the writer's limit; upstream leaves out those above its maximum number "
            "of tokens.",
            "The published limit on tokens differs by model, from 8,192 to 65,536; here it is 16,384 (--max-tokens).",
            "A row may hold `lengths` and `methods`, which restrict it to fewer prompts than the published 30.",
            "The data is the hub's automatic conversion to Parquet, split main; its fields are taken to be those that the "
            "published code reads. A file downloaded by hand works with --set FILE (.jsonl, .parquet).",
        ),
    )
    schema = LengthTask

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the fields of a task; its id is `id`, or a hash of its text."""
        if not isinstance(row["task"], str):
            raise TypeError("task: not a text")
        own = row.get("id")
        named = {"id": str(own)} if own is not None else made_id("life-", [row["task"]], f"life-{number:03d}")
        chosen = {name: row[name] for name in ("lengths", "methods") if row.get(name)}
        lang = "zh" if row["lang"] in ("cn", "zh") else row["lang"]
        return (
            named
            | {"prompt": row["task"], "type": str(row["type"]), "category": row["category"], "lang": lang}
            | chosen
        )

    def prompts(self, items: Sequence[LengthTask]) -> list[Prompt]:
        """Return each task with each length and way to ask for it."""
        return [
            Prompt(id=LengthConstraint(item.id, method, length).id, prompt=item.request_for(method, length))
            for item in items
            for method in item.methods
            for length in item.lengths
        ]

    def scored(self, material: Material[LengthTask], answers: Answers) -> list[ScoredItem]:  # noqa: ARG002
        """Return the length score of each text."""
        return [
            ScoredItem(it.model, it.prompt_id, {"score": it.values["score"]}, it.groups) for it in _score_all(material)
        ]

    def tables(self, material: Material[LengthTask], answers: Answers) -> list[Table]:  # noqa: ARG002
        """Return length scores and deviations by way of asking, by length and by other groups."""
        scored = _score_all(material)
        both = [TableMeasure("score", 1), TableMeasure("deviation %", 1)]
        score = both[:1]
        lengths = [str(it) for it in sorted({length for task in material.items.values() for length in task.lengths})]
        silent = sum(it.values["words"] < MIN_WORDS for it in scored)
        notes = ["deviation: mean of |words - required| / required in percent"]
        notes += [f"texts of at most one word, which score 0: {silent}"] if silent else []
        tables = [
            tabulate("LIFEBench", scored, both, by="asked for", order=METHODS, notes=notes),
            tabulate("Equal to, by length", scored, [*both, TableMeasure("words", 0)], by="equal to", order=lengths),
            tabulate("At most, by length", scored, score, by="at most", order=lengths),
            tabulate("At least, by length", scored, score, by="at least", order=lengths),
            tabulate("By language", scored, score, by="language"),
            tabulate("By category", scored, score, by="category"),
        ]
        return [tables[0], *(table for table in tables[1:] if table.rows)]


def length_instruction_score(*, method: LengthMethod, required: int, written: int) -> float:
    """Score a text's length: LS of LIFEBench (arXiv 2505.16234), 0 to 100.

    Args:
        method: How the length was asked for.
        required: Words asked for, at least one.
        written: Words of the text; fewer than two score 0.
    """
    if written < MIN_WORDS:
        return 0.0
    deviation = (written - required) / required
    if (method == "at most" and deviation <= 0) or (method == "at least" and deviation >= 0):
        return 100.0
    return 100 * exp(TOO_SHORT * deviation if deviation < 0 else -TOO_LONG * deviation)


def _score_all(material: Material[LengthTask]) -> list[ScoredItem]:
    """Return the scores of all texts; those of one task are resampled together."""
    scored = []
    for response in material.responses:
        task_id, method, length = LengthConstraint.parse(response.prompt_id)
        task, written = material.items[task_id], count_words(response.text)
        values = {
            "score": length_instruction_score(method=method, required=length, written=written),
            "deviation %": 100 * abs(written - length) / length,
            "words": float(written),
        }
        groups = {"asked for": method, method: str(length), "language": task.lang, "category": task.category}
        scored.append(ScoredItem(response.model, task_id, values, groups))
    return scored
