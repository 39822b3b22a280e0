"""Published scores, from what lies behind them. The data is not part of the project; without it these tests skip."""

import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
from scipy.stats import spearmanr

from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.benchmarks.longform_writing import novella_scores
from longform.judging.rubrics import CHAPTER, METAPHOR, NOVELLA
from longform.records.schemas import Game

DATA = Path(__file__).parents[5] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "longform_scores.jsonl").exists(), reason="../shared/data with the published scores is not there"
)


def _rows(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").split("\n") if line]


def test_a_novella_by_hand():
    """Chapters 80 and (16 + (18/20)^1.7 * 20) / 2 * 5; the whole 50; each piece counts alike."""
    second = (16 + 0.9**1.7 * 20) / 2 * 5
    found = novella_scores([{"Coherent": 16}, {}, {"Coherent": 16, METAPHOR: 2}], [{"Amateurish": 10}])
    assert found.chapters == pytest.approx((80 + second) / 2)
    assert found.final == 50
    assert found.overall == pytest.approx((80 + second + 50) / 3)
    assert novella_scores([{}], []) == (None, None, None)
    assert (len(CHAPTER.criteria), len(NOVELLA.criteria)) == (14, 16)
    assert len({*CHAPTER.criteria, *NOVELLA.criteria}) == 18


@needs_data
def test_published_novella_scores_are_reproduced():
    within = 0
    for row in _rows("longform_scores.jsonl"):
        found = novella_scores(row["chapter_scores"], row["final_scores"])
        pairs = [(found.chapters, row["reported_chapter_avg"]), (found.final, row["reported_final"])]
        known = [(one, other) for one, other in pairs if other is not None]
        within += bool(known) and all(one is not None and abs(one - other) <= 0.06 for one, other in known)
    assert within >= 590


@needs_data
def test_ratings_and_mean_scores_rank_models_alike():
    by_prompt = defaultdict(dict)
    for row in _rows("hellobench_htg_scores.jsonl"):
        by_prompt[row["prompt_id"]][row["model"]] = row["score"]
    games = [
        Game(prompt_id=prompt, model_a=a, model_b=b, winner="tie" if x == y else "a" if x > y else "b")
        for prompt, scores in by_prompt.items()
        for (a, x), (b, y) in combinations(sorted(scores.items()), 2)
    ]
    standings = rate_arena(games, resamples=20).standings
    means = [fmean(scores[it.model] for scores in by_prompt.values() if it.model in scores) for it in standings]
    assert len(standings) == 23
    correlation = spearmanr([it.rating.estimate for it in standings], means)[0]
    assert float(correlation) >= 0.95  # pyright: ignore[reportArgumentType]
