"""`longform label SOURCE`."""

from pathlib import Path
from typing import Literal

from longform.cli.flags import READ_FLAGS, Flag, NameList, PathList, Port, PositiveInt, ReadFlags, Seed, Share
from longform.cli.output import command_line, print_result, print_tables


def label(
    source: Path,
    *,
    out: Path | None = None,
    people: NameList = ("me",),
    overlap: Share = 1.0,
    sample: PositiveInt | None = None,
    by: Literal["random", "disagreement", "drift"] = "random",
    prompts: Path | None = None,
    responses: PathList = (),
    export: Path | None = None,
    format: Literal["argilla", "label-studio"] = "label-studio",
    port: Port = 0,
    host: str = "127.0.0.1",
    no_browser: Flag = False,
    seed: Seed = 0,
    reading: ReadFlags = READ_FLAGS,
) -> None:
    """Have people choose between two texts in a browser, without knowing who wrote them, and print their agreement.

    Keys: 1, 2, 0 for a tie, u to undo. Every choice is saved at once; end with Ctrl-C, and run the same command again to
    continue.

    Args:
        source: Pairs file, run directory, games file, or the JSON of Argilla or Label Studio.
        out: Pairs file for the labels (default: a pairs file is labelled in place). An existing one is continued if it was
            made from the same source with the same flags.
        people: Names of those who label.
        overlap: Share of the pairs that all of them label; the others are divided among them.
        sample: Number of rollouts to draw from a run (default: 100).
        by: How to draw a run's rollouts. random: all at random. disagreement: half of them where judges disagree. drift:
            half of them from steps in which the reward rose and the examiner's grade fell. Weights are stored. Rollouts with
            an empty response or reference are not drawn.
        prompts: Prompts of a games file.
        responses: Responses files with the texts of a games file.
        export: Write pairs and labels as a new JSON file for another tool, and end.
        format: The other tool.
        port: Port to listen on; 0 chooses a free one.
        host: Address to listen on. Any other than this machine's own needs a password, in the environment variable
            LONGFORM_VIEW_PASSWORD; the user's name is longform.
        no_browser: Do not open a browser; the address is printed.
        seed: Random seed of the sample, of the assignment of pairs to people, and of the order of the texts.
    """
    from longform.evaluation.audit.tables import people_tables
    from longform.evaluation.labelling.run import PairSource, export_labels
    from longform.viewer.label_session import serve_labels

    pairs = PairSource(
        path=source,
        sample=sample,
        by=by,
        prompts=prompts,
        responses=responses,
        seed=seed,
        reading=reading.parse(),
    )
    if export is not None:
        count = export_labels(pairs, export, format, out=out)
        print_result({"pairs": count, "path": str(export)}, as_json=False)
        return
    session = serve_labels(
        pairs,
        out=out,
        people=people,
        overlap=overlap,
        host=host,
        port=port,
        browser=not no_browser,
        on_start=lambda address: print(address, flush=True),
    )
    if session.agreement is not None:
        print_tables(people_tables(session.agreement))
    result = {person: f"{done} of {assigned}" for person, (done, assigned) in session.done.items()}
    if session.blank:
        result["rollouts not shown"] = f"{session.blank}, because their response or reference is empty"
    print_result(result | {"path": str(session.path)}, as_json=False, next_command=command_line("audit", session.path))
