"""`longform arena GAMES...`."""

from longform.cli.flags import Flag, Inputs, PathList, PositiveInt, Repeated, Seed, TableFormat
from longform.cli.output import console, print_result, print_tables, printable


def arena(
    games: Inputs,
    *,
    anchor: Repeated = (),
    judge: str | None = None,
    per_judge: Flag = False,
    control_length: Flag = False,
    responses: PathList = (),
    matrix: Flag = False,
    resamples: PositiveInt = 1000,
    seed: Seed = 0,
    format: TableFormat = "text",
    json: Flag = False,
) -> None:
    """Rate models by the games they played, with intervals.

    Bradley-Terry on the Elo scale: 400 points are odds of 10 to 1, a tie is half a win. 95% intervals resample prompts, so
    both orders and all samples of a prompt count as one piece of evidence. Models that never met, directly or through
    others, are rated apart.

    Args:
        games: Files of games (.jsonl, .parquet). A game may state `words_a` and `words_b`, a `cluster` (resampled instead
            of its prompt) and a `weight` (the wins it counts for in the ratings).
        anchor: NAME=RATING of a model whose rating is given, such as a published baseline. May be repeated: all anchors are
            held fixed and the other models fitted around them. Without it ratings average 1000, over the models that
            neither won nor lost everything.
        judge: Use only the games of this judge.
        per_judge: Also rate by each judge alone.
        control_length: Rate as if both texts of each game had been equally long. Needs the fields words_a and words_b, which
            games of compare and bench have, or --responses.
        responses: Files with the texts that played, to count their words.
        matrix: Also show who beats whom, pair by pair.
        resamples: Bootstrap samples behind the intervals.
        seed: Seed of the draws.
        format: Output format of the tables.
        json: The same as --format json.
    """
    from longform.evaluation.arena.run import parse_anchors, rate_files

    result = rate_files(
        games,
        anchors=parse_anchors(anchor),
        judge=judge,
        per_judge=per_judge,
        control_length=control_length,
        responses=responses,
        with_meetings=matrix,
        resamples=resamples,
        seed=seed,
    )
    if json or format == "json":
        print_result(result.as_json(), as_json=True)
        return
    print_tables(result.tables(), format)
    if len(result.judges) > 1:
        counts = ", ".join(f"{printable(name)} ({count})" for name, count in sorted(result.judges.items()))
        console.print(
            f"rated together: the games of {len(result.judges)} judges: {counts}", markup=False, soft_wrap=True
        )
    if result.without_other_order:
        note = f"{result.without_other_order} games lack their other order; they count, with the judge's position bias"
        console.print(note, markup=False, soft_wrap=True)
