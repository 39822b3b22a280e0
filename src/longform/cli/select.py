"""`longform select`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from longform.cli.flags import Count, Flag, Seed
from longform.cli.output import print_result


def select(
    *,
    prompts: Path,
    responses: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    grades: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    policy: str,
    out: Path,
    strategy: Literal["margin", "difficulty", "random"] = "margin",
    top_k: Count | None = None,
    per: str | None = None,
    floor: str | None = None,
    seed: Seed = 0,
    format: Literal["longform", "writing-rl", "verl"] = "longform",
    json: Flag = False,
) -> None:
    """Choose the prompts worth training on and write their ladders of references.

    Args:
        prompts: Prompts file.
        responses: One or more files with responses of the policy and its competitors.
        grades: One or more files with grades of those responses.
        policy: The model to be trained, as its responses name it.
        out: Ladders file to write (.jsonl or .parquet).
        strategy: margin: most learning potential first; difficulty: the policy's lowest grades first; random.
        top_k: Prompts to keep; all that pass the floor without it.
        per: Keep top_k for each value of this field, such as meta.dataset.
        floor: Drop prompts whose best competitor grades below this score (4.5) or percentile (p20).
        seed: Of strategy random.
        format: Of OUT: longform's own ladders, or Parquet as the released Writing-RL code or verl reads it.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError
    from longform.records.files import write_rows
    from longform.records.interchange import write_verl, write_writing_rl
    from longform.selection.select import select as select_ladders
    from longform.selection.settings import Floor, SelectionSettings

    if format != "longform" and out.suffix != ".parquet":
        raise BadInputError(f"--out {out}: --format {format} is Parquet; the name must end in .parquet")
    settings = SelectionSettings(
        policy, strategy=strategy, top_k=top_k, per=per, floor=Floor.parse(floor) if floor else None, seed=seed
    )
    chosen = select_ladders(prompts=prompts, responses=responses, grades=grades, settings=settings)
    if not chosen.ladders:
        raise BadInputError(
            f"--grades: no prompt of {prompts} has a ladder; {chosen.num_below_floor} fell below the floor"
        )
    write = {"longform": write_rows, "writing-rl": write_writing_rl, "verl": write_verl}[format]
    write(out, chosen.ladders)
    potentials = [ladder.potential for ladder in chosen.ladders]
    print_result(
        {
            "ladders": len(chosen.ladders),
            "of prompts": chosen.num_prompts,
            "not graded": chosen.num_ungraded,
            "below floor": chosen.num_below_floor,
            "potential": f"{min(potentials):.3g} to {max(potentials):.3g}, mean {sum(potentials) / len(potentials):.3g}",
            "path": str(out),
        },
        as_json=json,
        next_command=f"longform train RECIPE --set data.ladders={out}",
    )
