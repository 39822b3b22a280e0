"""Verdicts and grades of judges in a comparison: games in OUT, grades next to it.

Equal texts tie, and an empty text loses to a non-empty one, in both orders and without a call. As in training, an empty text
gets the lowest grade.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.errors import describe_causes
from longform.endpoints.models import find_model, read_models
from longform.endpoints.recorded import RecordedCalls
from longform.evaluation.compare.pairing import PairedPrompt, Pairing, grade_rows
from longform.evaluation.head_to_head import compare_writers
from longform.judging.answers import MIN_SCORE
from longform.judging.pairwise import PairwiseJudge, split_pairs
from longform.judging.pointwise import PointwiseJudge
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.schemas import ORDERS, Game, Grade, PromptRow, Winner
from longform.text.words import count_words_of_any_script

GradeKey = tuple[str, str, int]
"""(prompt id, side "a" or "b", index of the sample)."""


@dataclass(slots=True)
class JudgeAnswers:
    """The answers of one judge."""

    judge: str
    games: list[Game] = field(default_factory=list)
    """All verdicts; those without the other order do not enter win rates."""
    no_verdict: Counter[str] = field(default_factory=Counter)
    """Missing verdicts by cause."""
    grades: dict[GradeKey, float] = field(default_factory=dict)
    no_grade: Counter[str] = field(default_factory=Counter)


def ask_judges(
    pairing: Pairing,
    judges: Sequence[str],
    models: Path,
    out: Path,
    *,
    with_grades: bool,
    budget: float | None,
    progress: ProgressDisplay = no_progress,
) -> tuple[list[JudgeAnswers], dict[str, str]]:
    """Query the judges; games are written to `out`, grades to `grades_path(out)`.

    Rows of other judges in these files are kept. Verdicts without the other order are only kept in the log of calls.

    Returns:
        The answers, and costs and paths for display.

    Raises:
        BadInputError: a judge cannot be queried, or a file contains something else.
        StoppedError: the budget is exhausted, or a judge gave no verdict.
    """
    _check_judges(judges, models)
    for name in judges:  # check all judges before the first call
        RecordedCalls(out, models, name, budget=budget).log.close()
    games = _games_of_others(out, pairing, judges)
    grades = _grades_of_others(grades_path(out), pairing, judges) if with_grades else []
    answers, cost = [JudgeAnswers(name) for name in judges], ""
    for it in answers:
        with RecordedCalls(out, models, it.judge, budget=budget) as calls:
            asyncio.run(_ask(calls, pairing, it, with_grades=with_grades, progress=progress))
            cost = calls.cost()
        complete, _ = split_pairs(it.games)
        if not complete:
            raise StoppedError(
                f"{out}: no pair of texts with a verdict of {it.judge} in both orders ({describe_causes(it.no_verdict)}); "
                "run the same command again to retry failed calls"
            )
        games += complete
    write_rows(out, games)
    paid = {"cost": cost, "path": str(out)}
    if with_grades and (rows := grade_rows(pairing.with_grades(merge_grades(answers)), judges)):
        paid["grades"] = str(grades_path(out))
        write_rows(grades_path(out), [*grades, *rows])
    return answers, paid


def grades_path(out: Path) -> Path:
    """Return the grades file that belongs to the games in `out`."""
    return out.with_name(f"{out.stem}.grades.jsonl")


async def _ask(
    calls: RecordedCalls, pairing: Pairing, answers: JudgeAnswers, *, with_grades: bool, progress: ProgressDisplay
) -> None:
    """Add the verdicts and grades of one judge to `answers`."""
    async with calls.endpoint() as endpoint:
        secret, workers = calls.log.secret(), endpoint.workers
        with progress(f"judging with {answers.judge}") as advance:
            await judge_pairs(
                pairing,
                PairwiseJudge(endpoint, secret=secret),
                answers,
                workers=workers,
                on_progress=advance,
            )
        if with_grades:
            grader = PointwiseJudge(endpoint, secret=secret)
            with progress(f"grading with {answers.judge}") as advance:
                await grade_texts(pairing, grader, answers, workers=workers, on_progress=advance)


def _games_of_others(out: Path, pairing: Pairing, judges: Sequence[str]) -> list[Game]:
    """Return other judges' games in `out`; refuse to overwrite a file of anything else."""
    games = list(read_rows(out, Game)) if out.exists() else []
    for game in games:
        if {game.model_a, game.model_b} != {pairing.a, pairing.b}:
            raise BadInputError(f"--out: {out} has games of {game.model_a!r} and {game.model_b!r}; choose another file")
    return [game for game in games if game.judge not in judges]


def _grades_of_others(path: Path, pairing: Pairing, judges: Sequence[str]) -> list[Grade]:
    """Return other judges' grades in `path`; refuse to overwrite a file of anything else."""
    grades = list(read_rows(path, Grade)) if path.exists() else []
    for grade in grades:
        if grade.model not in (pairing.a, pairing.b):
            raise BadInputError(f"--grade: {path} has grades of {grade.model!r}; choose another --out")
    return [grade for grade in grades if grade.judge not in judges]


