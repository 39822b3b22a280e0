"""How real judges err, from the scores in a folder, and how the judge styles of the miniature do.

    python benchmarks/judge_calibration.py --data ../shared/data [--seeds 4]

GPT-4o's checklist scores of HelloBench give the share of the variance that belongs to the prompt, the share of equal scores
and the range; scores run from 0 to 1 there and are shown on the scale from 1 to 10. Texts of WritingPreferenceBench that two
people scored give the correlation of one score with another. The accuracy in pairs is LitBench's (arXiv 2507.00769): the
best zero-shot judge on pairs of stories that people compared. It is not computed from the folder. For a normal error an
accuracy of p in pairs corresponds to a correlation of sin(pi (p - 1/2)).
"""

import argparse
import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from longform.cli.output import print_table
from longform.miniature.calibration import TARGETS, CalibrationFigures, equal_scores, prompt_share
from longform.miniature.judge import JUDGES
from longform.miniature.study_world import WorldSettings, examine_world

_FIGURES = CalibrationFigures._fields


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4, help="worlds of the miniature to average over")
    options = parser.parse_args()
    real = real_figures(options.data)
    rows = [["real scores", *_shown(real)], ["targets in the package", *_shown(TARGETS)]]
    for kinds in (False, True):
        for style in JUDGES:
            world = WorldSettings.model_validate({"kinds": kinds, "judge": style})
            means = np.mean([examine_world(world, seed=seed).judge for seed in range(1, options.seeds + 1)], axis=0)
            rows.append([f"{style}, {'kinds' if kinds else 'plain'}", *_shown(CalibrationFigures(*means.tolist()))])
    print_table("Figures of judges", ["scores of", *(name.replace("_", " ") for name in _FIGURES)], rows)


def real_figures(data: Path) -> CalibrationFigures:
    """Figures of the real scores, and further ones, printed."""
    scores = _matrix(_rows(data / "hellobench_htg_scores.jsonl"))
    items = Counter(it for row in _rows(data / "hellobench_htg_scores.jsonl") for it in row["checklist_scores"])
    steps = sum(count for item, count in items.items() if item * 4 == round(item * 4)) / items.total()
    twice = [it["human_scores"] for it in _rows(data / "wpb_zh_human_scores.jsonl") if len(it["human_scores"]) == 2]
    people = float(np.corrcoef(np.array(twice, dtype=float).T)[0, 1])
    low, high = (1 + 9 * float(limit) for limit in np.percentile(scores, [5, 95]))
    print(f"HelloBench: {scores.shape[0]} prompts x {scores.shape[1]} models; {steps:.2f} of the items in steps of 1/4")
    print(f"WritingPreferenceBench: {len(twice)} texts scored by two people, r = {people:.2f}")
    implied = math.sin(math.pi * (TARGETS.accuracy - 0.5))
    print(f"an accuracy of {TARGETS.accuracy} in pairs corresponds to r = {implied:.2f}\n")
    return CalibrationFigures(people, prompt_share(scores), equal_scores(scores), low, high, TARGETS.accuracy)


def _matrix(rows: list[dict[str, Any]]) -> np.ndarray:
    """[prompts, models] scores."""
    by_prompt: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        by_prompt[row["prompt_id"]][row["model"]] = row["score"]
    models = sorted({row["model"] for row in rows})
    return np.array([[scores[model] for model in models] for scores in by_prompt.values()])


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _shown(figures: CalibrationFigures) -> list[str]:
    return [f"{it:.2f}" for it in figures]


if __name__ == "__main__":
    main()
