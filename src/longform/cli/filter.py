"""`longform filter PROMPTS`."""

from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import READ_FLAGS, CostLimit, Flag, ReadFlags
from longform.cli.output import command_line, print_result, print_table, progress

if TYPE_CHECKING:
    from longform.selection.filter import Filtered


def filter(
    prompts: Path,
    *,
    judge: str,
    out: Path,
    also: str | None = None,
    models: Path = Path("models.yaml"),
    budget: CostLimit | None = None,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Have a judge keep the prompts that need long, high-quality writing. Running it again resumes.

    A prompt is kept if it asks for a text to be written (writing), if a good answer takes at least several hundred words
    (long), if it contains everything that is needed to answer it (complete), and if answering it does no harm (safe).

    Args:
        prompts: Prompts: a file (.jsonl, .json, .csv, .tsv, .txt, .parquet), a folder of such files, or a dataset id.
        judge: A name in models.yaml.
        out: Prompts file to write.
        also: An additional criterion in plain words, such as "it asks for fiction".
        models: Path to models.yaml (endpoint definitions).
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.endpoints.errors import describe_causes
    from longform.selection.filter import filter_prompts

    result = filter_prompts(
        prompts,
        judge=judge,
        out=out,
        also=also,
        models=models,
        budget=budget,
        reading=reading.parse(),
        progress=progress,
    )
    if not json:
        _print_dropped(result)
    share = result.kept / result.judged
    lines = {"kept": f"{result.kept} of {result.judged} prompts with a verdict ({share:.1%})"}
    figures = {
        "prompts": result.prompts,
        "judged": result.judged,
        "kept": result.kept,
        "share_kept": share,
        "criteria": result.criteria,
        "dropped": result.dropped,
        "dropped_by_it_alone": result.alone,
    }
    failures = dict(result.failures) if json else describe_causes(result.failures) or "0"
    print_result(
        (figures if json else lines) | {"failures": failures, "cost": result.cost, "path": str(out)},
        as_json=json,
        next_command=command_line("lengths", out, "--judge", judge, "--out", "LENGTHS"),
    )


def _print_dropped(result: "Filtered") -> None:
    rows = [[name, str(count), str(result.alone[name])] for name, count in result.dropped.items()]
    print_table("Dropped prompts, by failed criterion", ["", "prompts", "failed only this"], rows)
