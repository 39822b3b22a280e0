"""`longform select`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from longform.cli.flags import Count, Flag, Seed
from longform.cli.output import print_result, print_table

if TYPE_CHECKING:
    from longform.selection.select import Fate, Selection

Several = Parameter(consume_multiple=True, negative=())


def select(
    *,
    prompts: Path,
    responses: Annotated[tuple[Path, ...], Several],
    grades: Annotated[tuple[Path, ...], Several],
    policy: str,
    out: Path,
    strategy: Literal["margin", "difficulty", "random"] = "margin",
    top_k: Count | None = None,
    per: str | None = None,
    floor: str | None = None,
    judges: Annotated[tuple[str, ...], Several] = (),
    samples: Count | None = None,
    seed: Seed = 0,
    format: Literal["longform", "writing-rl", "verl"] = "longform",
    page: Path | None = None,
    json: Flag = False,
) -> None:
    """Choose the prompts worth training on and write their ladders of references.

    A prompt needs a response that counts of the policy and of at least one competitor. What is left out is printed by cause.

    Args:
        prompts: Prompts file.
        responses: One or more files with responses of the policy and its competitors.
        grades: One or more files with grades of those responses. A response's score is the mean over its judges; it counts
            only if every judge that graded any prompt of its group (--per) graded it.
        policy: The model to be trained, as its responses name it.
        out: Ladders file to write (.jsonl or .parquet).
        strategy: margin: most learning potential first; difficulty: the policy's lowest grades first; random.
        top_k: Prompts to keep; all that pass the floor without it.
        per: Keep top_k for each value of this field, such as meta.dataset.
        floor: Drop prompts whose best competitor grades below this score (4.5) or percentile (p20; with --per, of the
            prompts with the same value).
        judges: Use the grades of these judges alone; of all without it.
        samples: Use the samples of each model that are numbered below this (1: the first, as in the paper). The best of
            them stands for its model, so a model with more of them has an advantage.
        seed: Of strategy random.
        format: Of OUT: longform's own ladders, or Parquet as the released Writing-RL code or verl reads it.
        page: Also write an HTML page that shows what was chosen and what was dropped.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError
    from longform.records.files import write_rows
    from longform.records.interchange import write_verl, write_writing_rl
    from longform.selection.select import select as select_ladders
    from longform.selection.settings import Floor, SelectionSettings

    if format != "longform" and out.suffix != ".parquet":
        raise BadInputError(f"--out {out}: --format {format} is Parquet; the name must end in .parquet")
    if page is not None and page.resolve() in {it.resolve() for it in (out, prompts, *responses, *grades)}:
        raise BadInputError(f"--page {page}: is another of this command's files")
    settings = SelectionSettings(
        policy,
        strategy=strategy,
        top_k=top_k,
        per=per,
        floor=Floor.parse(floor) if floor else None,
        judges=judges,
        samples=samples,
        seed=seed,
    )
    chosen = select_ladders(prompts=prompts, responses=responses, grades=grades, settings=settings)
    if not chosen.ladders:
        causes = ", ".join(f"{count} {cause}" for cause, count in _dropped(chosen).items())
        hint = "; --judges says whose grades to use" if chosen.scores.lacking else ""
        raise BadInputError(f"--grades: no prompt of {prompts} has a ladder; {causes}{hint}")
    if page is not None:
        from longform.report.selection_page import write_selection_page

        write_selection_page(page, chosen, settings)
    write = {"longform": write_rows, "writing-rl": write_writing_rl, "verl": write_verl}[format]
    write(out, chosen.ladders)
    _print(chosen, {"path": str(out)} | ({"page": str(page)} if page else {}), grouped=per is not None, as_json=json)


def _print(selection: "Selection", paths: dict[str, str], *, grouped: bool, as_json: bool) -> None:
    from longform.selection.select import Fate

    if as_json:
        print_result(_figures(selection) | paths, as_json=True)
        return
    if grouped:
        causes = list(_dropped(selection))
        rows = [
            [group, *(str(counts[fate]) for fate in (Fate.CHOSEN, *causes)), _shown(selection.floors[group])]
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
    lines |= {str(cause): str(count) for cause, count in _dropped(selection).items()}
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


def _dropped(selection: "Selection") -> "dict[Fate, int]":
    """Prompts that are not chosen, by the causes that occur."""
    return {fate: count for fate, count in selection.count().items() if count and fate != fate.CHOSEN}


def _potential(selection: "Selection") -> tuple[float, float, float]:
    """Lowest, highest and mean of the ladders."""
    values = [ladder.potential for ladder in selection.ladders]
    return min(values), max(values), sum(values) / len(values)


def _shown(floor: float) -> str:
    return f"{floor:.3g}" if math.isfinite(floor) else "none"
