"""`longform select`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longform.cli.flags import READ_FLAGS, Flag, NameList, PathList, PositiveInt, ReadFlags, Seed
from longform.cli.output import command_line, print_result, print_table

if TYPE_CHECKING:
    from longform.selection.select import Selection


def select(
    *,
    prompts: Path,
    responses: PathList,
    grades: PathList,
    policy: str,
    out: Path,
    strategy: Literal["margin", "difficulty", "random"] | str = "margin",
    top_k: PositiveInt | None = None,
    group_by: str | None = None,
    floor: str | None = None,
    judges: NameList = (),
    samples: PositiveInt | None = None,
    seed: Seed = 0,
    format: Literal["longform", "writing-rl", "verl"] = "longform",
    page: Path | None = None,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Choose prompts by learning potential and write their ladders of references.

    A prompt needs a response by the policy and one by at least one competitor, both graded by every judge of the prompt's
    group. Dropped prompts are counted by cause.

    Args:
        prompts: Prompts file.
        responses: One or more responses files of the policy and its competitors.
        grades: One or more grades files. A response's score is the mean over its judges; it counts only if every judge
            that graded any prompt of its group (--group-by) graded it.
        policy: Model name of the policy in the responses files.
        out: Ladders file to write (.jsonl or .parquet).
        strategy: margin: highest learning potential first; difficulty: the policy's lowest grades first; random; or one of
            your own: module:function, or a name that an installed package offers.
        top_k: Number of prompts to keep (default: all that pass the floor).
        group_by: Keep top_k prompts for each value of this field, such as meta.dataset.
        floor: Drop prompts whose best competitor scores below this grade (4.5) or percentile (p20; with --group-by, within
            the group).
        judges: Use only the grades of these judges (default: all).
        samples: Use only the first N samples of each model (1, as in the paper). The best sample represents its model, so
            more samples are an advantage.
        seed: Random seed of strategy random, and of one of your own that takes a seed.
        format: Format of OUT: longform's ladders, or the Parquet format of the released Writing-RL code or of verl.
        page: Also write an HTML page of the selected and dropped prompts.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError
    from longform.selection.select import select as select_ladders
    from longform.selection.settings import Floor, SelectionSettings

    if page is not None and page.resolve() in {it.resolve() for it in (out, prompts, *responses, *grades)}:
        raise BadInputError(f"--page {page}: also given as another file of this command")
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
        prompts=prompts,
        responses=responses,
        grades=grades,
        settings=settings,
        out=out,
        out_format=format,
        reading=reading.parse(),
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
    following = command_line("train", "RECIPE", "--set", f"data.ladders={path}")
    print_result(_lines(selection) | paths, as_json=False, next_command=following)


def _lines(selection: "Selection") -> dict[str, str]:
    """Return the printed summary: prompts by outcome, and the coverage of the scores."""
    from longform.selection.strategy import describe_strategy

    scores, (lowest, highest, mean) = selection.scores, _potential(selection)
    lines = {"ladders": f"{len(selection.ladders)} of {len(selection.prompts)} prompts"}
    lines |= {str(cause): str(count) for cause, count in selection.dropped().items()}
    if "source_sha256" in selection.strategy:
        lines["strategy"] = describe_strategy(selection.strategy)
    if len(selection.floors) == 1:
        lines["floor"] = _shown(next(iter(selection.floors.values())))
    lines["potential"] = f"{lowest:.3g} to {highest:.3g}, mean {mean:.3g}"
    if scores.num_incomplete:
        lacking = ", ".join(f"{count} not graded by {judge}" for judge, count in sorted(scores.lacking.items()))
        lines["responses left out"] = f"{scores.num_incomplete} of {scores.num_responses} graded ({lacking})"
    if selection.num_partial:
        lines["competitors missing"] = f"on {selection.num_partial} eligible prompts"
    if selection.num_unequal_samples:
        lines["unequal samples"] = f"on {selection.num_unequal_samples} eligible prompts"
    return lines


def _figures(selection: "Selection") -> dict[str, Any]:
    scores, (lowest, highest, mean) = selection.scores, _potential(selection)
    return {
        "ladders": len(selection.ladders),
        "prompts": len(selection.prompts),
        "strategy": dict(selection.strategy),
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
    """Return the lowest, highest and mean learning potential of the ladders."""
    values = [ladder.potential for ladder in selection.ladders]
    return min(values), max(values), sum(values) / len(values)


def _shown(floor: float) -> str:
    return f"{floor:.3g}" if math.isfinite(floor) else "none"
