"""Arena-Write (LongWriter-Zero, arXiv 2506.18841): responses against the baseline responses of the set, in both orders.

The paper does not name its judge, baselines or Elo constants. Here each order is a separate game, ties count half, and
ratings are Bradley-Terry on the Elo scale over models and baselines together; `longform arena` can fix the ratings of
any of them.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from pydantic import Field

from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.arena.tables import meeting_table, meetings, rating_tables
from longform.evaluation.benchmarks.benchmark import About, Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.tables import Table
from longform.judging.answers import parse_structured_verdict, parse_verdict
from longform.judging.pairwise import ask_pairwise, in_order, split_pairs, verdict_shape, winner_of
from longform.records.errors import BadInputError
from longform.records.schemas import GAME_SCORES, ORDERS, Game, Order, PromptRow, Response
from longform.text.words import count_words_of_any_script

BASELINE = "baseline"
"""Model name of a baseline response without one; numbered if a task has several."""
_FILE = (
    "https://huggingface.co/datasets/THU-KEG/Arena-Write/resolve/refs%2Fconvert%2Fparquet/default/train/0000.parquet"
)


class Task(PromptRow):
    """A request with baseline responses by model."""

    type: str
    length: int | None = Field(default=None, ge=1)
    baselines: dict[str, str]


class Match(NamedTuple):
    """A response and a baseline in one order; in `ab`, the response is first."""

    task: Task
    response: Response
    baseline: str
    order: Order

    @property
    def about(self) -> About:
        """Key of the verdict."""
        return self.response.prompt_id, self.response.model, str(self.response.sample), self.baseline, self.order


class ArenaWrite(Benchmark[Task]):
    """Ratings, and win rates against each baseline and by type."""

    card = BenchmarkCard(
        name="arena-write",
        measures="Real requests: win rates and ratings against baseline responses.",
        home="https://huggingface.co/datasets/THU-KEG/Arena-Write",
        licence="Apache-2.0",
        files={"arena_write.parquet": _FILE},
        fields=frozenset({"idx", "question", "type", "length", "baseline_response"}),
        writing=SamplingSettings(max_tokens=32_768, temperature=0.6, top_p=0.95),
        judging=JudgeSettings(max_tokens=1024, temperature=0.1, retries=1, slots=("request", "text_a", "text_b")),
        deviations=(
            "The published judge, its prompt, the Elo constants and the sampling settings are unknown. The judge gets "
            "longform's own prompt, the same as the pairwise reward.",
            "Ratings are Bradley-Terry on the Elo scale with ties half, averaging 1000 over models and baselines; the order "
            "of games does not matter, and intervals are a bootstrap over tasks.",
            "Baselines are not compared with each other; their ratings come from their games against the models.",
            "An empty response loses to any baseline without a judge call.",
            "A pair with a verdict in only one order is left out and counted.",
            "The data is the hub's automatic conversion to Parquet at an address inferred from the hub's naming "
            "scheme, because the name of the published JSON file is unknown. A file downloaded by hand works with "
            "--set FILE (.json, .jsonl, .parquet).",
            "baseline_response may be a text, a list of texts, or texts by model; empty ones are skipped.",
        ),
    )
    schema = Task

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the fields of a task; its id is `idx`."""
        return {
            "id": str(row["idx"]),
            "prompt": row["question"],
            "type": row["type"],
            "length": row["length"] or None,
            "baselines": _name_baselines(row["baseline_response"]),
        }

    def questions(self, material: Material[Task], answers: Answers, wording: JudgePrompt) -> Iterable[JudgeQuestion]:  # noqa: ARG002
        """Return two questions for each non-empty response and each baseline."""
        _check_names(material)
        for match in _matches(material):
            if match.response.text.strip():
                asked = partial(_ask, match, wording)
                yield JudgeQuestion(match.about, asked, parse_verdict, shape=verdict_shape(parse_structured_verdict))

    def games(self, material: Material[Task], answers: Answers) -> list[Game]:
        """Return two games per response and baseline with verdicts in both orders; model_a is the response's model."""
        return _play(material, answers).games

    def tables(self, material: Material[Task], answers: Answers) -> list[Table]:
        """Return win rates of the models, ratings with the baselines, and win rates by baseline, type and pair."""
        games, alone = _play(material, answers)
        scored = [
            ScoredItem(
                game.model_a,
                game.prompt_id,
                {"win rate": 100 * GAME_SCORES[game.winner]},
                {"baseline": game.model_b, "type": material.items[game.prompt_id].type},
            )
            for game in games
        ]
        empty = sum(not text.strip() for task in material.items.values() for text in task.baselines.values())
        notes = ["win rate in percent, ties half; n: games (two orders each)"]
        notes += [f"skipped: {empty} empty baseline responses"] if empty else []
        notes += [f"left out: {alone} pairs with a verdict in only one order"] if alone else []
        measures = [TableMeasure("win rate", 1)]
        tables = [
            tabulate("Arena-Write", scored, measures, notes=notes),
            tabulate("By baseline", scored, measures, by="baseline"),
            tabulate("By type", scored, measures, by="type"),
        ]
        if games:
            arena = rate_arena(games)
            ranked = [standing.model for standing in arena.standings]
            tables[1:1] = rating_tables(arena, "Ratings with the baselines")
            tables.append(meeting_table(meetings(games), ranked))
        return tables


