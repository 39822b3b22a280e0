"""`longform publish SOURCE --to OWNER/NAME`."""

from pathlib import Path

from longform.cli.flags import Flag, PathList
from longform.cli.output import command_line, print_result, printable


def publish(
    source: Path,
    *,
    to: str,
    base: str | None = None,
    bench: PathList = (),
    games: PathList = (),
    with_texts: Flag = False,
    public: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Upload a run's policy with a model card, or a file of rows as a dataset, to the Hugging Face hub.

    The card has the base, the recipe, judge and examiner, the examiner's gain with its interval, failures that were found,
    benchmark results, two texts before and after, and the cost. models.yaml, addresses and headers are never uploaded.

    Args:
        source: Run directory, a policy's folder, or a file of ladders, preferences, games or pairs.
        to: Repository, owner/name.
        base: Hub id of the model that the policy was trained from.
        bench: Folders of bench run, for the card.
        games: Games files of compare, for the win rates in the card.
        with_texts: Also publish prompts and texts; needed for files of rows.
        public: Make a new repository public (default: private).
        dry_run: Print the card and list every file with its size; nothing is uploaded.
    """
    from longform.publishing.hub import check_id, upload
    from longform.publishing.release import plan_policy, plan_rows

    check_id(to)
    if source.is_file():
        release = plan_rows(source, with_texts=with_texts)
    else:
        release = plan_policy(source, base=base, benchmarks=bench, games=games, with_texts=with_texts)
    if dry_run:
        lists = [(name, value) for name, paths in (("--bench", bench), ("--games", games)) for value in paths]
        flags = [name for name, is_set in (("--with-texts", with_texts), ("--public", public)) if is_set]
        again = [*(["--base", base] if base else []), *(word for pair in lists for word in pair), *flags]
        print("\n".join(map(printable, release.card.split("\n"))))
        print_result(
            {file.name: f"{file.size:,} bytes" for file in release.files}
            | dict.fromkeys(release.left_out, "not published"),
            as_json=False,
            next_command=command_line("publish", source, "--to", to, *again),
        )
        return
    published = upload(release, to, private=not public)
    print_result({"published": published.address, "commit": published.commit}, as_json=False)
