"""`longform label SOURCE`."""

from contextlib import suppress
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
    """Have people choose between two texts in a browser, without knowing who wrote them; then show how far they agree.

    Keys: 1, 2, 0 for a tie, u to take the last choice back. Every choice is saved at once; running the command again goes
    on. End it with Ctrl-C.

    Args:
        source: Pairs file, run directory, games file, or the JSON of Argilla or Label Studio.
        out: Pairs file for the labels (default: a pairs file is labelled in place).
        people: Names of those who label.
        overlap: Share of the pairs that all of them label; the others are divided among them.
        sample: Number of rollouts to draw from a run (default: 100).
        by: Half of a run's rollouts are drawn at random, the others where judges disagree (disagreement), or where the
            reward rose while the examiner's grade fell (drift). Their weights are stored.
        prompts: Prompts of a games file.
        responses: Responses files with the texts of a games file.
        export: Write pairs and labels as JSON for another tool, and end.
        format: The other tool.
        port: Port to listen on; 0 chooses a free one.
        host: Address to listen on. Any other than this machine's own needs a password, in the environment variable
            LONGFORM_VIEW_PASSWORD; the user's name is longform.
        no_browser: Do not open a browser; the address is printed.
        seed: Random seed of the sample, of who labels what, and of the order of the texts.
    """
    from longform.evaluation.audit.people import measure_people
    from longform.evaluation.audit.tables import people_tables
    from longform.evaluation.estimates import Bootstrap
    from longform.evaluation.labelling.interchange import export_pairs
    from longform.evaluation.labelling.run import open_labels
    from longform.viewer.serve import serve

    store = open_labels(
        source,
        out=out,
        people=people,
        overlap=overlap,
        sample=sample,
        by=by,
        prompts=prompts,
        responses=responses,
        seed=seed,
        reading=reading.parse(),
    )
    if export is not None:
        export_pairs(store.labelled_pairs(), export, format)
        print_result({"pairs": len(store.pairs), "path": str(export)}, as_json=False)
        return
    store.save()
    with suppress(KeyboardInterrupt):
        serve([], host=host, port=port, browser=not no_browser, labels=store, on_start=lambda it: print(it, flush=True))
    store.save()
    agreement = measure_people(store.labelled_pairs(), Bootstrap())
    if agreement is not None:
        print_tables(people_tables(agreement))
    done = {person: "{} of {}".format(*store.count(person)) for person in store.assignment.people}
    print_result(done | {"path": str(store.path)}, as_json=False, next_command=command_line("audit", store.path))