def _name_baselines(given: Any) -> dict[str, str]:
    """Return the baseline responses by model."""
    if isinstance(given, str):
        return {BASELINE: given}
    if isinstance(given, list):
        given = {f"{BASELINE}-{number}": text for number, text in enumerate(given, 1)}
    if not isinstance(given, dict) or not given:
        raise TypeError("baseline_response: expected a text, a list of texts or texts by model")
    texts = {str(name): text for name, text in given.items() if text is not None}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"baseline_response: {name}: not a text")
    return texts


def _check_names(material: Material[Task]) -> None:
    baselines = {name for task in material.items.values() for name, text in task.baselines.items() if text.strip()}
    if not baselines:
        raise BadInputError("arena-write: no task has a non-empty baseline response")
    if both := sorted({response.model for response in material.responses} & baselines):
        raise BadInputError(f"responses: model {both[0]!r} has the same name as a baseline; rename one of them")


def _matches(material: Material[Task]) -> Iterator[Match]:
    for response in material.responses:
        task = material.items[response.prompt_id]
        for baseline, text in task.baselines.items():
            if text.strip():
                for order in ORDERS:
                    yield Match(task, response, baseline, order)


def _ask(match: Match, wording: JudgePrompt) -> str:
    first, second = in_order(match.response.text, match.task.baselines[match.baseline], match.order)
    if wording.template is not None:
        return wording.template.fill(request=match.task.request, text_a=first, text_b=second)
    return ask_pairwise(match.task, text_a=first, text_b=second, tag=wording.tag(match.task.id))


class _Played(NamedTuple):
    """Games judged in both orders."""

    games: list[Game]
    alone: int
    """Number of verdicts without the other order, which are left out."""


def _play(material: Material[Task], answers: Answers) -> _Played:
    games = [game for match in _matches(material) if (game := _decide(match, answers)) is not None]
    complete, single = split_pairs(games)
    return _Played(complete, len(single))


def _decide(match: Match, answers: Answers) -> Game | None:
    """Return the game of one order; None if its verdict is missing."""
    text, baseline = match.response.text, match.task.baselines[match.baseline]
    verdict = answers.values.get(match.about)
    if not text.strip():
        winner = "b"
    elif verdict is None:
        return None
    else:
        winner = winner_of(verdict, match.order)
    return Game.model_validate(
        {
            "prompt_id": match.task.id,
            "model_a": match.response.model,
            "model_b": match.baseline,
            "winner": winner,
            "order": match.order,
            "sample": match.response.sample,
            "words_a": count_words_of_any_script(text),
            "words_b": count_words_of_any_script(baseline),
        }
    )
