"""`longform slop mine HUMAN MODEL`."""

from pathlib import Path

from cyclopts import App

from longform.cli.flags import READ_FLAGS, Flag, PositiveInt, ReadFlags
from longform.cli.output import command_line, print_result, print_table, printable

slop = App(name="slop", help="Find the phrases that a model overuses.")


@slop.command
def mine(
    human: Path,
    model: Path,
    *,
    out: Path,
    show: PositiveInt = 10,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Mine the words and phrases that a model uses far more often than people do, by language. No model is called.

    A phrase is listed if the model uses it at least four times as often as people, significantly (log-likelihood ratio), and
    for at least three requests. The format reward penalizes listed phrases (`slop`, `slop_list`).

    Args:
        human: Texts by people: a file with the field text, or a folder of such files or of .txt files.
        model: Texts by the model with prompt_id, preferably for the same requests.
        out: File to write (.json).
        show: Print this many phrases of each language.
        json: Print the result as JSON.
    """
    from longform.selection.slop import mine_slop

    made = mine_slop([human], [model], out=out, reading=reading.parse())
    if not json:
        for language, found in made.languages.items():
            rows = [[printable(it.phrase), f"{it.model}", f"{it.human}", f"{it.keyness}"] for it in found.phrases]
            rows.sort(key=lambda row: -float(row[3]))
            columns = ["phrase", "model, per million", "human", "keyness"]
            print_table(f"Overused in language {language}", columns, rows[:show])
    figures = {
        language: {
            "phrases": len(it.phrases),
            "model_share": it.model_share,
            "human_share": it.human_share,
            "allowed": it.allowed,
        }
        for language, it in made.languages.items()
    }
    lines = {
        f"phrases in {language}": f"{it['phrases']}; part of {it['model_share']:.1%} of the model's words, "
        f"{it['human_share']:.1%} of human ones"
        for language, it in figures.items()
    }
    print_result(
        ({"languages": figures} if json else lines) | {"path": str(out)},
        as_json=json,
        next_command=command_line("train", "RECIPE", note=f"with slop: 1 and slop_list: {out} in the format reward"),
    )
