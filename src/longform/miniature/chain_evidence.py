"""Results of the full LongWriter-Zero pipeline: the evidence of RL, an arena of all writers, and the reward models'
agreement with the examiner.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.endpoints.recorded import calls_path
from longform.evaluation.arena.ratings import Standing, rate_arena
from longform.evaluation.head_to_head import compare_writers
from longform.evaluation.reward_model import agreement_with
from longform.judging.pairwise import PairwiseJudge
from longform.miniature.chain import MIN_MARGIN, PRETRAINED, SHARES, WRITING
from longform.miniature.judge import EXAMINER, pointwise_score
from longform.miniature.world import parse_request
from longform.miniature.writers import LEVELS, write_story
from longform.miniature.zero_evidence import ZeroEvidence, gather_evidence, held_out_path
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows, write_rows
from longform.records.progress import Stage
from longform.records.schemas import Game, Preference, Prompt, Response
from longform.rewards.writing_model import WritingModel, mean_scores
from longform.statistics.bootstrap import Interval
from longform.writers.settings import GenerationSettings

GAMES = "games.jsonl"
"""File name of the arena's games, for `longform arena`."""


@dataclass(frozen=True, slots=True)
class ChainEvidence:
    """Results of the trained writer, ratings of all writers, and accuracy of the reward models."""

    learning: ZeroEvidence
    standings: list[Standing]
    """Ratings, best first."""
    agreement: Interval
    """Share of held-out pairs on which the reward models' mean agrees with the examiner, among pairs whose grades differ by
    at least the margin of the training pairs."""
    agreement_on_all: Interval
    """The same among all pairs that the examiner does not call a tie."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary."""
        return self.learning.as_json() | {
            "standings": [asdict(it) for it in self.standings],
            "agreement": self.agreement,
            "agreement_on_all": self.agreement_on_all,
        }


def gather_chain_evidence(
    folder: Path, trained: Path, generation: GenerationSettings, *, seed: int, stage: Stage
) -> ChainEvidence:
    """Have all writers write for the held-out prompts and the examiner compare every pair of writers.

    Args:
        folder: Folder of the quickstart.
        trained: Model folder of the trained writer.
        generation: Generation settings of the trained writer's run.
        seed: Sampling seed.
        stage: Opens a progress stage.
    """
    learning = gather_evidence(folder, trained, generation, seed=seed, stage=stage, others=(PRETRAINED,))
    rows = list(read_rows(folder / "held-out.jsonl", Prompt))
    games = _play(folder, rows, list(learning.writers), stage=stage)
    write_rows(folder / GAMES, games)
    with stage("comparing the reward models with the examiner"):
        scores = partial(mean_scores, [WritingModel(str(folder / name)) for name in WRITING], shares=SHARES)
        clear = agreement_with(scores, examiner_pairs(rows, seed=seed, margin=MIN_MARGIN))
        every = agreement_with(scores, examiner_pairs(rows, seed=seed))
    return ChainEvidence(learning, rate_arena(games).standings, clear, every)


def examiner_pairs(rows: Sequence[Prompt], *, seed: int, margin: float = EXAMINER.tie_band) -> list[Preference]:
    """Pair texts by writers of two random levels, ordered by the examiner, to evaluate a reward model.

    Args:
        rows: Prompts; each gives at most one pair.
        seed: Seed of the choice of writers.
        margin: Minimum grade difference; by default, pairs that the examiner calls a tie are left out.
    """
    result = []
    for row in rows:
        request, stream = parse_request(row.request), random.Random(f"examined/{seed}/{row.id}")
        texts = [
            write_story(request, level=stream.choice(list(LEVELS)), sample=1000 * side + stream.randrange(1000))
            for side in range(2)
        ]
        one, other = (pointwise_score(request, text, EXAMINER) for text in texts)
        if abs(one - other) >= margin:
            chosen, rejected = texts if one > other else reversed(texts)
            result.append(Preference(prompt=row.request, chosen=chosen, rejected=rejected))
    return result


async def play_all(
    rows: Sequence[Prompt], texts: dict[str, dict[str, str]], examiner: Endpoint, *, advance: Any, secret: bytes
) -> list[Game]:
    """Play every writer against every other in both orders; return the games. `examiner` must be open."""
    pairings, games = list(combinations(texts, 2)), []
    for index, (one, other) in enumerate(pairings):
        result = await compare_writers(
            [row for row in rows if row.id in texts[one] and row.id in texts[other]],
            texts[one],
            texts[other],
            PairwiseJudge(examiner, secret=secret),
            model_a=one,
            model_b=other,
            on_progress=lambda done, total, index=index: advance(index * total + done, len(pairings) * total),
        )
        games += result.games
    return games


def _play(folder: Path, rows: Sequence[Prompt], writers: Sequence[str], *, stage: Stage) -> list[Game]:
    texts = {
        name: {row.prompt_id: row.text for row in read_rows(held_out_path(folder, name), Response)} for name in writers
    }
    with SqliteCallLog(calls_path(folder / GAMES)) as log, stage("arena of all writers") as advance:
        examiner = Endpoint("examiner", read_models(folder / "models.yaml")["examiner"], call_log=log)

        async def play() -> list[Game]:
            async with examiner:
                return await play_all(rows, texts, examiner, advance=advance, secret=log.secret())

        return asyncio.run(play())
