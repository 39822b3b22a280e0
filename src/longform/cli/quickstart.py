"""`longform quickstart`."""

import json as json_
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longform.cli.flags import Flag, Seed, SetValues
from longform.cli.output import command_line, print_result, print_table, printable, progress

if TYPE_CHECKING:
    from longform.demo.evidence import DemoEvidence
    from longform.evaluation.arena.ratings import Standing
    from longform.miniature.evidence import Evidence
    from longform.miniature.zero_evidence import ZeroEvidence
    from longform.statistics.bootstrap import Interval
    from longform.steps.recorder import RunResult


LIMITATION = (
    "that the texts are good: a model of this size writes nonsense; the judge is a rule that counts words and "
    "sentences, and lengths and requirements are short and simple"
)
"""What the demonstration on a pretrained model does not show, printed with its result."""


def quickstart(
    *,
    method: Literal["writing-rl", "longwriter-zero"] = "writing-rl",
    out: Path | None = None,
    seed: Seed = 1,
    smoke: Flag = False,
    full_pipeline: Flag = False,
    real: str | None = None,
    embeddings: str | None = None,
    resume: Flag = False,
    set_: SetValues = (),
    json: Flag = False,
) -> None:
    """Train a tiny writer in a built-in world and measure how much it improved: no network, no GPU, a few minutes.

    With --real, train a pretrained chat model instead: GRPO for length and format, then against references of its own.

    Args:
        method: writing-rl: SFT, then PPO against increasingly strong references. longwriter-zero: pretraining without SFT,
            then GRPO with thinking and three balanced rewards, compared with SFT on the texts of three writers.
        out: Output folder (default: a new one under runs/).
        seed: Random seed of the prompts, the model and the sampling.
        smoke: Run every stage with so few steps that nothing is learned.
        full_pipeline: longwriter-zero only: before the RL stage, also collect prompts from a chat log, filter them and
            predict their lengths, continue pretraining, and train reward models on preferences from grades, verdicts and
            dropped requirements; afterwards rate all writers. Takes about an hour on two cores, with --smoke half a minute.
        real: Folder or Hub id of a small pretrained chat model, such as SmolLM2-135M-Instruct, to train on the built-in
            prompts, with a rule-based judge.
        embeddings: With --real: folder or Hub id of a sentence-transformers model, which measures whether the texts are
            about their requests.
        resume: With --real: continue an interrupted training in --out, with the same flags.
        set_: Override a value of the training recipe (with --real, of both recipes): KEY=VALUE. May be repeated.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError

    if resume and real is None:
        raise BadInputError("--resume: only valid with --real")
    if resume and (out is None or not (out / "held-out.jsonl").exists()):
        raise BadInputError("--resume: needs --out, the folder of a demonstration that was stopped")
    folder = out or _free_folder(Path("runs"))
    if folder.exists() and any(folder.iterdir()) and not resume:
        hint = "; --resume continues" if real is not None and (folder / "held-out.jsonl").exists() else ""
        raise BadInputError(f"--out {folder}: is not empty{hint}")
    if full_pipeline and method != "longwriter-zero":
        raise BadInputError("--full-pipeline: only valid with --method longwriter-zero")
    if embeddings is not None and real is None:
        raise BadInputError("--embeddings: only valid with --real")
    if real is not None:
        if method != "writing-rl" or full_pipeline:
            raise BadInputError("--real: runs both methods in turn; leave out --method and --full-pipeline")
        _real(real, folder, seed=seed, smoke=smoke, embeddings=embeddings, overrides=set_, resume=resume, json=json)
        return
    run = _writing_rl if method == "writing-rl" else _full_longwriter_zero if full_pipeline else _longwriter_zero
    run(folder, seed=seed, smoke=smoke, overrides=set_, json=json)


def _writing_rl(folder: Path, *, seed: int, smoke: bool, overrides: Sequence[str], json: bool) -> None:
    from longform.miniature import quickstart as steps
    from longform.miniature.evidence import gather_evidence
    from longform.miniature.server import serve_in_background
    from longform.miniature.world_files import write_world

    began = time.perf_counter()
    scale = steps.SMOKE if smoke else steps.FULL
    steps.pipeline_recipe(folder, scale=scale, seed=seed, overrides=overrides)  # fail fast on a mistyped --set
    steps.prepare_process()
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=scale, seed=seed)
        steps.train_start(folder, scale=scale, seed=seed, stage=progress)
        steps.gather_candidates(folder, seed=seed, stage=progress)
        steps.build_ladders(folder)
        result = steps.train_policy(folder, scale=scale, seed=seed, overrides=overrides, stage=progress)
        evidence = gather_evidence(folder, result.policy_path, name="trained", seed=seed, stage=progress)
    figures = evidence.as_json() | _ladder_figures(result) | {"ppo_seconds": round(result.seconds, 1)}
    figures, report = _close(folder, result, figures, began=began)
    if json:
        print(json_.dumps(figures))
        return
    _print_evidence(evidence)
    result_lines = {
        "mean rung": f"{figures['mean_rung']:.2f} (all prompts start at 0)",
        "critic explains": _share(figures["explained_variance"]) + " of the variance of returns (last third of steps)",
    }
    _print_result(folder, result_lines, figures, report)


def _longwriter_zero(folder: Path, *, seed: int, smoke: bool, overrides: Sequence[str], json: bool) -> None:
    from longform.miniature import longwriter_zero as steps
    from longform.miniature.quickstart import prepare_process
    from longform.miniature.server import serve_in_background
    from longform.miniature.world import WIDE_RANGES
    from longform.miniature.world_files import write_world
    from longform.miniature.zero_evidence import gather_evidence

    began = time.perf_counter()
    scale = steps.SMOKE if smoke else steps.FULL
    recipe = steps.pipeline_recipe(folder, scale=scale, seed=seed, overrides=overrides)  # as above
    prepare_process()
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=scale, seed=seed, ranges=WIDE_RANGES)
        steps.train_base(folder, scale=scale, seed=seed, stage=progress)
        steps.tune_baselines(folder, scale=scale, seed=seed, stage=progress)
        result = steps.train_policy(folder, scale=scale, seed=seed, overrides=overrides, stage=progress)
        evidence = gather_evidence(folder, result.policy_path, recipe.generation, seed=seed, stage=progress)
    figures = evidence.as_json() | {"grpo_seconds": round(result.seconds, 1)}
    figures, report = _close(folder, result, figures, began=began)
    if json:
        print(json_.dumps(figures))
        return
    _print_zero_evidence(evidence)
    _print_result(folder, {}, figures, report)


def _full_longwriter_zero(folder: Path, *, seed: int, smoke: bool, overrides: Sequence[str], json: bool) -> None:
    from longform.miniature.full_pipeline import run_full_pipeline

    began = time.perf_counter()
    result = run_full_pipeline(folder, smoke=smoke, seed=seed, overrides=overrides, stage=progress)
    evidence, prompts = result.evidence, result.prompts
    figures = evidence.as_json() | {"prompts": prompts._asdict(), "grpo_seconds": round(result.run.seconds, 1)}
    figures, report = _close(folder, result.run, figures, began=began)
    if json:
        print(json_.dumps(figures))
        return
    _print_zero_evidence(evidence.learning)
    _print_standings(evidence.standings, folder)
    clear, every = _with_interval(evidence.agreement), _with_interval(evidence.agreement_on_all)
    lines = {
        "training prompts": f"{prompts.with_length} of {prompts.chats} conversations, {prompts.pooled} before the filter",
        "reward models agree with the examiner": f"{clear} on held-out pairs with a clear difference, {every} on all",
    }
    _print_result(folder, lines, figures, report)


def _real(
    model: str,
    folder: Path,
    *,
    seed: int,
    smoke: bool,
    embeddings: str | None,
    overrides: Sequence[str],
    resume: bool,
    json: bool,
) -> None:
    from longform.demo.pipeline import FULL, SMOKE, run_demo

    result = run_demo(
        model,
        folder,
        seed=seed,
        stage=progress,
        scale=SMOKE if smoke else FULL,
        embeddings=embeddings,
        overrides=overrides,
        resume=resume,
    )
    if json:
        print(json_.dumps(result.figures))
        return
    _print_demo(result.evidence)
    figures = result.figures
    lines = {
        "this does not show": LIMITATION,
        "judge calls": figures["judge_calls"],
        "tokens a second": f"{figures['tokens_per_second']:.0f} (held-out texts)",
        "peak memory": f"{figures['peak_memory_gib']:.2f} GiB",
        "seconds": f"{figures['seconds']:.0f} ({figures['cpu_seconds']:.0f} of processor time)",
        "path": str(folder),
    }
    print_result(lines, as_json=False, next_command=command_line("report", folder / result.run.path.name))


def _print_demo(evidence: "DemoEvidence") -> None:
    writers, after = list(evidence.writers.values()), evidence.changes["after"]
    names = ["before", "part one", "both", "change (95% interval)"]
    titles = {
        "inside": "inside the range",
        "length": "length score",
        "requirements": "requirements met",
        "finished": "finished by itself",
        "letters_per_word": "letters a word",
        "relevance": "relevance",
    }
    print_table(
        "Held-out prompts, measured by rules; of these only length was rewarded",
        ["", *names],
        [
            [titles[key], *(f"{it.measures[key].estimate:.2f}" for it in writers), _signed(change)]
            for key, change in after.items()
        ]
        + [
            ["words", *(f"{it.words:.0f}" for it in writers), ""],
            ["distinct pairs of words", *(f"{it.distinct_2:.3f}" for it in writers), ""],
        ],
    )
    print_table(
        "By range: share inside, and mean words",
        ["words asked for", *names[:-1]],
        [
            [name, *(f"{it.ranges[name].inside:.2f} ({it.ranges[name].words:.0f})" for it in writers)]
            for name in writers[0].ranges
        ],
    )
    for shown in evidence.shown:
        print(printable(shown.request))
        for name in ("before", "after"):
            print(f"  {name}: {printable(shown.texts[name])}")
        print()


def _close(folder: Path, result: "RunResult", figures: dict[str, Any], *, began: float) -> tuple[dict[str, Any], Path]:
    """Write all figures to evidence.json and the run's report; return the figures and the report's path."""
    from longform.records.calls import SqliteCallLog
    from longform.records.run_directory import RunDirectory
    from longform.report.page import write_report

    with RunDirectory.read(result.path) as run:
        report = write_report(run)
    calls, cost = 0, 0.0
    for database in (*folder.glob("*.sqlite"), *folder.glob("*/run.sqlite")):
        with SqliteCallLog(database) as log:
            totals = log.totals()
            calls, cost = calls + totals.calls, cost + totals.cost
    figures = {**figures, "calls": calls, "cost": cost, "seconds": round(time.perf_counter() - began, 1)}
    (folder / "evidence.json").write_text(json_.dumps(figures, indent=2), encoding="utf-8")
    return figures, report


def _ladder_figures(result: "RunResult") -> dict[str, float | None]:
    from longform.records.run_directory import RunDirectory

    with RunDirectory.read(result.path) as run:
        variance = [value for _, value in run.database.metric("critic/explained_variance")]
        last_third = variance[-max(len(variance) // 3, 1) :]
        return {
            "mean_rung": run.database.metric("curriculum/mean_rung")[-1][1],
            "explained_variance": sum(last_third) / len(last_third) if last_third else None,
        }


def _print_evidence(evidence: "Evidence") -> None:
    _print_win_rates(evidence.win_rates)
    before, after = evidence.start, evidence.trained
    print_table(
        "Before and after",
        ["", "after SFT", "trained"],
        [
            ["examiner's grade (1-10)", f"{before.grade.estimate:.2f}", f"{after.grade.estimate:.2f}"],
            ["required words used", f"{before.coverage.estimate:.2f}", f"{after.coverage.estimate:.2f}"],
            ["words", f"{before.words:.0f}", f"{after.words:.0f}"],
            ["repetition", f"{before.repetition:.3f}", f"{after.repetition:.3f}"],
        ],
    )


def _print_zero_evidence(evidence: "ZeroEvidence") -> None:
    _print_win_rates(evidence.win_rates)
    print_table(
        "All writers (base and baselines: plain prompt; trained writer: its training prompt)",
        ["", *evidence.writers],
        [
            ["examiner's grade (1-10)", *(f"{it.grade.estimate:.2f}" for it in evidence.writers.values())],
            ["fluency", *(f"{it.fluency.estimate:.2f}" for it in evidence.writers.values())],
            ["required words used", *(f"{it.coverage.estimate:.2f}" for it in evidence.writers.values())],
            ["inside the range", *(f"{it.in_range.estimate:.2f}" for it in evidence.writers.values())],
            ["words", *(f"{it.words:.0f}" for it in evidence.writers.values())],
        ],
    )
    print_table(
        "With the think prompt",
        ["", *evidence.thinking],
        [
            ["format kept", *(_with_interval(it.structure) for it in evidence.thinking.values())],
            ["words in the plan", *(_share(it.plan_words) for it in evidence.thinking.values())],
            ["plans under 5 words", *(_share(it.short_plans) for it in evidence.thinking.values())],
        ],
    )


def _print_standings(standings: "Sequence[Standing]", folder: Path) -> None:
    print_table(
        f"Arena of all writers (examiner, both orders, 95% intervals; see longform arena {folder / 'games.jsonl'})",
        ["writer", "rating", "interval", "games won"],
        [
            [
                it.model,
                f"{it.rating.estimate:.0f}",
                f"{it.rating.low:.0f} to {it.rating.high:.0f}",
                f"{it.win_rate.estimate:.2f}",
            ]
            for it in standings
        ],
    )


def _print_win_rates(win_rates: "dict[str, Interval]") -> None:
    print_table(
        "The trained writer on held-out prompts (examiner, both orders, 95% intervals)",
        ["against", "win rate", "interval"],
        [[name, f"{rate.estimate:.3f}", f"{rate.low:.3f} to {rate.high:.3f}"] for name, rate in win_rates.items()],
    )


def _print_result(folder: Path, lines: dict[str, str], figures: dict[str, Any], report: Path) -> None:
    print_result(
        {
            **lines,
            "calls": figures["calls"],
            "cost": f"{figures['cost']:.4f} (made-up prices)",
            "seconds": figures["seconds"],
            "report": str(report),
            "path": str(folder),
        },
        as_json=False,
        next_command=command_line("runs", folder),
    )


def _with_interval(interval: "Interval") -> str:
    return f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _signed(interval: "Interval") -> str:
    return f"{interval.estimate:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _free_folder(parent: Path) -> Path:
    number = 1
    while (parent / f"quickstart-{number}").exists():
        number += 1
    return parent / f"quickstart-{number}"
