"""A comparison as a self-contained HTML file: the tables, then both texts of every prompt.

Texts of models are escaped by the template, and the page forbids scripts. Texts are truncated, with a note, so that the page
stays small enough to open for any number of prompts.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from longform.evaluation.compare.judging import JudgeAnswers
from longform.evaluation.compare.measures import Measure
from longform.evaluation.compare.pairing import PairedPrompt, Pairing
from longform.evaluation.compare.run import Comparison, rank_gains
from longform.evaluation.compare.sides import GradedText
from longform.evaluation.compare.tables import compare_tables
from longform.evaluation.tables import format_table
from longform.records.files import write_text
from longform.records.schemas import Game
from longform.report.rendering import render
from longform.report.rollouts import Segment, ShownCall, calls_by_hash, show_calls
from longform.text.words import count_words_of_any_script

MAX_CHARACTERS = 20_000_000
"""Maximum number of characters of all texts on a page."""
_MAX_TEXT, _MIN_TEXT = 40_000, 200
_OPEN = 3
"""Number of prompts whose texts are expanded initially."""


class ShownText(NamedTuple):
    """A text, possibly truncated."""

    words: int
    grades: dict[str, str]
    text: str
    cut: int
    """Number of characters left out."""


class ShownPrompt(NamedTuple):
    """A prompt with both texts."""

    id: str
    gain: str
    """B's gain in the first measure; empty if unknown."""
    group: str | None
    request: str
    pairs: list[tuple[ShownText | None, ShownText | None]]
    verdicts: list[str]
    calls: list[ShownCall]
    """What the judges answered."""
    is_open: bool


def write_compare_page(
    path: Path,
    comparison: Comparison,
    pairing: Pairing,
    measures: Sequence[Measure],
    answers: Sequence[JudgeAnswers] = (),
    *,
    log: Path | None = None,
) -> None:
    """Write the page of a comparison atomically; the prompt with B's largest gain comes first.

    Args:
        path: Of the page.
        comparison, pairing, measures: What was compared.
        answers: Verdicts of judges.
        log: File of their games, beside which their calls are recorded.

    Raises:
        BadInputError: the file cannot be written, or the log is damaged.
    """
    measure = measures[0]
    ranked = rank_gains(pairing, measure)
    gains = {it.prompt.id: f"{it.gain:+.{measure.digits}f}" for it in ranked}
    ordered = [it.prompt for it in ranked] + [it for it in pairing.prompts if it.id not in gains]
    most = most_of_a_text(pairing)
    verdicts, calls = _verdicts(answers), _calls(answers, log, most)
    content = {
        "a": comparison.a,
        "b": comparison.b,
        "facts": {
            "prompts": str(comparison.prompts),
            f"only in {comparison.a}": str(comparison.only_a),
            f"only in {comparison.b}": str(comparison.only_b),
        },
        "tables": [format_table(it) for it in compare_tables(comparison)],
        "measure": measure.name,
        "most": most,
        "prompts": [
            _shown_prompt(it, gains.get(it.id, ""), most, is_open=index < _OPEN)._replace(
                verdicts=verdicts.get(it.id, []), calls=calls.get(it.id, [])
            )
            for index, it in enumerate(ordered)
        ],
    }
    write_text(path, render("compare.html.j2", content))


def most_of_a_text(pairing: Pairing) -> int:
    """Return the maximum number of characters of each text."""
    texts = sum(len(it.a) + len(it.b) + 1 for it in pairing.prompts)
    return max(_MIN_TEXT, min(_MAX_TEXT, MAX_CHARACTERS // texts))


def _shown_prompt(it: PairedPrompt, gain: str, most: int, *, is_open: bool) -> ShownPrompt:
    def shown(written: GradedText | None) -> ShownText | None:
        if written is None:
            return None
        grades = {judge: f"{score:.2f}" for judge, score in written.grades.items()}
        cut = max(0, len(written.text) - most)
        return ShownText(count_words_of_any_script(written.text), grades, written.text[:most], cut)

    pairs = [(shown(a), shown(b)) for a, b in zip_longest(it.a, it.b)]
    request = "" if it.prompt is None else it.prompt.request
    cut = " …" if len(request) > most else ""
    return ShownPrompt(it.id, gain, it.group, request[:most] + cut, pairs, [], [], is_open)


def _calls(answers: Sequence[JudgeAnswers], log: Path | None, most: int) -> dict[str, list[ShownCall]]:
    """The recorded answers behind each verdict, by prompt id, without thoughts; answers are as long as texts at most."""
    if log is None:
        return {}
    games = [game for it in answers for game in it.games]
    recorded = calls_by_hash(log, [hash_ for game in games for hash_ in game.calls or ()])
    shown: dict[str, list[ShownCall]] = {}
    for game in games:
        for call in show_calls(game.calls or (), recorded):
            if sum(len(it.text) for it in call.answer) > most:
                call = call._replace(answer=[Segment("".join(it.text for it in call.answer)[:most] + " …")])
            question = f"{_first(game)} shown first"
            shown.setdefault(game.prompt_id, []).append(call._replace(question=question, thoughts=""))
    return shown


def _verdicts(answers: Sequence[JudgeAnswers]) -> dict[str, list[str]]:
    """Describe each judge's verdicts on each pair, by prompt id."""
    by_prompt: dict[str, dict[tuple[str, int], list[str]]] = {}
    for it in answers:
        for game in it.games:
            of_prompt = by_prompt.setdefault(game.prompt_id, {})
            of_prompt.setdefault((it.judge, game.sample or 0), []).append(_said(game))
    return {
        id_: [
            f"{judge}{f', pair {index + 1}' if index else ''}: {'; '.join(outcomes)}"
            for (judge, index), outcomes in by_pair.items()
        ]
        for id_, by_pair in by_prompt.items()
    }


def _said(game: Game) -> str:
    outcome = {"a": f"{game.model_a} wins", "b": f"{game.model_b} wins", "tie": "a tie"}[game.winner]
    return f"{outcome} with {_first(game)} shown first"


def _first(game: Game) -> str:
    return game.model_a if game.order == "ab" else game.model_b
