"""Asking a judge about a comparison: who wins each pair, in both orders, and what each text is worth by itself.

Two equal texts are a tie and an empty text loses to one that is not empty, in both orders and without a call: there is
nothing to be judged. An empty text gets the lowest grade, as in training.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from longform.evaluation.compare.pairing import PairedPrompt, Pairing
from longform.judging.answers import LOWEST_SCORE
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import PointwiseJudge
from longform.records.schemas import Game, PromptRow, Winner
from longform.selection.gathering import for_each
from longform.text.words import count_words

Progress = Callable[[int, int], None]
GradeKey = tuple[str, str, int]
"""Prompt id, side ("a" or "b"), place among the side's samples."""


@dataclass(slots=True)
class JudgeAnswers:
    """What one judge made of the texts."""

    judge: str
    games: list[Game] = field(default_factory=list)
    """All verdicts; those without their other order are in no win rate."""
    no_verdict: Counter[str] = field(default_factory=Counter)
    """Comparisons without one, by cause."""
    grades: dict[GradeKey, float] = field(default_factory=dict)
    no_grade: Counter[str] = field(default_factory=Counter)


async def judge_pairs(
    pairing: Pairing,
    examiner: Callable[[Literal["first", "second"]], PairwiseJudge],
    answers: JudgeAnswers,
    *,
    workers: int,
    on_progress: Progress,
) -> None:
    """Add the games of all pairs of texts, two for each, to `answers`; those of second samples after those of first ones.

    Raises:
        BadInputError: the endpoint needs mending.
        StoppedError: the budget is spent.
    """
    from longform.evaluation.head_to_head import compare_writers  # the arena behind it takes half of the start

    names = {"model_a": pairing.a, "model_b": pairing.b}
    total, done = sum(2 * len(it.pairs) for it in pairing.prompts), 0
    for place in range(max(len(it.pairs) for it in pairing.prompts)):
        here = [it for it in pairing.prompts if place < len(it.pairs)]
        settled: dict[str, Winner] = {it.id: winner for it in here if (winner := _settle(it, place)) is not None}
        asked = [it for it in here if it.id not in settled]

        def advance(now: int, _: int, before: int = done + 2 * len(settled)) -> None:
            on_progress(before + now, total)

        played = await compare_writers(
            [_prompt(it) for it in asked],
            {it.id: it.a[place].text for it in asked},
            {it.id: it.b[place].text for it in asked},
            examiner,
            **names,
            workers=workers,
            on_progress=advance,
        )
        done += 2 * len(here)
        answers.no_verdict += played.no_verdict
        by_prompt: dict[str, list[Game]] = {}
        for game in (*played.games, *played.alone):
            by_prompt.setdefault(game.prompt_id, []).append(game)
        for id_, winner in settled.items():
            by_prompt[id_] = _without_call(id_, winner, answers.judge, names)
        answers.games += [_with_texts(game, it, place) for it in here for game in by_prompt.get(it.id, ())]


async def grade_texts(
    pairing: Pairing, judge: PointwiseJudge, answers: JudgeAnswers, *, workers: int, on_progress: Progress
) -> None:
    """Add the judge's grades of all texts that it has not graded yet to `answers`.

    Raises:
        BadInputError: the endpoint needs mending.
        StoppedError: the budget is spent.
    """
    missing = [
        (prompt, (prompt.id, side, place), written.text)
        for prompt in pairing.prompts
        for side, texts in (("a", prompt.a), ("b", prompt.b))
        for place, written in enumerate(texts)
        if answers.judge not in written.grades
    ]

    async def work(item: tuple[PairedPrompt, GradeKey, str]) -> None:
        prompt, key, text = item
        if not text.strip():
            answers.grades[key] = LOWEST_SCORE
        else:
            graded = await judge.grade(_prompt(prompt), text)
            if graded.score is None:
                answers.no_grade[str(graded.cause)] += 1
            else:
                answers.grades[key] = graded.score
        on_progress(len(answers.grades) + answers.no_grade.total(), len(missing))

    await for_each(missing, work, workers=workers)


def collect_grades(answers: Sequence[JudgeAnswers]) -> dict[GradeKey, dict[str, float]]:
    """The grades of all judges, text by text."""
    found: dict[GradeKey, dict[str, float]] = {}
    for it in answers:
        for key, score in it.grades.items():
            found.setdefault(key, {})[it.judge] = score
    return found


def was_asked(game: Game) -> bool:
    """Whether the judge decided the game; False where the texts are equal or one is empty."""
    return not (game.model_extra or {}).get("without_call", False)


def _settle(it: PairedPrompt, place: int) -> Winner | None:
    """Who wins a pair that needs no judge; None for one that does."""
    a, b = it.a[place].text.strip(), it.b[place].text.strip()
    if a == b:
        return "tie"
    return None if a and b else "a" if a else "b"


def _without_call(id_: str, winner: Winner, judge: str, names: Mapping[str, str]) -> list[Game]:
    fields = {"prompt_id": id_, "winner": winner, "judge": judge, "without_call": True, **names}
    return [Game.model_validate({**fields, "order": order}) for order in ("ab", "ba")]


def _with_texts(game: Game, it: PairedPrompt, place: int) -> Game:
    """The game with which texts it was about, and how long they are."""
    a, b = it.a[place].text, it.b[place].text
    return game.model_copy(update={"sample": place, "words_a": count_words(a), "words_b": count_words(b)})


def _prompt(it: PairedPrompt) -> PromptRow:
    assert it.prompt is not None, "checked before a judge is asked"
    return it.prompt
