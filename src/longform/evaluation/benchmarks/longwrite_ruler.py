"""LongWrite-Ruler (LongWriter, arXiv 2408.07055): how long a model's texts get, against the length asked for.

Needs no judge. Length is LongWriter's count of words (`text.words.count_words`), traps included.
"""

from typing import Any

from pydantic import Field

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.tables import Table
from longform.records.schemas import PromptRow
from longform.selection.languages import guess_language
from longform.statistics.bootstrap import clustered_median
from longform.text.words import count_words, longbench_length_score

LONGWRITER = "https://github.com/THUDM/LongWriter"
LONGWRITER_FILES = "https://raw.githubusercontent.com/THUDM/LongWriter/main/evaluation"
WRITING = SamplingSettings(max_tokens=32_768, temperature=0.5)
EMPTY_TEXT = "A response without a word scores S_l = 0, where the published code divides by zero."


class LengthItem(PromptRow):
    """A request that states how many words it wants."""

    length: int = Field(ge=1)
    type: str
    lang: str


def lay_out(row: dict[str, Any], number: int, *, prefix: str) -> dict[str, Any]:
    """A row of LongWriter's sets, which have no id and no language: PREFIX-NUMBER, and `zh` where the request is Chinese."""
    guessed = "zh" if guess_language(str(row["prompt"])) == "zh" else "en"
    return {"id": f"{prefix}-{number:03d}", "lang": guessed} | row


class LongWriteRuler(Benchmark[LengthItem]):
    """Requested against written length."""

    card = BenchmarkCard(
        name="longwrite-ruler",
        measures="Length: words written against words asked for, from 1,000 to 30,000.",
        home=LONGWRITER,
        licence="Apache-2.0",
        files={"longwrite_ruler.jsonl": f"{LONGWRITER_FILES}/longwrite_ruler.jsonl"},
        fields=frozenset({"prompt", "type", "length"}),
        writing=WRITING,
        deviations=(EMPTY_TEXT, "S_l and the median ratio summarise what is published as a plot of lengths."),
    )
    schema = LengthItem

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """The fields of an item."""
        return lay_out(row, number, prefix="lwr")

    def tables(self, material: Material[LengthItem], answers: Answers) -> list[Table]:  # noqa: ARG002
        """Length scores and ratios: overall, by the length asked for, by language."""
        scored = [_score(it.model, material.items[it.prompt_id], it.text) for it in material.responses]
        measures = [TableMeasure("S_l", 1), TableMeasure("median ratio", 2, clustered_median), TableMeasure("words", 0)]
        lengths = [str(length) for length in sorted({item.length for item in material.items.values()})]
        return [
            tabulate("LongWrite-Ruler", scored, measures, notes=["ratio: words written / words asked for"]),
            tabulate("By words asked for", scored, measures, by="asked for", order=lengths),
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
