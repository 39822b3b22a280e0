"""`longform quickstart`."""

import json as json_
import time
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, Overrides, Seed
from longform.cli.output import print_result, print_table, progress

if TYPE_CHECKING:
    from longform.miniature.evidence import Evidence
    from longform.training.run import TrainingResult


def quickstart(
    *,
    out: Path | None = None,
    seed: Seed = 1,
    smoke: Flag = False,
    set_: Overrides = (),
    json: Flag = False,
) -> None:
    """Train a tiny writer in a built-in world, from prompts to the evidence that it writes better.

    Args:
        out: Folder for everything it makes (default: a new one under runs/).
        seed: Of the world's prompts, the model and all draws.
        smoke: Every stage, but so short that nothing is learned.
        set_: KEY=VALUE in place of what the recipe of the training says. May be repeated.
        json: Print the result as JSON.
    """
    from longform.miniature import quickstart as steps
    from longform.miniature.evidence import gather_evidence
    from longform.miniature.server import serve_in_background
    from longform.records.errors import BadInputError
    from longform.records.run_directory import RunDirectory
    from longform.report.page import write_report

    began = time.perf_counter()
    folder = out or _free_folder(Path("runs"))
    if folder.exists() and any(folder.iterdir()):
        raise BadInputError(f"--out {folder}: is not empty")
    scale = steps.SMOKE if smoke else steps.FULL
    steps.pipeline_recipe(folder, scale=scale, seed=seed, overrides=set_)  # a mistyped --set is found now
    steps.use_one_thread()
    with serve_in_background() as base_url:
        steps.write_world(folder, base_url=base_url, scale=scale, seed=seed)
        steps.train_start(folder, scale=scale, seed=seed, stage=progress)
        steps.gather_candidates(folder, seed=seed, stage=progress)
        steps.build_ladders(folder)
        result = steps.train_policy(folder, scale=scale, seed=seed, overrides=set_, stage=progress)
        evidence = gather_evidence(folder, result.policy_path, name="trained", seed=seed, stage=progress)
    with RunDirectory.read(result.path) as run:
        report = write_report(run)
    figures = {**evidence.as_json(), **_run_figures(folder, result), "seconds": round(time.perf_counter() - began, 1)}
    (folder / "evidence.json").write_text(json_.dumps(figures, indent=2), encoding="utf-8")
    if json:
        print(json_.dumps(figures))
        return
    _print_evidence(evidence)
    print_result(
        {
            "mean rung": f"{figures['mean_rung']:.2f} (all prompts start at 0)",
            "critic explains": _share(figures["explained_variance"]) + " of the variance of returns, last third",
            "calls": figures["calls"],
            "cost": f"{figures['cost']:.4f} (made-up prices)",
            "seconds": figures["seconds"],
            "report": str(report),
            "path": str(folder),
        },
        as_json=False,
        next_command=f"longform runs {folder}",
    )


def _run_figures(folder: Path, result: "TrainingResult") -> dict[str, float | None]:
    from longform.records.calls import SqliteCallLog
    from longform.records.run_directory import RunDirectory

    calls, cost = 0, 0.0
    for database in (folder / "selection.sqlite", result.path / "run.sqlite", folder / "evaluation.sqlite"):
        with SqliteCallLog(database) as log:
            totals = log.totals()
            calls, cost = calls + totals.calls, cost + totals.cost
    with RunDirectory.read(result.path) as run:
        variance = [value for _, value in run.database.metric("critic/explained_variance")]
        last_third = variance[-max(len(variance) // 3, 1) :]
        return {
            "mean_rung": run.database.metric("curriculum/mean_rung")[-1][1],
            "explained_variance": sum(last_third) / len(last_third) if last_third else None,
            "ppo_seconds": round(result.seconds, 1),
            "calls": calls,
            "cost": cost,
        }


def _print_evidence(evidence: "Evidence") -> None:
    print_table(
        "The trained writer on held-out prompts (examiner, both orders, 95% intervals)",
        ["against", "win rate", "interval"],
        [
            [name, f"{rate.estimate:.3f}", f"{rate.low:.3f} to {rate.high:.3f}"]
            for name, rate in evidence.win_rates.items()
        ],
    )
    before, after = evidence.start, evidence.trained
    print_table(
        "Before and after",
        ["", "SFT start", "trained"],
        [
            ["examiner's grade (1-10)", f"{before.grade.estimate:.2f}", f"{after.grade.estimate:.2f}"],
            ["required words used", f"{before.coverage.estimate:.2f}", f"{after.coverage.estimate:.2f}"],
            ["words", f"{before.words:.0f}", f"{after.words:.0f}"],
            ["repetition", f"{before.repetition:.3f}", f"{after.repetition:.3f}"],
        ],
    )


def _share(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.2f}"


def _free_folder(parent: Path) -> Path:
    number = 1
    while (parent / f"quickstart-{number}").exists():
        number += 1
    return parent / f"quickstart-{number}"
