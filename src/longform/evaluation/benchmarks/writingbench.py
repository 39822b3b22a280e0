"""WritingBench (arXiv 2503.05244): five query-specific criteria, each scored from 1 to 10.

The overall score is the mean of all criterion scores; the score of a domain, a language or a requirement (R) is the
mean over queries of their means; C covers only the criteria about the requirement. The leaderboard shows these times
10. A response with a missing score is left out entirely, because a mean of the other scores is not comparable.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import field_validator

from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.sets import find_files, read_raw
from longform.evaluation.tables import Table
from longform.judging.criteria import (
    CRITERION_SCALE,
    CRITERION_SHAPE,
    ask_criterion,
    describe_criterion,
    parse_criterion,
    parse_tuned_criterion,
)
from longform.judging.criteria_writing import BANDS
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, PromptRow, Response

NUM_CRITERIA = 5
REQUIREMENTS = ("style", "format", "length")
THOUGHTS_END = "</think>\n\n"
_FILES = "https://raw.githubusercontent.com/X-PLUG/WritingBench/main/benchmark_query"
_NOTE = "scores from 1 to 10; the leaderboard multiplies them by 10"


class Query(PromptRow):
    """A query with its criteria."""

    domain1: str
    domain2: str
    lang: str | None = None
    version: str | None = None
    checklist: list[Criterion]
    requirements: dict[str, list[str]]
    """Requirement of the query -> names of the criteria about it."""

    @field_validator("checklist")
    @classmethod
    def _check_count(cls, checklist: list[Criterion]) -> list[Criterion]:
        if len(checklist) != NUM_CRITERIA:
            raise ValueError(f"needs {NUM_CRITERIA} criteria, has {len(checklist)}")
        name, count = Counter(criterion.name for criterion in checklist).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} criteria are called {name!r}")
        return checklist


class WritingBench(Benchmark[Query]):
    """Overall, by domain, by language, by requirement."""

    card = BenchmarkCard(
        name="writingbench",
        measures="Real writing tasks with five query-specific criteria: overall, by domain, by requirement (R and C).",
        home="https://github.com/X-PLUG/WritingBench",
        licence="Apache-2.0",
        files={"benchmark_all.jsonl": f"{_FILES}/benchmark_all.jsonl"}
        | {
            f"{name}_subset{kind}.jsonl": f"{_FILES}/requirement/{name}/{name}_subset{kind}.jsonl"
            for name in REQUIREMENTS
            for kind in ("", "_C")
        },
        fields=frozenset({"index", "query", "checklist", "domain1", "domain2"}),
        writing=SamplingSettings(max_tokens=16_000, temperature=0.7, top_p=0.8),
        judging=JudgeSettings(
            max_tokens=2048, temperature=1.0, retries=2, top_p=0.95, slots=("request", "criteria", "text")
        ),
        deviations=(
            "The judge gets longform's own prompt with fenced texts; the criterion is stated once.",
            "Responses are sampled without top_k (upstream: 20).",
            "An empty response scores 1 on every criterion without a judge call.",
            "A response with a missing score after all retries is left out and counted; upstream stops.",
        ),
    )
    schema = Query

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the fields of a query; its id is the index."""
        if not isinstance(row["checklist"], list):
            raise TypeError("checklist: not a list")
        checklist = [_lay_out_criterion(entry, f"checklist.{index}") for index, entry in enumerate(row["checklist"])]
        named = {name: row.get(name) for name in ("domain1", "domain2", "lang", "version")}
        own = {"id": str(row["index"]), "prompt": row["query"], "checklist": checklist}
        return own | named | {"requirements": row.get("requirements") or {}}

    def read(self, path: Path) -> list[Query]:
        """Read the queries, and their requirements from the subset files if these exist.

        Raises:
            BadInputError: a file is invalid.
        """
        files = find_files(path, self.card)
        subsets: dict[str, dict[str, list[str]]] = {}
        for requirement in REQUIREMENTS:
            whole, part = files.get(f"{requirement}_subset.jsonl"), files.get(f"{requirement}_subset_C.jsonl")
            if whole is not None and part is not None:
                subsets[requirement] = _read_subset(requirement, whole, part)
        queries = []
        for query in super().read(path):
            of_subsets = {name: indexes[query.id] for name, indexes in subsets.items() if query.id in indexes}
            queries.append(query.model_copy(update={"requirements": query.requirements | of_subsets}))
            _check_names(path, queries[-1])
        return queries

    def version(self, items: Sequence[Query]) -> str | None:
        """Return the version if all rows name the same one."""
        versions = {item.version for item in items}
        return versions.pop() if len(versions) == 1 else None

    def questions(self, material: Material[Query], answers: Answers, wording: JudgePrompt) -> Iterable[JudgeQuestion]:  # noqa: ARG002
        """Return one question per criterion of each non-empty response."""
        parse = parse_criterion if wording.template is None else parse_tuned_criterion
        for response in material.responses:
            query = material.items[response.prompt_id]
            if final_text(response).strip():
                for criterion in query.checklist:
                    asked = partial(_ask, query, response, criterion, wording)
                    yield JudgeQuestion(_about(response, criterion), asked, parse, shape=CRITERION_SHAPE)

    def scored(self, material: Material[Query], answers: Answers) -> list[ScoredItem]:
        """Return the score of each criterion of each complete response."""
        return [
            ScoredItem(response.model, response.prompt_id, {"overall": score})
            for response in material.responses
            for score in (_scores(material.items[response.prompt_id], response, answers) or {}).values()
        ]

    def tables(self, material: Material[Query], answers: Answers) -> list[Table]:
        """Return scores overall and by requirement, domain, subdomain and language."""
        queries: list[ScoredItem] = []
        requirements: list[ScoredItem] = []
        for response in material.responses:
            query = material.items[response.prompt_id]
            scores = _scores(query, response, answers)
            if scores is None:
                continue
            labels = {"domain": query.domain1, "subdomain": query.domain2} | (
                {"language": query.lang} if query.lang else {}
            )
            model, mean = response.model, fmean(scores.values())
            queries.append(ScoredItem(model, query.id, {"mean": mean}, labels))
            for requirement, names in query.requirements.items():
                group = {"requirement": requirement}
                requirements.append(ScoredItem(model, query.id, {"R": mean}, group))
                requirements += [ScoredItem(model, query.id, {"C": scores[name]}, group) for name in names]
        means = [TableMeasure("mean")]
        tables = [
            tabulate(
                "WritingBench",
                self.scored(material, answers),
                [TableMeasure("overall")],
                notes=[f"n: criteria scored; {_NOTE}"],
            ),
            tabulate(
                "By requirement",
                requirements,
                [TableMeasure("R"), TableMeasure("C")],
                by="requirement",
                order=REQUIREMENTS,
                notes=["R: all criteria of the queries with this requirement; C: the criteria about it"],
            ),
            *(tabulate(f"By {kind}", queries, means, by=kind) for kind in ("domain", "subdomain", "language")),
        ]
        return [tables[0], *(table for table in tables[1:] if table.rows)]


