"""What `longform compare` asks of judges: their games in OUT, their grades beside it, and what other judges left there."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longform.cli.calls import RecordedCalls
from longform.cli.output import progress
from longform.endpoints.models import find_model, read_models
from longform.evaluation.compare.judging import JudgeAnswers, collect_grades, grade_texts, judge_pairs
from longform.evaluation.compare.pairing import Pairing, grade_rows
from longform.evaluation.head_to_head import split_pairs
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import PointwiseJudge
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Game, Grade


def ask_judges(
    pairing: Pairing,
    judges: Sequence[str],
    models: Path,
    out: Path,
    *,
    with_grades: bool,
    budget: float | None,
) -> tuple[list[JudgeAnswers], dict[str, Any]]:
    """What the judges say, and the cost and files of it; games go to `out`, grades to `grades_beside(out)`.

    What other judges have in these files stays there. A verdict without its other order stays in the log of calls alone.

    Raises:
        BadInputError: a judge cannot be asked, or a file holds something else.
        StoppedError: the budget is spent, or a judge gave no verdict.
    """
    _check_judges(judges, models)
    for name in judges:  # all of them are checked before the first call is paid
        RecordedCalls(out, models, name, budget=budget).log.close()
    games = _games_of_others(out, pairing, judges)
    grades = _grades_of_others(grades_beside(out), pairing, judges) if with_grades else []
    answers, cost = [JudgeAnswers(name) for name in judges], ""
    for it in answers:
        with RecordedCalls(out, models, it.judge, budget=budget) as calls:
            asyncio.run(_ask(calls, pairing, it, with_grades=with_grades))
            cost = calls.cost()
        whole, _ = split_pairs(it.games)
        if not whole:
            causes = ", ".join(f"{cause} {count}" for cause, count in it.no_verdict.most_common())
            raise StoppedError(
                f"{out}: no pair of texts with a verdict of {it.judge} in both orders ({causes}); the same command tries "
                f"failed calls again"
            )
        games += whole
    write_rows(out, games)
    paid = {"cost": cost, "path": str(out)}
    if with_grades and (rows := grade_rows(pairing.with_grades(collect_grades(answers)), judges)):
        paid["grades"] = str(grades_beside(out))
        write_rows(grades_beside(out), [*grades, *rows])
    return answers, paid


def grades_beside(out: Path) -> Path:
    """Where grades stand, when games stand in `out`."""
    return out.with_name(f"{out.stem}.grades.jsonl")


async def _ask(calls: RecordedCalls, pairing: Pairing, answers: JudgeAnswers, *, with_grades: bool) -> None:
    """Add what one judge says to `answers`."""
    async with calls.endpoint() as endpoint:
        secret, workers = calls.log.secret(), endpoint.spec.concurrency
        with progress(f"judging with {answers.judge}") as advance:
            await judge_pairs(
                pairing,
                lambda position: PairwiseJudge(endpoint, position=position, secret=secret),
                answers,
                workers=workers,
                on_progress=advance,
            )
        if with_grades:
            grader = PointwiseJudge(endpoint, secret=secret)
            with progress(f"grading with {answers.judge}") as advance:
                await grade_texts(pairing, grader, answers, workers=workers, on_progress=advance)


def _games_of_others(out: Path, pairing: Pairing, judges: Sequence[str]) -> list[Game]:
    """The games in `out` that other judges decided before; a file of anything else is not written over."""
    games = list(read_rows(out, Game)) if out.exists() else []
    for game in games:
        if {game.model_a, game.model_b} != {pairing.a, pairing.b}:
            raise BadInputError(f"--out: {out} holds games of {game.model_a!r} and {game.model_b!r}; name another file")
    return [game for game in games if game.judge not in judges]


def _grades_of_others(path: Path, pairing: Pairing, judges: Sequence[str]) -> list[Grade]:
    """The grades in `path` that other judges gave before; a file of anything else is not written over."""
    grades = list(read_rows(path, Grade)) if path.exists() else []
    for grade in grades:
        if grade.model not in (pairing.a, pairing.b):
            raise BadInputError(f"--grade: {path} holds grades of {grade.model!r}; name another --out")
    return [grade for grade in grades if grade.judge not in judges]


def _check_judges(judges: Sequence[str], models: Path) -> None:
    """One model under two names is one judge."""
    specs, seen = read_models(models), {}
    for name in judges:
        spec = find_model(specs, name, path=models)
        same = seen.setdefault((spec.base_url, spec.model), name)
        if same != name:
            raise BadInputError(f"--judge: {models} means the same model by {same!r} and {name!r}")
