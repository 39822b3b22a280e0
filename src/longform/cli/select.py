"""`longform select`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longform.cli.flags import Flag, NameList, PathList, PositiveInt, Seed
from longform.cli.output import print_result, print_table

if TYPE_CHECKING:
    from longform.selection.select import Selection


def select(
    *,
    prompts: Path,
    responses: PathList,
    grades: PathList,
    policy: str,
    out: Path,
    strategy: Literal["margin", "difficulty", "random"] = "margin",
    top_k: PositiveInt | None = None,
    group_by: str | None = None,
    floor: str | None = None,
    judges: NameList = (),
    samples: PositiveInt | None = None,
    seed: Seed = 0,
    format: Literal["longform", "writing-rl", "verl"] = "longform",
    page: Path | None = None,
    json: Flag = False,
) -> None:
    """Choose prompts by learning potential and write their ladders of references.

    A prompt needs a response of the policy and of at least one competitor that every judge of its group graded. Dropped
    prompts are printed by cause.

    Args:
        prompts: Prompts file.
        responses: One or more files with responses of the policy and its competitors.
        grades: One or more files with grades of those responses. A response's score is the mean over its judges; it counts
            only if every judge that graded any prompt of its group (--group-by) graded it.
        policy: The model to be trained, as its responses name it.
        out: Ladders file to write (.jsonl or .parquet).
        strategy: margin: most learning potential first; difficulty: the policy's lowest grades first; random.
        top_k: Prompts to keep; default: all that pass the floor.
        group_by: Keep top_k for each value of this field, such as meta.dataset.
        floor: Drop prompts whose best competitor grades below this score (4.5) or percentile (p20; with --group-by, of the
            prompts with the same value).
        judges: Use only the grades of these judges; default: all.
        samples: Use only the samples of each model numbered below this (1: the first, as in the paper). The best of them
            represents its model, so a model with more samples has an advantage.
        seed: Seed of strategy random.
        format: Format of OUT: longform's own ladders, or Parquet as the released Writing-RL code or verl reads it.
        page: Also write an HTML page that shows what was chosen and what was dropped.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError
    from longform.selection.select import select as select_ladders
    from longform.selection.settings import Floor, SelectionSettings

    if page is not None and page.resolve() in {it.resolve() for it in (out, prompts, *responses, *grades)}:
        raise BadInputError(f"--page {page}: is another of this command's files")
    settings = SelectionSettings(
        policy,
        strategy=strategy,
        top_k=top_k,
        group_by=group_by,
        floor=Floor.parse(floor) if floor else None,
        judges=judges,
        samples=samples,
        seed=seed,
    )
    chosen = select_ladders(
        prompts=prompts, responses=responses, grades=grades, settings=settings, out=out, out_format=format
    )
    if page is not None:
        from longform.report.selection_page import write_selection_page

        write_selection_page(page, chosen, settings)
    paths = {"path": str(out)} | ({"page": str(page)} if page else {})
    _print(chosen, paths, grouped=group_by is not None, as_json=json)


def _print(selection: "Selection", paths: dict[str, str], *, grouped: bool, as_json: bool) -> None:
    from longform.selection.select import SelectionOutcome

    if as_json:
        print_result(_figures(selection) | paths, as_json=True)
        return
    if grouped:
        causes = list(selection.dropped())
        rows = [
            [
                group,
                *(str(counts[fate]) for fate in (SelectionOutcome.CHOSEN, *causes)),
                _shown(selection.floors[group]),
            ]
            for group, counts in selection.count_groups().items()
        ]
        print_table("Prompts of each group", ["", "ladders", *causes, "floor"], rows)
    path = paths["path"]
    print_result(
        _lines(selection) | paths, as_json=False, next_command=f"longform train RECIPE --set data.ladders={path}"
    )


def _lines(selection: "Selection") -> dict[str, str]:
    """What a reader needs to know: the prompts by fate, and what the scores rest on."""
    scores, (lowest, highest, mean) = selection.scores, _potential(selection)
    lines = {"ladders": f"{len(selection.ladders)} of {len(selection.prompts)} prompts"}
    lines |= {str(cause): str(count) for cause, count in selection.dropped().items()}
    if len(selection.floors) == 1:
        lines["floor"] = _shown(next(iter(selection.floors.values())))
    lines["potential"] = f"{lowest:.3g} to {highest:.3g}, mean {mean:.3g}"
    if scores.num_incomplete:
        lacking = ", ".join(f"{count} lack {judge}" for judge, count in sorted(scores.lacking.items()))
        lines["responses left out"] = f"{scores.num_incomplete} of {scores.num_responses} graded ({lacking})"
    if selection.num_partial:
        lines["competitors missing"] = f"on {selection.num_partial} prompts that could be chosen"
    if selection.num_unequal_samples:
        lines["unequal samples"] = f"on {selection.num_unequal_samples} prompts that could be chosen"
    return lines


def _figures(selection: "Selection") -> dict[str, Any]:
    scores, (lowest, highest, mean) = selection.scores, _potential(selection)
    return {
        "ladders": len(selection.ladders),
        "prompts": len(selection.prompts),
        "fates": selection.count(),
        "groups": {
            group: {
                "fates": counts,
                "floor": selection.floors[group] if math.isfinite(selection.floors[group]) else None,
                "judges": scores.panels.get(group, ()),
            }
            for group, counts in selection.count_groups().items()
        },
        "responses": {"graded": scores.num_responses, "left_out": scores.num_incomplete, "lacking": scores.lacking},
        "competitors_missing": selection.num_partial,
        "unequal_samples": selection.num_unequal_samples,
        "potential": {"lowest": lowest, "highest": highest, "mean": mean},
    }


def _potential(selection: "Selection") -> tuple[float, float, float]:
    """Lowest, highest and mean of the ladders."""
    values = [ladder.potential for ladder in selection.ladders]
    return min(values), max(values), sum(values) / len(values)


def _shown(floor: float) -> str:
    return f"{floor:.3g}" if math.isfinite(floor) else "none"
