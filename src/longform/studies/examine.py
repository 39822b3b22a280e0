"""The examinations of a study: each measures one policy, as values by prompt in the folder of its task."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from longform.endpoints.recorded import RecordedCalls
from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.benchmarks.result import GAMES, SCORES
from longform.evaluation.benchmarks.run import CALLS, run_benchmark
from longform.evaluation.head_to_head import compare_writers
from longform.judging.pairwise import PairwiseJudge
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import GAME_SCORES, Game, Grade, Prompt, Response, Row
from longform.rewards.measured import expected_answers
from longform.studies.money import budget_beside
from longform.studies.work import GradeWork, TaskContext, Writer
from longform.text.final_answers import AnswerForm, final_answer

VALUES = "values.jsonl"
"""What an examination measured, in the folder of its task."""
ALL_PROMPTS = ""
"""Prompt id of a value about all prompts at once."""
POLICY = "policy"
"""The examined policy, in games."""
_MIN_COVERAGE = 0.5
"""Minimum share of the prompts that must have a value."""


class MeasuredValue(Row):
    """One measured value."""

    prompt_id: str
    value: float


@dataclass(frozen=True, slots=True)
class GradeExam:
    """The mean grade of each prompt's responses."""

    grading: GradeWork

    def do(self, folder: Path, context: TaskContext) -> None:
        """Ask for the grades that are missing."""
        self.grading.do(folder, context)
        scores: dict[str, list[float]] = {}
        for row in read_rows(self.grading.out, Grade):
            scores.setdefault(row.prompt_id, []).append(row.score)
        written = {row.prompt_id for path in self.grading.responses for row in read_rows(path, Response)}
        write_values(folder, {name: fmean(it) for name, it in scores.items()}, prompts=len(written))


@dataclass(frozen=True, slots=True)
class AnswerExam:
    """The fraction of each prompt's responses whose final answer is an expected one."""

    responses: Path
    prompts: Path
    form: AnswerForm

    def do(self, folder: Path, context: TaskContext) -> None:  # noqa: ARG002
        """Compare the answers.

        Raises:
            BadInputError: a prompt has no well-formed `meta.answer`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        expected: dict[str, set[str]] = {}
        for row in read_rows(self.prompts, Prompt):
            try:
                expected[row.id] = expected_answers(row, self.form)
            except ValueError as error:
                raise BadInputError(f"{self.prompts}: prompt {row.id}: {error}") from None
        right: dict[str, list[float]] = {}
        for row in read_rows(self.responses, Response):
            answer = None if row.finish_reason == "length" else final_answer(row.text, self.form)
            right.setdefault(row.prompt_id, []).append(float(answer in expected[row.prompt_id]))
        write_values(folder, {name: fmean(it) for name, it in right.items()}, prompts=len(right))


@dataclass(frozen=True, slots=True)
class CompareExam:
    """The win rate on each prompt against one opponent, in both orders, ties half."""

    responses: Path
    opponent: Path
    prompts: Path
    judge: str
    models: Path

    def do(self, folder: Path, context: TaskContext) -> None:
        """Ask for the verdicts that are missing."""
        games = play(
            self.responses,
            {"opponent": self.opponent},
            prompts=self.prompts,
            judge=self.judge,
            models=self.models,
            folder=folder,
            context=context,
        )
        scores: dict[str, list[float]] = {}
        for game in games:
            scores.setdefault(game.prompt_id, []).append(GAME_SCORES[game.winner])
        written = {row.prompt_id for row in read_rows(self.responses, Response)}
        write_values(folder, {name: fmean(it) for name, it in scores.items()}, prompts=len(written))


@dataclass(frozen=True, slots=True)
class EloExam:
    """The Elo rating from games against models with fixed ratings."""

    responses: Path
    opponents: Mapping[str, Path]
    """Their responses."""
    ratings: Mapping[str, float]
    prompts: Path
    judge: str
    models: Path

    def do(self, folder: Path, context: TaskContext) -> None:
        """Ask for the verdicts that are missing, and rate."""
        games = play(
            self.responses,
            self.opponents,
            prompts=self.prompts,
            judge=self.judge,
            models=self.models,
            folder=folder,
            context=context,
        )
        write_values(folder, {ALL_PROMPTS: anchored_rating(games, self.ratings)}, prompts=1)


@dataclass(frozen=True, slots=True)
class BenchExam:
    """Each prompt's score in a benchmark."""

    name: str
    data: Path
    writer: Writer
    responses: Path | None
    """Responses that the task of another judge has written; None: `writer` writes them."""
    judge: str | None
    models: Path

    def do(self, folder: Path, context: TaskContext) -> None:
        """Run the benchmark, from where it was interrupted.

        Raises:
            BadInputError: the benchmark has no score for each prompt.
        """
        source: dict[str, Any] = {"responses": [self.responses]}
        if self.responses is None:
            source = {"writer": self.writer.source, "local": self.writer.options, **self.writer.think}
        run_benchmark(
            self.name,
            set_path=self.data,
            out=folder,
            judge=self.judge,
            models=self.models,
            budget=budget_beside(folder / CALLS, context.share),
            progress=context.progress,
            **source,
        )
        if not (folder / SCORES).exists():
            raise BadInputError(f"{self.name}: has no score for each prompt; examine with `elo` or `compare` instead")
        scores = {row.prompt_id: row.score for row in read_rows(folder / SCORES, Grade)}
        write_values(folder, scores, prompts=len(scores))