def _lay_out_criterion(entry: Any, location: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise TypeError(f"{location}: not an object")
    if missing := [name for name in ("name", "criteria_description", *BANDS) if name not in entry]:
        raise ValueError(f"{location}: missing {', '.join(missing)}")
    bands = {band: entry[band] for band in BANDS}
    return {"name": entry["name"], "description": entry["criteria_description"], "bands": bands}


def final_text(response: Response) -> str:
    """Return the response without its thoughts."""
    before, end, after = response.text.partition(THOUGHTS_END)
    return after if end else before


def _ask(query: Query, response: Response, criterion: Criterion, wording: JudgePrompt) -> str:
    text = final_text(response)
    if wording.template is not None:
        return wording.template.fill(request=query.request, criteria=describe_criterion(criterion), text=text)
    return ask_criterion(
        request=query.request, text=text, criterion=describe_criterion(criterion), tag=wording.tag(query.id)
    )


def _scores(query: Query, response: Response, answers: Answers) -> dict[str, int] | None:
    """Return the score of each criterion; None if one is missing."""
    if not final_text(response).strip():
        return {criterion.name: CRITERION_SCALE[0] for criterion in query.checklist}
    about = {it.name: _about(response, it) for it in query.checklist}
    if not all(it in answers.values for it in about.values()):
        return None
    return {name: answers.values[it] for name, it in about.items()}


def _about(response: Response, criterion: Criterion) -> tuple[str, ...]:
    return response.prompt_id, response.model, str(response.sample), criterion.name


def _read_subset(requirement: str, whole: Path, part: Path) -> dict[str, list[str]]:
    """Map the index of each query of a requirement's subset to the names of the criteria about it."""
    try:
        names = {str(row["index"]): [entry["name"] for entry in row["checklist"]] for _, row in read_raw(part)}
        return {index: names[index] for index in (str(row["index"]) for _, row in read_raw(whole))}
    except KeyError as error:
        raise BadInputError(f"{part}: does not match {whole.name}: {requirement}: {error} is missing") from None
    except TypeError:
        raise BadInputError(f"{part}: checklist: not a list of criteria in every row") from None


def _check_names(path: Path, query: Query) -> None:
    known = {criterion.name for criterion in query.checklist}
    for requirement, names in query.requirements.items():
        if unknown := [name for name in names if name not in known]:
            raise BadInputError(f"{path}: query {query.id}: requirements.{requirement}: no criterion {unknown[0]!r}")
