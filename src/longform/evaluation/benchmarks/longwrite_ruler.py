"""LongWrite-Ruler (LongWriter, arXiv 2408.07055): length of a model's texts compared with the requested length.

Needs no judge. Lengths are LongWriter's word counts (`text.words.count_words`), quirks included.
"""

from typing import Any

from pydantic import Field

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.sets import made_id
from longform.evaluation.tables import Table
from longform.records.schemas import PromptRow
from longform.statistics.bootstrap import clustered_median
from longform.text.languages import guess_language
from longform.text.words import count_words, longbench_length_score

LONGWRITER = "https://github.com/THUDM/LongWriter"
LONGWRITER_FILES = "https://raw.githubusercontent.com/THUDM/LongWriter/main/evaluation"
WRITING = SamplingSettings(max_tokens=32_768, temperature=0.5)
EMPTY_TEXT = "An empty response scores S_l = 0; the published code divides by zero."


class LengthItem(PromptRow):
    """A request that states a number of words."""

    length: int = Field(ge=1)
    type: str
    lang: str


def lay_out(row: dict[str, Any], number: int, *, prefix: str) -> dict[str, Any]:
    """Add the missing id (PREFIX-HASH) and language (`zh` if the request is Chinese) to a row of LongWriter data."""
    guessed = "zh" if guess_language(str(row["prompt"])) == "zh" else "en"
    named = {} if "id" in row else made_id(f"{prefix}-", [row["prompt"], row["length"]], f"{prefix}-{number:03d}")
    return named | {"lang": guessed} | row


class LongWriteRuler(Benchmark[LengthItem]):
    """Requested and actual length."""

    card = BenchmarkCard(
        name="longwrite-ruler",
        measures="Length: number of words compared with the requested number, from 1,000 to 30,000.",
        home=LONGWRITER,
        licence="Apache-2.0",
        files={"longwrite_ruler.jsonl": f"{LONGWRITER_FILES}/longwrite_ruler.jsonl"},
        fields=frozenset({"prompt", "type", "length"}),
        writing=WRITING,
        deviations=(EMPTY_TEXT, "S_l and the median ratio summarize what is published as a plot of lengths."),
    )
    schema = LengthItem

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the fields of an item."""
        return lay_out(row, number, prefix="lwr")

    def scored(self, material: Material[LengthItem], answers: Answers) -> list[ScoredItem]:  # noqa: ARG002
        """Return the length score of each response."""
        scored = [_score(it.model, material.items[it.prompt_id], it.text) for it in material.responses]
        return [ScoredItem(it.model, it.prompt_id, {"S_l": it.values["S_l"]}) for it in scored]

    def tables(self, material: Material[LengthItem], answers: Answers) -> list[Table]:  # noqa: ARG002
        """Return length scores and ratios: overall, by requested length, and by language."""
        scored = [_score(it.model, material.items[it.prompt_id], it.text) for it in material.responses]
        measures = [TableMeasure("S_l", 1), TableMeasure("median ratio", 2, clustered_median), TableMeasure("words", 0)]
        lengths = [str(length) for length in sorted({item.length for item in material.items.values()})]
        return [
            tabulate("LongWrite-Ruler", scored, measures, notes=["ratio: actual words / requested words"]),
            tabulate("By requested words", scored, measures, by="asked for", order=lengths),
            tabulate("By language", scored, measures, by="language"),
        ]


def _score(model: str, item: LengthItem, text: str) -> ScoredItem:
    written = count_words(text)
    values = {
        "S_l": longbench_length_score(required=item.length, written=written),
        "median ratio": written / item.length,
        "words": float(written),
    }
    return ScoredItem(model, item.id, values, {"asked for": str(item.length), "language": item.lang})
