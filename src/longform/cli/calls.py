"""`longform calls FILE|RUN`."""

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, PositiveInt
from longform.cli.output import console, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.records.recorded_calls import CallSum, RecordedCall


def calls(
    path: Path,
    *,
    outcome: str | None = None,
    model: str | None = None,
    limit: PositiveInt = 20,
    show: Flag = False,
    totals: Flag = False,
    json: Flag = False,
) -> None:
    """Print recorded calls to models: of a run, of an output file, or of a log of calls.

    Args:
        path: A run directory, an output file that calls are recorded beside, or a *.calls.sqlite file.
        outcome: Only calls with this outcome: ok, failed, or a cause such as refused, cut_off or timeout.
        model: Only calls to this model, or to this name in models.yaml.
        limit: Print at most this many calls, the latest ones.
        show: Print the answers and thoughts in full.
        totals: Print tokens and cost by model and outcome instead.
        json: Print one JSON object per call, or per total.
    """
    from longform.records.recorded_calls import find_call_log, read_calls, sum_calls

    log = find_call_log(path)
    if totals:
        _print_totals(sum_calls(log, outcome=outcome, model=model), as_json=json)
        return
    shown = 0
    for call in read_calls(log, outcome=outcome, model=model, limit=limit):
        shown += 1
        if json:
            print(json_module.dumps(asdict(call), ensure_ascii=False))
        else:
            _print_call(call, in_full=show)
    if not shown:
        held = ", ".join(f"{it.calls:,} {it.outcome} of {it.endpoint}" for it in sum_calls(log)) or "none"
        console.print(f"no such calls; on record: {printable(held)}", markup=False)


def _print_totals(sums: "Sequence[CallSum]", *, as_json: bool) -> None:
    if as_json:
        for total in sums:
            print(json_module.dumps(asdict(total), ensure_ascii=False))
        return
    columns = ["model", "outcome", "calls", "prompt", "completion", "thoughts", "cost", "s"]
    rows = [
        [
            total.endpoint,
            total.outcome,
            f"{total.calls:,}",
            f"{total.prompt_tokens:,}",
            f"{total.completion_tokens:,}",
            f"{total.thought_tokens:,}",
            "unknown"
            if total.unknown_costs == total.calls
            else f"{total.cost:.4f}{'*' if total.estimated_costs else ''}",
            f"{total.seconds:.1f}",
        ]
        for total in sums
    ]
    print_table("Calls by model and outcome (tokens, cost, mean seconds)", columns, rows)
    if any(total.estimated_costs for total in sums):
        print("* in part estimated, because the endpoint did not state its tokens")


def _print_call(call: "RecordedCall", *, in_full: bool) -> None:
    """Print a call with its answer: all of it, or its beginning in one line."""
    tokens = f"{call.prompt_tokens or 0}+{call.completion_tokens or 0} tokens"
    cost = "" if call.cost is None else f", cost {call.cost:.6f}{' (estimated)' if call.is_estimated else ''}"
    seconds = f"{call.latency_seconds:.1f} s"
    print(printable(f"#{call.id} {call.endpoint} ({call.model}): {call.outcome}, {tokens}, {seconds}{cost}"))
    if call.message:
        print(f"   {printable(call.message)}")
    if in_full:
        for title, text in (("thoughts", call.thoughts), ("answer", call.text)):
            if text:
                print(f"   {title}:")
                print("\n".join(f"   | {printable(line)}" for line in text.split("\n")))
    elif call.text:
        line = printable(" ".join(call.text[:400].split()))
        print(f"   {line[:150]}{'...' if len(line) > 150 else ''}")