def _check_judges(judges: Sequence[str], models: Path) -> None:
    """Refuse a model under two names, because it would count as two judges."""
    specs, seen = read_models(models), {}
    for name in judges:
        spec = find_model(specs, name, path=models)
        same = seen.setdefault((spec.base_url, spec.model), name)
        if same != name:
            raise BadInputError(f"--judge: in {models}, {same!r} and {name!r} resolve to the same model")


async def judge_pairs(
    pairing: Pairing,
    examiner: PairwiseJudge,
    answers: JudgeAnswers,
    *,
    workers: int,
    on_progress: Progress,
) -> None:
    """Add the games of all pairs of texts to `answers`, two per pair; second samples follow first ones.

    Raises:
        BadInputError: the endpoint is misconfigured.
        StoppedError: the budget is exhausted.
    """
    names = {"model_a": pairing.a, "model_b": pairing.b}
    total, done = sum(2 * len(it.pairs) for it in pairing.prompts), 0
    for index in range(max(len(it.pairs) for it in pairing.prompts)):
        of_index = [it for it in pairing.prompts if index < len(it.pairs)]
        settled: dict[str, Winner] = {it.id: winner for it in of_index if (winner := _settle(it, index)) is not None}
        asked = [it for it in of_index if it.id not in settled]

        def advance(now: int, _: int, before: int = done + 2 * len(settled)) -> None:
            on_progress(before + now, total)

        played = await compare_writers(
            [_prompt(it) for it in asked],
            {it.id: it.a[index].text for it in asked},
            {it.id: it.b[index].text for it in asked},
            examiner,
            **names,
            workers=workers,
            on_progress=advance,
        )
        done += 2 * len(of_index)
        answers.no_verdict += played.no_verdict
        by_prompt: dict[str, list[Game]] = {}
        for game in (*played.games, *played.alone):
            by_prompt.setdefault(game.prompt_id, []).append(game)
        for id_, winner in settled.items():
            by_prompt[id_] = _without_call(id_, winner, answers.judge, names)
        answers.games += [_with_texts(game, it, index) for it in of_index for game in by_prompt.get(it.id, ())]


async def grade_texts(
    pairing: Pairing, judge: PointwiseJudge, answers: JudgeAnswers, *, workers: int, on_progress: Progress
) -> None:
    """Add the judge's missing grades of all texts to `answers`.

    Raises:
        BadInputError: the endpoint is misconfigured.
        StoppedError: the budget is exhausted.
    """
    missing = [
        (prompt, (prompt.id, side, index), written.text)
        for prompt in pairing.prompts
        for side, texts in (("a", prompt.a), ("b", prompt.b))
        for index, written in enumerate(texts)
        if answers.judge not in written.grades
    ]

    async def work(item: tuple[PairedPrompt, GradeKey, str]) -> None:
        prompt, key, text = item
        if not text.strip():
            answers.grades[key] = MIN_SCORE
        else:
            graded = await judge.grade(_prompt(prompt), text)
            if graded.value is None:
                answers.no_grade[str(graded.cause)] += 1
            else:
                answers.grades[key] = graded.value.score
        on_progress(len(answers.grades) + answers.no_grade.total(), len(missing))

    await map_bounded(missing, work, workers=workers)


def merge_grades(answers: Sequence[JudgeAnswers]) -> dict[GradeKey, dict[str, float]]:
    """Merge the grades of all judges by text."""
    grades: dict[GradeKey, dict[str, float]] = {}
    for it in answers:
        for key, score in it.grades.items():
            grades.setdefault(key, {})[it.judge] = score
    return grades


def was_asked(game: Game) -> bool:
    """Whether the game was decided by a call; False if the texts are equal or one is empty."""
    return not (game.model_extra or {}).get("without_call", False)


def _settle(it: PairedPrompt, index: int) -> Winner | None:
    """Decide a pair without the judge; None if it needs a call."""
    a, b = it.a[index].text.strip(), it.b[index].text.strip()
    if a == b:
        return "tie"
    return None if a and b else "a" if a else "b"


def _without_call(id_: str, winner: Winner, judge: str, names: Mapping[str, str]) -> list[Game]:
    fields = {"prompt_id": id_, "winner": winner, "judge": judge, "without_call": True, **names}
    return [Game.model_validate({**fields, "order": order}) for order in ORDERS]


def _with_texts(game: Game, it: PairedPrompt, index: int) -> Game:
    """Add sample numbers and word counts to a game."""
    a, b = it.a[index].text, it.b[index].text
    return game.model_copy(
        update={"sample": index, "words_a": count_words_of_any_script(a), "words_b": count_words_of_any_script(b)}
    )


def _prompt(it: PairedPrompt) -> PromptRow:
    assert it.prompt is not None, "checked before a judge is asked"
    return it.prompt
