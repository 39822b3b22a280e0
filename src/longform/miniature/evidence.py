"""Results of the quickstart: the trained writer vs. its initial policy and the competitors, on held-out prompts."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from longform.endpoints.client import Endpoint
from longform.endpoints.concurrency import map_bounded
from longform.endpoints.models import read_models
from longform.evaluation.head_to_head import compare_writers, win_rate
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import PointwiseJudge
from longform.miniature.judge import measure
from longform.miniature.quickstart import COMPETITORS, write_locally, write_remotely
from longform.miniature.world import parse_request
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows
from longform.records.progress import Stage
from longform.records.schemas import Prompt, Response
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.text.repetition import repeated_ngram_share
from longform.text.words import count_words

START = "start"


@dataclass(frozen=True, slots=True)
class WriterFigures:
    """Results of one writer on the held-out prompts: means over responses, with 95% intervals over prompts."""

    grade: Interval
    """The examiner's absolute grade, 1 to 10."""
    coverage: Interval
    """Fraction of the required words that are used."""
    words: float
    repetition: float
    """Fraction of repeated word 4-grams."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Results of the trained writer and its initial policy, and win rates."""

    start: WriterFigures
    trained: WriterFigures
    win_rates: dict[str, Interval]
    """Win rates of the trained writer vs. the initial policy and each competitor, over both orders; ties count half."""
    no_verdicts: int
    """Number of missing games: without a verdict, or without a text because a competitor's endpoint failed."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary."""
        return asdict(self) | {"win_rates": {name: list(rate) for name, rate in self.win_rates.items()}}


def gather_evidence(folder: Path, trained: Path, *, name: str, seed: int, stage: Stage) -> Evidence:
    """Have initial policy, trained writer and competitors write for the held-out prompts and the examiner compare them.

    Args:
        folder: Folder of the quickstart.
        trained: Model folder of the trained writer.
        name: Name of its responses file, `folder`/held-out-NAME.jsonl.
        seed: Sampling seed.
        stage: Opens a progress stage.
    """
    rows = list(read_rows(folder / "held-out.jsonl", Prompt))
    models = read_models(folder / "models.yaml")
    with SqliteCallLog(folder / "evaluation.sqlite") as log:
        with stage("held-out responses") as advance:
            for model, writer in ((folder / "start", START), (trained, name)):
                write_locally(rows, model, _held_out(folder, writer), name=writer, seed=seed, advance=advance)
            competitors = [Endpoint(writer, models[writer], call_log=log) for writer in COMPETITORS]
            asyncio.run(write_remotely(rows, competitors, partial(_held_out, folder), advance=advance))
        texts = {
            writer: {row.prompt_id: row.text for row in read_rows(_held_out(folder, writer), Response)}
            for writer in (name, START, *COMPETITORS)
        }
        with stage("comparisons by the examiner") as advance:
            examiner = Endpoint("examiner", models["examiner"], call_log=log)
            return asyncio.run(_examine(rows, texts, examiner, name, advance, secret=log.secret()))


async def _examine(
    rows: Sequence[Prompt],
    texts: dict[str, dict[str, str]],
    examiner: Endpoint,
    name: str,
    advance: Callable[[int, int], None],
    *,
    secret: bytes,
) -> Evidence:
    async with examiner:
        rates, missing = await play(
            rows, texts, examiner, name=name, opponents=(START, *COMPETITORS), advance=advance, secret=secret
        )
        pointwise = PointwiseJudge(examiner, secret=secret)
        start, trained = [await _figures(rows, texts[writer], pointwise) for writer in (START, name)]
    return Evidence(start, trained, rates, missing)


async def play(
    rows: Sequence[Prompt],
    texts: dict[str, dict[str, str]],
    examiner: Endpoint,
    *,
    name: str,
    opponents: Sequence[str],
    advance: Callable[[int, int], None],
    secret: bytes,
) -> tuple[dict[str, Interval], int]:
    """Return the win rates of one writer vs. each opponent, and the number of missing games.

    Both orders are judged; ties count half.

    Args:
        rows: Held-out prompts.
        texts: Texts by writer, then by prompt id.
        examiner: Open endpoint of the examiner.
        name: Name of the writer.
        opponents: Names of the opponents.
        advance: Called with the number of games done and the total.
        secret: Secret of the fence tags.
    """
    rates, missing = {}, 0
    for index, opponent in enumerate(opponents):
        both = [row for row in rows if row.id in texts[name] and row.id in texts[opponent]]
        missing += 2 * (len(rows) - len(both))
        result = await compare_writers(
            both,
            texts[name],
            texts[opponent],
            PairwiseJudge(examiner, secret=secret),
            model_a=name,
            model_b=opponent,
            on_progress=lambda done, total, index=index: advance(index * total + done, len(opponents) * total),
        )
        rates[opponent] = win_rate(result.games)
        missing += result.no_verdict.total() + len(result.alone)
    return rates, missing


async def mean_grade(rows: Sequence[Prompt], texts: dict[str, str], examiner: PointwiseJudge) -> Interval:
    """Return the mean of the examiner's grades of one writer's texts."""
    grades: dict[str, float] = {}

    async def grade(prompt: Prompt) -> None:
        graded = await examiner.grade(prompt, texts[prompt.id])
        if graded.value is not None:
            grades[prompt.id] = graded.value.score

    await map_bounded(rows, grade, workers=examiner.endpoint.spec.concurrency)
    graded_ids = [row.id for row in rows if row.id in grades]  # grades arrive in any order; the interval depends on it
    return clustered_interval([grades[id_] for id_ in graded_ids], graded_ids)


async def _figures(rows: Sequence[Prompt], texts: dict[str, str], examiner: PointwiseJudge) -> WriterFigures:
    coverage = {row.id: measure(parse_request(row.request), texts[row.id]).coverage for row in rows}
    return WriterFigures(
        grade=await mean_grade(rows, texts, examiner),
        coverage=clustered_interval(list(coverage.values()), list(coverage)),
        words=float(np.mean([count_words(text) for text in texts.values()])),
        repetition=float(np.mean([repeated_ngram_share(text) for text in texts.values()])),
    )


def _held_out(folder: Path, writer: str) -> Path:
    return folder / f"held-out-{writer}.jsonl"
