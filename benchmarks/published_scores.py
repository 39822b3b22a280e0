"""Scores that others published, computed anew from what lies behind them.

    python benchmarks/published_scores.py --data ../shared/data

longform-writing-bench: the chapter average and the final score of each novella from its scores by criterion; published with
one digit, so within 0.06 is the same. HelloBench: a game for each prompt and two models whose checklist scores differ or
tie; the ratings of the arena and the mean scores should rank the models alike. Exits with 1 where a bar is missed.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from longform.cli.output import print_table
from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.benchmarks.longform_writing import novella_scores
from longform.records.schemas import Game

WITHIN = 0.06
LEAST_ROWS = 590
LEAST_CORRELATION = 0.95


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    correlation = show_arena(_rows(data / "hellobench_htg_scores.jsonl"))
    rows = show_novellas(_rows(data / "longform_scores.jsonl"))
    if rows < LEAST_ROWS or correlation < LEAST_CORRELATION:
        sys.exit(1)


def show_novellas(rows: list[dict[str, Any]]) -> int:
    """Print how many published scores are reproduced; returns the rows of which all are."""
    published = [row for row in rows if row["reported_chapter_avg"] is not None]
    scores = [novella_scores(row["chapter_scores"], row["final_scores"]) for row in published]
    chapters = [_is_near(it.chapters, row["reported_chapter_avg"]) for it, row in zip(scores, published, strict=True)]
    finals = [_is_near(it.final, row["reported_final"]) for it, row in zip(scores, published, strict=True)]
    both = sum(chapter and final for chapter, final in zip(chapters, finals, strict=True))
    counts = [("chapter average", sum(chapters)), ("final score", sum(finals)), ("both", both)]
    of = str(len(published))
    print_table(
        f"longform-writing-bench: rows within {WITHIN}",
        ["score", "rows", "of"],
        [[name, str(count), of] for name, count in counts],
    )
    return both


def show_arena(rows: list[dict[str, Any]]) -> float:
    """Print models by rating and by mean score; returns the rank correlation of the two."""
    by_prompt: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        by_prompt[row["prompt_id"]][row["model"]] = row["score"]
    games = games_from_scores(by_prompt)
    standings = rate_arena(games).standings
    means = {
        it.model: fmean(scores[it.model] for scores in by_prompt.values() if it.model in scores) for it in standings
    }
    found = spearmanr([it.rating.estimate for it in standings], [means[it.model] for it in standings])
    correlation = float(found[0])  # pyright: ignore[reportArgumentType]
    print_table(
        f"HelloBench: {len(games)} games, Spearman of rating and mean score {correlation:.4f}",
        ["model", "rating", "low", "high", "mean score"],
        [[it.model, *(f"{bound:.0f}" for bound in it.rating), f"{means[it.model]:.3f}"] for it in standings],
    )
    return correlation


def games_from_scores(by_prompt: Mapping[str, Mapping[str, float]]) -> list[Game]:
    """A game for each prompt and two models: the higher score wins."""
    games = []
    for prompt, scores in by_prompt.items():
        for a, b in combinations(sorted(scores), 2):
            winner = "tie" if scores[a] == scores[b] else "a" if scores[a] > scores[b] else "b"
            games.append(Game(prompt_id=prompt, model_a=a, model_b=b, winner=winner))
    return games


def _is_near(found: float | None, published: float | None) -> bool:
    if found is None or published is None:
        return found is published
    return abs(found - published) <= WITHIN


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


if __name__ == "__main__":
    main()
