"""`longform lengths PROMPTS`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longform.cli.flags import READ_FLAGS, CostLimit, Flag, NonNegative, ReadFlags
from longform.cli.output import command_line, print_result, print_table, progress

if TYPE_CHECKING:
    from longform.selection.lengths import LengthSummary


def lengths(
    prompts: Path,
    *,
    judge: str,
    out: Path,
    retries: NonNegative = 2,
    refresh: Flag = False,
    models: Path = Path("models.yaml"),
    budget: CostLimit | None = None,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Have a judge predict a target length range per prompt. Running it again resumes.

    Bounds must be multiples of 100 and at most 12,000 words, the span at most 3,000, and a word count stated in the prompt
    must be met within 10%. A range that breaks a rule is requested again; if the retries fail too, the prompt is dropped.
    So are prompts answered with [0, 0], which stands for requests that are longer than 12,000 words or impossible.

    Args:
        prompts: Prompts: a file (.jsonl, .json, .csv, .tsv, .txt, .parquet), a folder of such files, or a dataset id.
            Prompts with a length_range are kept unchanged.
        judge: A name in models.yaml.
        out: Prompts file to write.
        retries: How often to retry after a range that breaks a rule.
        refresh: Also predict prompts that have a length_range; they keep it if the judge gives no valid answer.
        models: Path to models.yaml (endpoint definitions).
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.endpoints.errors import describe_causes
    from longform.selection.lengths import predict_lengths

    result = predict_lengths(
        prompts,
        judge=judge,
        out=out,
        retries=retries,
        refresh=refresh,
        models=models,
        budget=budget,
        reading=reading.parse(),
        progress=progress,
    )
    if not json:
        _print_dropped(result)
    failures = dict(result.failures) if json else describe_causes(result.failures) or "0"
    print_result(
        (_figures(result) if json else _lines(result)) | {"failures": failures, "cost": result.cost, "path": str(out)},
        as_json=json,
        next_command=command_line("train", "RECIPE", "--set", f"data.prompts={out}"),
    )


def _print_dropped(result: "LengthSummary") -> None:
    rows = [["[0, 0]: over 12,000 words or impossible", str(result.unwritten)]]
    rows += [[f"rule broken: {rule}", str(count)] for rule, count in result.rules.most_common()]
    print_table("Dropped prompts, by cause", ["", "prompts"], rows)


def _lines(result: "LengthSummary") -> dict[str, str]:
    before = f", {result.given} of them already had one" if result.given else ""
    return {
        "with a range": f"{result.rows} of {result.prompts} prompts{before}",
        "retried": f"{result.repeated} after a broken rule, {result.broken} of them dropped",
    }


def _figures(result: "LengthSummary") -> dict[str, Any]:
    return {
        "prompts": result.prompts,
        "with_range": result.rows,
        "had_range": result.given,
        "dropped_by_zero": result.unwritten,
        "dropped_by_rules": result.broken,
        "broken_rules": {rule.name.lower(): count for rule, count in result.rules.items()},
        "asked_again": result.repeated,
    }
