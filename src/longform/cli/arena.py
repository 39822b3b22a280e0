"""`longform arena GAMES...`."""

from longform.cli.flags import READ_FLAGS, Flag, Inputs, PathList, PositiveInt, ReadFlags, Repeated, Seed, TableFormat
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
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Rate models from pairwise games (Bradley-Terry), with intervals.

    Ratings are on the Elo scale: 400 points are odds of 10 to 1, and a tie counts as half a win. The 95% intervals resample
    prompts, so both orders and all samples of a prompt count as one piece of evidence. Models with no chain of games
    between them are rated separately.

    Args:
        games: Games files (.jsonl, .parquet). Optional fields: `words_a` and `words_b`, `cluster` (resampled in place of
            the prompt) and `weight` (how many games this one counts for).
        anchor: NAME=RATING of a model with a known rating, such as a published baseline. May be repeated: anchors stay
            fixed while the other models are fitted. Without anchors, ratings average 1000 over the models that neither
            won nor lost every game.
        judge: Use only this judge's games.
        per_judge: Also show ratings from each judge's games alone.
        control_length: Rate as if both texts of each game were equally long. Needs the fields words_a and words_b (games
            from compare and bench have them) or --responses.
        responses: Responses files with the texts of the games, for their word counts.
        matrix: Also show win rates pair by pair.
        resamples: Number of bootstrap samples.
        seed: Random seed.
        format: Output format of the tables.
        json: Same as --format json.
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
        reading=reading.parse(),
    )
    if json or format == "json":
        print_result(result.as_json(), as_json=True)
        return
    print_tables(result.tables(), format)
    if len(result.judges) > 1:
        counts = ", ".join(f"{printable(name)} ({count})" for name, count in sorted(result.judges.items()))
        console.print(
            f"these ratings combine games of {len(result.judges)} judges: {counts}", markup=False, soft_wrap=True
        )
    if result.without_other_order:
        note = (
            f"{result.without_other_order} games were judged in one order only; they count, and carry the judge's "
            "position bias"
        )
        console.print(note, markup=False, soft_wrap=True)
