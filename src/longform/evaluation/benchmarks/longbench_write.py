"""LongBench-Write (LongWriter, arXiv 2408.07055): length score S_l and quality score S_q.

S_l depends only on the word count. S_q comes from a judge: six dimensions from 1 to 5, ignoring length; S_q is the mean over
dimensions of (mean - 1) * 25. A response without a judge's scores has an S_l but no S_q.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pydantic import field_validator

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.longwrite_ruler import (
    EMPTY_TEXT,
    LONGWRITER,
    LONGWRITER_FILES,
    WRITING,
    LengthItem,
    lay_out,
)
from longform.evaluation.tables import Table
from longform.judging.criteria import (
    QUALITIES,
    QUALITIES_SHAPE,
    ask_qualities,
    describe_qualities,
    parse_qualities,
    parse_tuned_qualities,
)
from longform.records.schemas import Response
from longform.text.words import LENGTH_BINS, count_words, length_bin_name, longbench_length_score

TYPES = (
    "Literature and Creative Writing",
    "Academic and Monograph",
    "Popular Science",
    "Functional Writing",
    "News Report",
    "Community Forum",
    "Education and Training",
)


class WriteItem(LengthItem):
    """A request of LongBench-Write."""

    @field_validator("type")
    @classmethod
    def _check_type(cls, name: str) -> str:
        if name not in TYPES:
            raise ValueError(f"{name!r} is not one of LongBench-Write's seven types")
        return name


class LongBenchWrite(Benchmark[WriteItem]):
    """S_l, S_q and their mean."""

    card = BenchmarkCard(
        name="longbench-write",
        measures="Length compared with the requested length (S_l), quality in six dimensions (S_q), and their mean.",
        home=LONGWRITER,
        licence="Apache-2.0",
        files={"longbench_write.jsonl": f"{LONGWRITER_FILES}/longbench_write.jsonl"},
        fields=frozenset({"prompt", "type", "length"}),
        writing=WRITING,
        judging=JudgeSettings(max_tokens=1024, temperature=0.5, retries=4, optional_slots=("criteria",)),
        deviations=(
            EMPTY_TEXT,
            "The judge gets longform's own prompt with fenced texts.",
            "An empty response gets the lowest score in every dimension without a judge call.",
            "An answer without all six dimensions is retried; if that fails, the response has no S_q. Upstream counts the "
            "dimension as 3.",
            "The mean of S_l and S_q covers responses that have both.",
        ),
    )
    schema = WriteItem

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the fields of an item."""
        return lay_out(row, number, prefix="lbw")

    def questions(
        self,
        material: Material[WriteItem],
        answers: Answers,  # noqa: ARG002
        wording: JudgePrompt,
    ) -> Iterable[JudgeQuestion]:
        """Return one question per non-empty response."""
        parse = parse_qualities if wording.template is None else parse_tuned_qualities
        for response in material.responses:
            if response.text.strip():
                item = material.items[response.prompt_id]
                asked = partial(_ask, item, response.text, wording)
                yield JudgeQuestion(_about(response), asked, parse, shape=QUALITIES_SHAPE)

    def scored(self, material: Material[WriteItem], answers: Answers) -> list[ScoredItem]:
        """Return the mean of S_l and S_q of each response that has both."""
        scored = [_score(material.items[response.prompt_id], response, answers) for response in material.responses]
        return [ScoredItem(it.model, it.prompt_id, {"S": it.values["S"]}) for it in scored if "S" in it.values]

    def tables(self, material: Material[WriteItem], answers: Answers) -> list[Table]:
        """Return overall scores, scores by requested length, language and type, and the six dimensions."""
        scored = [_score(material.items[response.prompt_id], response, answers) for response in material.responses]
        measures = [TableMeasure(name, 1) for name in ("S", "S_l", "S_q")]
        qualities = [TableMeasure(name, 1) for name in QUALITIES]
        return [
            tabulate("LongBench-Write", scored, measures, notes=["S: mean of S_l and S_q"]),
            tabulate("By requested words", scored, measures, by="asked for", order=LENGTH_BINS),
            tabulate("By language", scored, measures, by="language"),
            tabulate("By type", scored, measures, by="type", order=TYPES),
            tabulate("S_q by dimension", scored, qualities),
        ]


def quality_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Rescale an answer's dimensions to 0 to 100: (score - 1) * 25."""
    return {name: (scores[name] - 1) * 25 for name in QUALITIES}


def _ask(item: WriteItem, text: str, wording: JudgePrompt) -> str:
    if wording.template is not None:
        return wording.template.fill(request=item.request, text=text, criteria=describe_qualities())
    return ask_qualities(request=item.request, text=text, tag=wording.tag(item.id))


def _score(item: WriteItem, response: Response, answers: Answers) -> ScoredItem:
    values = {"S_l": longbench_length_score(required=item.length, written=count_words(response.text))}
    judged = answers.values.get(_about(response)) if response.text.strip() else dict.fromkeys(QUALITIES, 1)
    if judged is not None:
        values |= quality_scores(judged)
        values["S_q"] = sum(values[name] for name in QUALITIES) / len(QUALITIES)
        values["S"] = (values["S_l"] + values["S_q"]) / 2
    groups = {"asked for": length_bin_name(item.length), "language": item.lang, "type": item.type}
    return ScoredItem(response.model, item.id, values, groups)


def _about(response: Response) -> tuple[str, ...]:
    return response.prompt_id, response.model, str(response.sample)
