"""What a quickstart came to: the trained writer against its start and the competitors, on held-out prompts."""

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
from longform.miniature.quickstart import COMPETITORS, Stage, write_locally, write_remotely
from longform.miniature.world import parse_request
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows
from longform.records.schemas import Prompt, Response
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.text.repetition import repeated_ngram_share
from longform.text.words import count_words

START = "start"


@dataclass(frozen=True, slots=True)
class WriterFigures:
    """One writer on the held-out prompts: means over its responses, with 95% intervals over prompts."""

    grade: Interval
    """The examiner's absolute grade, 1 to 10."""
    coverage: Interval
    """Share of the required words that are used."""
    words: float
    repetition: float
    """Share of repeated word 4-grams."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The trained writer beside its start, and its win rates."""

    start: WriterFigures
    trained: WriterFigures
    win_rates: dict[str, Interval]
    """Of the trained writer against the start and each competitor, ties half, both orders."""
    no_verdicts: int
    """Games that are missing: no verdict, or no text of a competitor whose endpoint failed."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"win_rates": {name: list(rate) for name, rate in self.win_rates.items()}}


def gather_evidence(folder: Path, trained: Path, *, name: str, seed: int, stage: Stage) -> Evidence:
    """Let start, trained writer and competitors write for the held-out prompts, and the examiner compare them.

    Args:
        folder: of the quickstart.
        trained: model folder of the trained writer.
        name: what its responses are called, in `folder`/held-out-NAME.jsonl.
        seed: of the draws.
        stage: opens a stage of progress.
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
        with stage("the examiner's comparison") as advance:
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
    """Win rates of one writer against each opponent, ties half, both orders; and how many games are missing.

    Args:
        rows: the held-out prompts.
        texts: by writer, then by prompt id.
        examiner: compares; open.
        name: of the writer.
        opponents: names of the others.
        advance: told of each game.
        secret: behind the tags of the fences.
    """
    rates, missing = {}, 0
    for place, opponent in enumerate(opponents):
        both = [row for row in rows if row.id in texts[name] and row.id in texts[opponent]]
        missing += 2 * (len(rows) - len(both))
        found = await compare_writers(
            both,
            texts[name],
            texts[opponent],
            PairwiseJudge(examiner, secret=secret),
            model_a=name,
            model_b=opponent,
            on_progress=lambda done, total, place=place: advance(place * total + done, len(opponents) * total),
        )
        rates[opponent] = win_rate(found.games)
        missing += found.no_verdict.total() + len(found.alone)
    return rates, missing


async def mean_grade(rows: Sequence[Prompt], texts: dict[str, str], examiner: PointwiseJudge) -> Interval:
    """The examiner's absolute grade of one writer's texts."""
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
