"""`longform criteria PROMPTS`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from longform.cli.flags import READ_FLAGS, CostLimit, Flag, NonNegative, PositiveInt, ReadFlags
from longform.cli.output import command_line, print_result, progress
from longform.records.errors import BadInputError

if TYPE_CHECKING:
    from longform.selection.criteria import CriteriaSummary


def criteria(
    prompts: Path | None = None,
    *,
    out: Path,
    judge: str | None = None,
    pairs: Path | None = None,
    run: Path | None = None,
    source: Annotated[Path | None, Parameter(name="--from")] = None,
    count: PositiveInt = 5,
    retries: NonNegative = 2,
    refresh: Flag = False,
    models: Path = Path("models.yaml"),
    budget: CostLimit | None = None,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Write criteria for each prompt: by a judge, or from a published file. Running it again resumes.

    Each criterion has a name, a description, a weight of 1 to 5 and a description of each band of scores; demands that
    a text satisfies or fails become hard constraints. An answer that breaks this form is requested again. `grade` and the
    pointwise reward judge by the criteria of a prompt.

    Args:
        prompts: Prompts: a file (.jsonl, .json, .csv, .tsv, .txt, .parquet), a folder of such files, or a dataset id.
            Prompts with criteria are kept unchanged. With --from it may be left out.
        out: Prompts file to write.
        judge: A name in models.yaml.
        pairs: Preferences or pairs file. For a prompt with a better and a worse text in it, the judge sees both and writes
            criteria that separate them.
        run: Run directory, used like --pairs: the better and worse texts are responses and references of the run.
        source: A published file to import criteria from, without a judge: the queries of WritingBench, or rows of RubricHub.
        count: Criteria per prompt, without hard constraints.
        retries: How often to retry after an answer that breaks the form.
        refresh: Also write criteria for prompts that have some; they keep them if the judge gives no valid answer.
        models: Path to models.yaml (endpoint definitions).
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.recipe.verdict_preferences import write_criteria_from_run
    from longform.selection.criteria import import_criteria, write_criteria

    if (judge is None) == (source is None):
        raise BadInputError("give either --judge NAME, which writes criteria, or --from FILE, which imports them")
    if source is not None:
        if pairs is not None or run is not None:
            raise BadInputError("--pairs and --run: only valid with --judge")
        result = import_criteria(source, out=out, prompts=prompts, refresh=refresh, reading=reading.parse())
    else:
        if prompts is None:
            raise BadInputError("PROMPTS: required with --judge; name a prompts file")
        if pairs is not None and run is not None:
            raise BadInputError("--pairs and --run: give only one of the two")
        assert judge is not None, "checked above"
        options: dict[str, Any] = {
            "judge": judge,
            "out": out,
            "count": count,
            "retries": retries,
            "refresh": refresh,
            "models": models,
            "budget": budget,
            "reading": reading.parse(),
            "progress": progress,
        }
        if run is not None:
            result = write_criteria_from_run(run, prompts, **options)
        else:
            result = write_criteria(prompts, pairs=pairs, **options)
    print_result(
        _figures(result) | {"cost": result.cost, "path": str(out)} if json else _lines(result, out),
        as_json=json,
        next_command=command_line("train", "RECIPE", "--set", f"data.prompts={out}"),
    )


def _lines(result: "CriteriaSummary", out: Path) -> dict[str, str]:
    from longform.endpoints.errors import describe_causes

    before = f", {result.given} of them already had some" if result.given else ""
    lines = {
        "with criteria": f"{result.rows} of {result.prompts} prompts{before}",
        "from a better and a worse text": f"{result.contrasted} prompts",
        "hard constraints": str(result.constraints),
        "not in the published file": f"{result.unmatched} prompts",
        "left out": f"{result.left_out} criteria with negative points or without a text",
    }
    optional = {"from a better and a worse text": result.contrasted, "not in the published file": result.unmatched}
    optional["left out"] = result.left_out
    shown = {name: text for name, text in lines.items() if optional.get(name, 1)}
    return shown | {"failures": describe_causes(result.failures) or "0", "cost": result.cost, "path": str(out)}


def _figures(result: "CriteriaSummary") -> dict[str, Any]:
    return {
        "prompts": result.prompts,
        "with_criteria": result.rows,
        "had_criteria": result.given,
        "contrasted": result.contrasted,
        "constraints": result.constraints,
        "unmatched": result.unmatched,
        "left_out": result.left_out,
        "failures": dict(result.failures),
    }
