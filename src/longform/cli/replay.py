"""`longform replay RUN`."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longform.cli.flags import CostLimit, Flag, SetValues
from longform.cli.output import command_line, console, print_result, print_table, progress

if TYPE_CHECKING:
    from longform.evaluation.replay.changes import ReplayChanges
    from longform.evaluation.replay.inputs import ReplayInputs
    from longform.evaluation.replay.run import Replay
    from longform.statistics.bootstrap import Interval

NOTE = "the texts are the recorded ones; a policy trained with these rewards would have written others"


def replay(
    run: Path,
    *,
    judge: str | None = None,
    by: Literal["peer", "anchors", "list", "round-robin", "elimination"] | None = None,
    set_: SetValues = (),
    models: Path | None = None,
    budget: CostLimit | None = None,
    out: Path | None = None,
    json: Flag = False,
) -> None:
    """Rescore a run's recorded texts with another judge, reward, position or curriculum rule, and show what changes.

    Prompts and texts stay as recorded: the result shows how the new rewards score them, not what a policy trained with
    these rewards would have written. PPO advantages use the recorded critic values; GRPO advantages need only the scores.
    The run itself is not modified. Judge requests identical to a recorded one are answered from the record at no cost; new
    answers are stored in RUN/replay.sqlite for later replays.

    Args:
        run: A run directory, finished or in progress.
        judge: Replace the run's judge; short for --set rewards.N.judge=JUDGE if exactly one reward uses a judge.
        by: Compare the responses of each group in this way, in place of the run's pairwise or group reward; the price is
            that of all its questions. --set curriculum.promote_by=sample lets the best response of a group promote.
        set_: Override a value under rewards, advantages or curriculum: KEY=VALUE, such as --set rewards.0.position=both,
            --set rewards.1.weight=2, --set advantages=summed, --set curriculum.wins=2, or
            --set 'rewards.0={kind: pointwise, judge: J}'.
        models: Path to models.yaml (default: the one of the run's recipe).
        budget: Stop before this replay's calls cost more than this.
        out: Also write one row per rollout with values before and after (.jsonl or .parquet).
        json: Print the result as JSON.
    """
    from longform.evaluation.replay import run as replaying
    from longform.evaluation.replay.changes import measure_changes

    replayed = replaying.replay(
        run,
        judge=judge,
        by=by,
        overrides=set_,
        models=models,
        budget=budget,
        out=out,
        progress=progress,
        on_plan=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    changes = measure_changes(replayed)
    paths = {"path": str(out)} if out is not None else {}
    if json:
        print_result(_figures(replayed, changes) | paths | {"note": NOTE}, as_json=True)
        return
    _print_tables(changes)
    print_result(
        _lines(replayed, changes) | paths | {"note": NOTE},
        as_json=False,
        next_command=_next_command(run, replayed.inputs),
    )


def _next_command(run: Path, inputs: "ReplayInputs") -> str:
    """Return the next command: `train` with the changes; without changes, a `replay` that makes one."""
    if not inputs.changes:
        another = ["--judge", "NAME"] if len(inputs.recorded.judged) == 1 else ["--set", "KEY=VALUE"]
        return command_line("replay", run, *another)
    changes = [*inputs.changes, "run.name=NAME"]
    validation = inputs.recorded.validation
    if validation is not None and validation.judge in inputs.replayed.asked:  # a judge cannot examine its own reward
        changes.append("validation.judge=EXAMINER")
    return command_line("train", run / "recipe.yaml", *(word for it in changes for word in ("--set", it)))


def _print_tables(changes: "ReplayChanges") -> None:
    if changes.same_reference is not None:
        columns = list(changes.same_reference.table)
        rows = [[was, *map(str, row.values())] for was, row in changes.same_reference.table.items()]
        print_table("Outcomes before (rows) and after", ["", *columns], rows)
    rows = [
        [
            f"{it.first_step} to {it.last_step}" if it is not changes.rewards[-1] else "all",
            str(it.rollouts),
            f"{it.before:.3f}",
            f"{it.after:.3f}",
            _shown(it.difference),
        ]
        for it in changes.rewards
    ]
    print_table("Mean reward (95% intervals by prompt)", ["steps", "rollouts", "before", "after", "difference"], rows)
    if changes.kinds:
        columns = ["reward", "before", "after", "difference", "correlation before", "correlation after"]
        rows = [
            [
                it.kind,
                _number(it.before),
                _number(it.after),
                "" if it.difference is None else _shown(it.difference),
                _number(it.followed_before),
                _number(it.followed_after),
            ]
            for it in changes.kinds
        ]
        print_table("Each reward, and its correlation with the advantages", columns, rows)


def _lines(replay: "Replay", changes: "ReplayChanges") -> dict[str, str]:
    """Return the figures printed below the tables."""
    lines = {"rollouts": f"{changes.rollouts} in {changes.steps} steps"}
    if changes.other_reference is not None:
        lines |= {
            "different reference": f"for {changes.other_reference} rollouts",
            "outcomes before": _counts(changes.outcomes_before),
            "outcomes after": _counts(changes.outcomes_after),
        }
    lines |= {
        "no reward before": _counts(changes.no_reward_before),
        "no reward after": _counts(changes.no_reward_after),
    }
    same = changes.same_reference
    if same is not None and same.agreeing is not None:
        kappa = "" if same.kappa is None else f", kappa {same.kappa:.3f}"
        lines["agreement"] = f"{_shown(same.agreeing)}{kappa}"
    moved = changes.advantages
    if moved is not None:
        correlation = "" if moved.correlation is None else f"correlation {moved.correlation:.3f}, "
        lines["advantages"] = (
            f"{correlation}{moved.sign_changed:.1%} change sign, mean change {moved.absolute_change:.3f}"
        )
    if changes.other_reference is not None:
        lines["promotions"] = f"{changes.promotions_before} before, {changes.promotions_after} after"
    if changes.rungs is not None:
        rungs = changes.rungs
        lines["mean rung"] = (
            f"{rungs.before:.2f} before, {rungs.after:.2f} after; {rungs.elsewhere} prompts on another rung"
        )
    if replay.inputs.changed_plugins:
        lines["plugins"] = "; ".join(replay.inputs.changed_plugins)
    if replay.inputs.removed:
        lines["no longer charged"] = ", ".join(replay.inputs.removed)
    return lines | {
        "cost on record": replay.recorded.shown_cost,
        "cost without record": replay.replayed.shown_cost,
        "cost of this replay": f"{replay.paid.shown_cost}; {replay.cached} answers were recorded",
    }


def _figures(replay: "Replay", changes: "ReplayChanges") -> dict[str, Any]:
    prices = {name: getattr(replay, name)._asdict() for name in ("recorded", "replayed", "paid")}
    facts = {
        "price": prices,
        "answers_on_record": replay.cached,
        "changed_plugins": list(replay.inputs.changed_plugins),
        "removed_settings": list(replay.inputs.removed),
    }
    return _finite(asdict(changes) | facts)


def _finite(value: Any) -> Any:
    """Return `value` with NaN and infinities replaced by None, because JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _shown(interval: "Interval") -> str:
    if math.isnan(interval.low):
        return f"{interval.estimate:.3f}"
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"
