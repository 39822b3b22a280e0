"""Learning curves of ladders chosen by margin, by difficulty and at random, with equal compute, in the miniature.

    python benchmarks/selection_strategies.py --out runs/strategies --seeds 2001 2002 [--ladders 96] [--smoke]

For each seed the world, the start and the candidates are made once. Each strategy then chooses equally many ladders, and the
same recipe trains the same start on them for the same steps with the same seed; `all` trains on every ladder instead. The
examiner grades validation prompts as training goes on, and compares the results on held-out prompts. A seed whose result is
in OUT is not run again, and none is left out.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from longform.cli.output import print_table, progress
from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.evaluation.head_to_head import compare_writers, win_rate
from longform.judging.pairwise import PairwiseJudge
from longform.miniature.evidence import gather_evidence
from longform.miniature.quickstart import (
    COMPETITORS,
    FULL,
    POLICY,
    SMOKE,
    Scale,
    gather_candidates,
    prepare_process,
    train_policy,
    train_start,
)
from longform.miniature.server import serve_in_background
from longform.miniature.world_files import write_world
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows, write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt, Response
from longform.selection.select import select
from longform.selection.settings import SelectionSettings, Strategy
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.steps.recorder import RunResult

STRATEGIES: dict[str, Strategy] = {
    "margin": "margin",
    "random": "random",
    "difficulty": "difficulty",
    "all": "margin",
}
"""What each arm is called, and the order in which it takes ladders."""


def main() -> None:
    """Run the seeds that are missing and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--arms", nargs="+", choices=STRATEGIES, default=["margin", "random", "difficulty"])
    parser.add_argument("--ladders", type=int, default=96, help="of each arm but `all`")
    parser.add_argument("--smoke", action="store_true", help="every stage, but nothing is learned")
    options = parser.parse_args()
    prepare_process()
    scale, ladders = (SMOKE, 16) if options.smoke else (FULL, options.ladders)
    figures = {}
    for seed in options.seeds:
        result = options.out / str(seed) / "figures.json"
        if not result.exists():
            found = run_seed(result.parent, seed, arms=options.arms, ladders=ladders, scale=scale)
            result.write_text(json.dumps(found, indent=1), encoding="utf-8")
        figures[seed] = json.loads(result.read_text(encoding="utf-8"))
    print_curves(figures, options.arms)
    print_results(figures, options.arms)


def run_seed(folder: Path, seed: int, *, arms: Sequence[str], ladders: int, scale: Scale) -> dict[str, Any]:
    """One seed: what all arms share, then each arm, then the arms against the first of them."""
    found: dict[str, Any] = {"ladders": ladders, "arms": {}}
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=scale, seed=seed)
        train_start(folder, scale=scale, seed=seed, stage=progress)
        gather_candidates(folder, seed=seed, stage=progress)
        for arm in arms:
            found["arms"][arm] = run_arm(folder, arm, seed=seed, ladders=ladders, scale=scale)
        found["against"] = {arm: compare(folder, arms[0], arm) for arm in arms[1:]}
    return found


def run_arm(folder: Path, arm: str, *, seed: int, ladders: int, scale: Scale) -> dict[str, Any]:
    """Choose ladders, train on them and look at the result."""
    began = time.perf_counter()
    chosen = select(
        prompts=folder / "prompts.jsonl",
        responses=[folder / f"responses-{name}.jsonl" for name in (POLICY, *COMPETITORS)],
        grades=[folder / "grades.jsonl"],
        settings=SelectionSettings(
            POLICY, strategy=STRATEGIES[arm], top_k=None if arm == "all" else ladders, seed=seed
        ),
    )
    path = folder / f"ladders-{arm}.jsonl"
    write_rows(path, chosen.ladders)
    overrides = (f"data.ladders={json.dumps(str(path))}", f"run.name={arm}")
    result = train_policy(folder, scale=scale, seed=seed, overrides=overrides, stage=progress)
    evidence = gather_evidence(folder, result.policy_path, name=arm, seed=seed, stage=progress)
    return {
        "ladders": len(chosen.ladders),
        "potential": fmean(it.potential for it in chosen.ladders),
        "policy_score": fmean(it.policy_score for it in chosen.ladders),
        "curve": curve(result),
        "evidence": evidence.as_json(),
        "seconds": time.perf_counter() - began,
    }


def curve(result: RunResult) -> dict[str, Interval]:
    """Step -> the examiner's mean grade of validation texts, with its interval over prompts."""
    with RunDirectory.read(result.path) as run:
        steps = [step for step, _ in run.database.metric("validation/grade")]
        texts = {step: run.database.validations(step) for step in steps}
    graded = {step: [(it.grade, it.prompt_id) for it in rows if it.grade is not None] for step, rows in texts.items()}
    return {str(step): clustered_interval(*map(list, zip(*rows, strict=True))) for step, rows in graded.items()}


def compare(folder: Path, one: str, other: str) -> Interval:
    """Win rate of one arm against another on the held-out prompts, by the examiner, in both orders, ties half."""
    prompts = list(read_rows(folder / "held-out.jsonl", Prompt))
    texts = [
        {row.prompt_id: row.text for row in read_rows(folder / f"held-out-{arm}.jsonl", Response)}
        for arm in (one, other)
    ]

    async def games() -> Interval:
        with SqliteCallLog(folder / "evaluation.sqlite") as log:
            async with Endpoint("examiner", read_models(folder / "models.yaml")["examiner"], call_log=log) as examiner:
                found = await compare_writers(
                    prompts,
                    texts[0],
                    texts[1],
                    PairwiseJudge(examiner, secret=log.secret()),
                    model_a=one,
                    model_b=other,
                    on_progress=lambda done, total: None,
                )
        return win_rate(found.games)

    return asyncio.run(games())


def print_curves(figures: dict[int, dict[str, Any]], arms: Sequence[str]) -> None:
    """The grade at each validated step: of one seed with its interval, of several as mean and standard deviation."""
    curves = [[found["arms"][arm]["curve"] for found in figures.values()] for arm in arms]
    several = len(figures) > 1
    print_table(
        "Examiner's grade of validation texts, "
        + ("mean and SD over seeds" if several else "95% interval over prompts"),
        ["step", *arms],
        [[step, *(shown([arm[step] for arm in of_arm]) for of_arm in curves)] for step in curves[0][0]],
    )


def print_results(figures: dict[int, dict[str, Any]], arms: Sequence[str]) -> None:
    """The arms of each seed on held-out prompts."""
    rows = []
    for seed, found in figures.items():
        for arm in arms:
            figure = found["arms"][arm]
            evidence = figure["evidence"]
            rows.append(
                [
                    f"{seed} {arm}",
                    str(figure["ladders"]),
                    f"{figure['potential']:.2f}",
                    interval(evidence["win_rates"]["start"]),
                    f"{evidence['start']['grade'][0]:.2f} to {evidence['trained']['grade'][0]:.2f}",
                    interval(found["against"][arm]) if arm in found["against"] else "",
                ]
            )
    columns = ["", "ladders", "potential", "against the start", "grade", f"{arms[0]} against it"]
    print_table("Held-out win rates, 95% intervals over prompts", columns, rows)


def shown(intervals: Sequence[Sequence[float]]) -> str:
    """One interval, or the mean and standard deviation of several estimates."""
    if len(intervals) == 1:
        return interval(intervals[0])
    estimates = [estimate for estimate, _, _ in intervals]
    return f"{fmean(estimates):.2f} ± {stdev(estimates):.2f}"


def interval(found: Sequence[float]) -> str:
    """An estimate and its interval."""
    estimate, low, high = found
    return f"{estimate:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
