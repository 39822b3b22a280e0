"""`longform replay RUN`."""

import asyncio
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longform.cli.flags import Budget, Flag, Overrides
from longform.cli.output import print_result, print_table, progress

if TYPE_CHECKING:
    from longform.evaluation.replay.changes import ReplayChanges
    from longform.evaluation.replay.inputs import ReplayInputs
    from longform.evaluation.replay.run import Replay
    from longform.statistics.bootstrap import Interval

NOTE = "the texts are those on record; what the policy would have written under these rewards is not known"


def replay(
    run: Path,
    *,
    judge: str | None = None,
    set_: Overrides = (),
    models: Path | None = None,
    budget: Budget | None = None,
    out: Path | None = None,
    json: Flag = False,
) -> None:
    """Judge a run's texts again with another judge, reward, position or ladder rule, and show what would have changed.

    The prompts and texts of every step stay as they are on record, so this is what another judge makes of them, and not
    what the policy would have written for it. PPO's advantages rest on the critic's values on record; GRPO's follow from
    the scores alone. Nothing of the run is changed. A question that was asked before, word for word at the same address,
    is answered from the record and costs nothing; new answers are kept in RUN/replay.sqlite for the next replay.

    Args:
        run: A run directory; the run may still be going on.
        judge: The judge in place of the run's, where one reward asks a judge; short for --set rewards.N.judge=JUDGE.
        set_: KEY=VALUE in place of what the run's recipe says of rewards, advantages and curriculum, such as
            --set rewards.0.position=both, --set rewards.1.weight=2, --set advantages=summed, --set curriculum.wins=2, or
            --set 'rewards.0={kind: pointwise, judge: J}'.
        models: What the names of models mean; the file of the run's recipe where it is left out.
        budget: Stop before the calls of this replay cost more than this.
        out: Also write a row for each rollout, before and after (.jsonl or .parquet).
        json: Print the result as JSON.
    """
    from longform.endpoints import budget as costs
    from longform.evaluation.replay.changes import measure_changes
    from longform.evaluation.replay.inputs import check_replay
    from longform.evaluation.replay.run import replay as replay_run
    from longform.records.files import write_rows
    from longform.records.run_directory import RunDirectory
    from longform.records.schemas import Row

    with RunDirectory.read(run) as directory:
        inputs = check_replay(directory, set_, judge=judge, models=models)
        meter = costs.Budget(budget, resume="the same command, which goes on from the answers it has")
        with progress(f"replaying {run}") as advance:
            replayed = asyncio.run(replay_run(directory, inputs, budget=meter, on_progress=advance))
    if out is not None:
        write_rows(out, (Row(**asdict(it)) for it in replayed.rollouts))
    changes = measure_changes(replayed)
    paths = {"path": str(out)} if out is not None else {}
    if json:
        print_result(_figures(replayed, changes) | paths | {"note": NOTE}, as_json=True)
        return
    _print_tables(changes)
    print_result(
        _lines(replayed, changes) | paths | {"note": NOTE}, as_json=False, next_command=_next_command(run, inputs)
    )


def _next_command(run: Path, inputs: "ReplayInputs") -> str:
    """Training under the changed recipe; without a change, a replay that has one."""
    if not inputs.changes:
        another = ["--judge", "NAME"] if len(inputs.recorded.judged) == 1 else ["--set", "KEY=VALUE"]
        return shlex.join(["longform", "replay", str(run), *another])
    settings = [word for change in [*inputs.changes, "run.name=NAME"] for word in ("--set", change)]
    return shlex.join(["longform", "train", str(run / "recipe.yaml"), *settings])


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
        columns = ["reward", "before", "after", "difference", "followed before", "followed after"]
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
        print_table("Each reward, and how far the advantages follow it (correlation)", columns, rows)


def _lines(replay: "Replay", changes: "ReplayChanges") -> dict[str, str]:
    """What a reader needs to know beside the tables."""
    lines = {"rollouts": f"{changes.rollouts} in {changes.steps} steps"}
    if changes.other_reference is not None:
        lines |= {
            "another reference": f"faced by {changes.other_reference}",
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
        lines["mean rung"] = f"{rungs.before:.2f} before, {rungs.after:.2f} after; {rungs.elsewhere} prompts elsewhere"
    return lines | {
        "cost on record": replay.recorded.shown_cost,
        "cost if all were asked": replay.replayed.shown_cost,
        "cost of this replay": f"{replay.paid.shown_cost}; {replay.cached} answers were on record",
    }


def _figures(replay: "Replay", changes: "ReplayChanges") -> dict[str, Any]:
    prices = {name: getattr(replay, name)._asdict() for name in ("recorded", "replayed", "paid")}
    return _finite(asdict(changes) | {"price": prices, "answers_on_record": replay.cached})


def _finite(value: Any) -> Any:
    """`value` with None for numbers that JSON does not have."""
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
