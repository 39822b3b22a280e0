"""`longform calls FILE|RUN`."""

import json as json_module
from dataclasses import asdict
from pathlib import Path

from longform.cli.flags import Flag, PositiveInt
from longform.cli.output import console, print_table, printable


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
        limit: Print the last so many calls.
        show: Print the answers and thoughts in full.
        totals: Print tokens and money by model and outcome instead.
        json: Print one JSON object per call, or per total.
    """
    from longform.records.recorded_calls import find_call_log, read_calls, sum_calls

    log = find_call_log(path)
    if totals:
        sums = sum_calls(log, outcome=outcome, model=model)
        if json:
            for it in sums:
                print(json_module.dumps(asdict(it), ensure_ascii=False))
            return
        columns = ["model", "outcome", "calls", "prompt", "completion", "thoughts", "cost", "s"]
        rows = [
            [
                it.endpoint,
                it.outcome,
                f"{it.calls:,}",
                f"{it.prompt_tokens:,}",
                f"{it.completion_tokens:,}",
                f"{it.thought_tokens:,}",
                "unknown" if it.unknown_costs == it.calls else f"{it.cost:.4f}{'*' if it.estimated_costs else ''}",
                f"{it.seconds:.1f}",
            ]
            for it in sums
        ]
        print_table("Calls by model and outcome (tokens, cost, mean seconds)", columns, rows)
        if any(it.estimated_costs for it in sums):
            print("* in part estimated, because the endpoint did not state its tokens")
        return
    shown = 0
    for it in read_calls(log, outcome=outcome, model=model, limit=limit):
        shown += 1
        if json:
            print(json_module.dumps(asdict(it), ensure_ascii=False))
            continue
        tokens = f"{it.prompt_tokens or 0}+{it.completion_tokens or 0} tokens"
        cost = "" if it.cost is None else f", cost {it.cost:.6f}{' (estimated)' if it.is_estimated else ''}"
        print(
            printable(f"#{it.id} {it.endpoint} ({it.model}): {it.outcome}, {tokens}, {it.latency_seconds:.1f} s{cost}")
        )
        if it.message:
            print(f"   {printable(it.message)}")
        if show:
            for title, text in (("thoughts", it.thoughts), ("answer", it.text)):
                if text:
                    print(f"   {title}:")
                    print("\n".join(f"   | {printable(line)}" for line in text.split("\n")))
        elif it.text:
            line = printable(" ".join(it.text[:400].split()))
            print(f"   {line[:150]}{'...' if len(line) > 150 else ''}")
    if not shown:
        held = ", ".join(f"{it.calls:,} {it.outcome} of {it.endpoint}" for it in sum_calls(log)) or "none"
        console.print(f"no such calls; on record: {printable(held)}", markup=False)