def anchored_rating(games: Sequence[Game], ratings: Mapping[str, float]) -> float:
    """The Elo rating of the policy from its games against models with fixed ratings, by `rate_arena`.

    A policy that won or lost every game still gets a finite rating, from the prior.
    """
    arena = rate_arena(games, anchors=ratings, resamples=1)
    return next(it.rating.estimate for it in arena.standings if it.model == POLICY)


def play(
    responses: Path,
    opponents: Mapping[str, Path],
    *,
    prompts: Path,
    judge: str,
    models: Path,
    folder: Path,
    context: TaskContext,
) -> list[Game]:
    """Have a judge compare the policy's responses with each opponent's, in both orders, and write the games.

    Raises:
        BadInputError: the judge cannot be asked.
        StoppedError: no game has a verdict.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(read_rows(prompts, Prompt))
    texts = {name: _texts(path) for name, path in {POLICY: responses, **opponents}.items()}
    games: list[Game] = []
    with (
        RecordedCalls(folder / GAMES, models, judge, budget=budget_beside(folder / GAMES, context.share)) as calls,
        context.progress(f"comparing with {judge}") as advance,
    ):

        async def compare() -> None:
            async with calls.endpoint() as endpoint:
                examiner = PairwiseJudge(endpoint, secret=calls.log.secret())
                for number, name in enumerate(opponents):
                    both = [row for row in rows if row.id in texts[POLICY] and row.id in texts[name]]
                    result = await compare_writers(
                        both,
                        texts[POLICY],
                        texts[name],
                        examiner,
                        model_a=POLICY,
                        model_b=name,
                        workers=endpoint.workers,
                        on_progress=lambda done, total, at=number: advance(at * total + done, len(opponents) * total),
                    )
                    games.extend(result.games)

        asyncio.run(compare())
        if not games:
            raise StoppedError(
                f"{folder}: no comparison has a verdict in both orders; {calls.first_failure() or 'see `longform calls`'}"
            )
    write_rows(folder / GAMES, games)
    return games


def write_values(folder: Path, values: Mapping[str, float], *, prompts: int) -> None:
    """Write an examination's values.

    Args:
        folder: Of the examination's task.
        values: By prompt.
        prompts: How many prompts were examined.

    Raises:
        StoppedError: more than half of the prompts have none.
    """
    if len(values) < _MIN_COVERAGE * prompts:
        raise StoppedError(
            f"{folder}: only {len(values)} of {prompts} prompts have a value; run the same command again to retry"
        )
    rows = (MeasuredValue(prompt_id=name, value=value) for name, value in sorted(values.items()))
    write_rows(folder / VALUES, rows)


def read_values(folder: Path) -> dict[str, float]:
    """The values of an examination by prompt."""
    return {row.prompt_id: row.value for row in read_rows(folder / VALUES, MeasuredValue)}


def _texts(responses: Path) -> dict[str, str]:
    """The first text for each prompt."""
    texts: dict[str, str] = {}
    for row in read_rows(responses, Response):
        texts.setdefault(row.prompt_id, row.text)
    return texts
