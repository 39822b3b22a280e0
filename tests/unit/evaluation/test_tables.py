"""Tables in three forms, and values as JSON: names of models are hostile text."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from longform.evaluation.tables import (
    Column,
    NoInterval,
    Table,
    explain,
    plain,
    render,
    show,
    stored_table,
    table_as_json,
)
from longform.statistics.bootstrap import Interval

NAN = float("nan")
TABLE = Table(
    "Ratings",
    [Column("model", is_text=True), Column("rating"), Column("win rate", digits=2)],
    [["a_1", Interval(1034.4, 1012, 1056), 0.5], ["写手", Interval(7, NAN, NAN), None]],
    ["A note, 5% of it."],
)


def test_text_is_aligned_by_what_a_terminal_shows():
    assert render(TABLE) == "\n".join(
        [
            "Ratings",
            "model               rating  win rate",
            "-----  -------------------  --------",
            "a_1    1034 (1012 to 1056)      0.50",
            "写手       7 (no interval)",
            "A note, 5% of it.",
        ]
    )


WIDE = Table(
    "A title that goes on and on, beyond the eighty columns of a terminal that nobody has made any wider than that",
    [
        Column("", is_text=True),
        Column("writer-one"),
        Column("another-writer-with-a-long-name"),
        Column("difference"),
        Column("prompts"),
        Column("opening", is_text=True),
    ],
    [["  grade by a judge", *[Interval(7451, -7200, 77100)] * 3, 200, "It was a dark night and a storm came " * 3]],
    ["n: prompts. " * 12],
)


def test_a_wide_table_is_wrapped_at_eighty_columns_and_loses_nothing():
    said = render(WIDE)
    assert max(map(cell_len, said.split("\n"))) <= 80
    assert render(WIDE, width=300).split("\n")[1].split() == [
        *("writer-one", "another-writer-with-a-long-name", "difference", "prompts", "opening")
    ]
    lines = said.split("\n")
    body = lines[next(i for i, line in enumerate(lines) if line.startswith("---")) + 1 :]
    assert " ".join(line[:7].strip() for line in body[:4]).split() == ["grade", "by", "a", "judge"]
    assert sum(line.count("storm") for line in body) == 3
    assert said.count("prompts.") == 12


def test_a_number_is_broken_between_its_estimate_and_its_bounds():
    lines = [[part.strip() for part in line.split("  ") if part.strip()] for line in render(WIDE).split("\n")]
    first = next(line for line in lines if "200" in line)
    assert first.count("7451") == 3
    assert lines[lines.index(first) + 1].count("(-7200 to 77100)") == 3


@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=60), min_size=1, max_size=6),
    st.lists(st.floats(), min_size=6, max_size=6),
    st.integers(40, 100),
)
def test_no_table_is_wider_than_asked_for(texts, numbers, width):
    columns = [Column(it, is_text=i % 2 == 0) for i, it in enumerate(texts)]
    row = [it if i % 2 == 0 else Interval(numbers[i], 0.0, 1e6) for i, it in enumerate(texts)]
    said = render(Table("t" * 90, columns, [row, row], ["n " * 90]), width=width)
    assert max(map(cell_len, said.split("\n"))) <= width


def test_markdown_is_a_table_with_a_title_and_notes():
    assert render(TABLE, "markdown") == "\n".join(
        [
            "**Ratings**",
            "",
            "| model | rating | win rate |",
            "| --- | ---: | ---: |",
            r"| a\_1 | 1034 (1012 to 1056) | 0.50 |",
            "| 写手 | 7 (no interval) |  |",
            "",
            "A note, 5% of it.",
        ]
    )


def test_latex_is_a_table_of_booktabs():
    said = render(TABLE, "latex")
    assert r"\begin{tabular}{lrr}" in said
    assert r"{}a\_1 & 1034 (1012 to 1056) & 0.50 \\" in said.split("\n")
    assert r"\par A note, 5\% of it." in said
    rules = [line for line in said.split("\n") if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]


@given(st.text())
def test_a_name_is_one_cell_on_one_line(name):
    table = Table(name, [Column(name, is_text=True), Column("n")], [[name, 3]], [name])
    for said, count in (
        (render(table, "text", width=10_000), 5),
        (render(table, "markdown"), 7),
        (render(table, "latex"), 13),
    ):
        lines = said.split("\n")
        assert len(lines) == count
        assert all(map(str.isprintable, lines))


@pytest.mark.parametrize(
    ("name", "markdown", "latex"),
    [
        ("a|b", r"a\|b", r"a\textbar{}b"),
        ("<script>", r"\<script\>", r"\textless{}script\textgreater{}"),
        (r"\input{x}", r"\\input{x}", r"\textbackslash{}input\{x\}"),
        ("[x](http://y)", r"\[x\](http://y)", "[x](http://y)"),
        ("&amp; #1 $x$ ~^", r"\&amp; \#1 \$x\$ \~^", r"\&amp; \#1 \$x\$ \textasciitilde{}\textasciicircum{}"),
        ("*[5cm]", r"\*\[5cm\]", "*[5cm]"),
        ('say "so"', 'say "so"', "say ''so''"),
        ("a\r\n\x1b[31mb", r"a   \[31mb", "a   [31mb"),
    ],
)
def test_markup_in_a_name_stays_text(name, markdown, latex):
    table = Table("t", [Column("model", is_text=True)], [[name]])
    assert render(table, "markdown").split("\n")[4] == f"| {markdown} |"
    assert rf"{{}}{latex} \\" in render(table, "latex").split("\n")


COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^A-Za-z])")


def read_latex(said):
    """The cells of a table as they would be printed, held against a strict grammar.

    Lines come in one order; every backslash begins a command that `tables` may write; no character stands there that LaTeX
    would not print as itself; braces are balanced. Returns (title, spec of columns, rows of cells, notes).
    """
    lines = said.split("\n")
    package, begin, centering, caption, tabular, top, names, middle, *rest = lines
    assert (package, begin, centering) == (r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering")
    assert (top, middle) == (r"\toprule", r"\midrule")
    end = rest.index(r"\bottomrule")
    assert rest[end + 1] == r"\end{tabular}"
    assert rest[-1] == r"\end{table}"
    spec = re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", tabular)
    title = re.fullmatch(r"\\caption\{(.*)\}", caption)
    assert spec
    assert title
    rows = []
    for line in (names, *rest[:end]):
        assert line.startswith("{}")
        assert line.endswith(r" \\")
        cells = re.split(r"(?<!\\) ?& ?", line[2:-3])
        assert len(cells) == len(spec[1])
        rows.append([printed(cell) for cell in cells])
    notes = [printed(line.removeprefix(r"\par ")) for line in rest[end + 2 : -1] if line.startswith(r"\par ")]
    assert len(notes) == len(rest) - end - 3
    return printed(title[1]), spec[1], rows, notes


def printed(source):
    """What LaTeX prints for an escaped text."""
    words = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    words |= {"textless": "<", "textgreater": ">", "textbar": "|"}
    found, place = [], 0
    while place < len(source):
        command = COMMAND.match(source, place)
        if command is None:
            assert source[place] not in '&%$#_{}~^<>|"', f"{source[place]!r} is bare in {source!r}"
            found.append(source[place])
            place += 1
            continue
        place, name = command.end(), command[0][1:]
        if name in words:
            assert source[place : place + 2] == "{}"
            place += 2
        else:
            assert name in "&%$#_{}", f"command {name!r} in {source!r}"
        found.append(words.get(name, name))
    return "".join(found)


@given(st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), max_size=4), st.text(max_size=20))
def test_latex_holds_no_character_that_is_not_escaped_and_as_many_cells_as_columns(rows, title):
    columns = [Column(title, is_text=True), Column("share, 95%"), Column("p_value", is_text=True)]
    said = read_latex(render(Table(title, columns, rows, [title, "n"]), "latex"))

    def expected(text):
        return show(text).replace('"', "''")

    names = [expected(column.name) for column in columns]
    assert said[:2] == (expected(title), "lrl")
    assert [[cell.strip() for cell in row] for row in said[2]] == [
        [cell.strip() for cell in row] for row in [names, *[list(map(expected, row)) for row in rows]]
    ]
    assert said[3] == [expected(title), "n"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not there")
def test_latex_compiles(tmp_path):
    hostile = "".join(chr(code) for code in range(32, 127))
    table = Table(
        hostile, [Column(hostile, is_text=True), Column("n")], [[hostile, 3], ["*", 4], ["[5cm]", 1]], [hostile]
    )
    document = [r"\documentclass{article}", r"\usepackage[T1]{fontenc}", r"\usepackage{booktabs}", r"\begin{document}"]
    (tmp_path / "t.tex").write_text("\n".join([*document, render(table, "latex"), r"\end{document}", ""]))
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_number_without_an_interval_says_why():
    assert explain(Interval(3, 2, 4), prompts=1) == Interval(3, 2, 4)
    alone = explain(Interval(3, NAN, NAN), prompts=1)
    assert show(alone, digits=1) == "3.0 (a single prompt)"
    assert plain(alone) == {"estimate": 3, "low": None, "high": None, "no_interval": "a single prompt"}
    assert "draws" in show(explain(Interval(3, NAN, NAN), prompts=9))
    assert show(explain(Interval(NAN, NAN, NAN), prompts=1)) == "-"


def test_cells_that_hold_no_number_say_so():
    assert [show(it) for it in (None, NAN, Interval(NAN, NAN, NAN), 3, 2.6)] == ["", "-", "-", "3", "3"]
    assert show(Interval(0.1234, 0.1, 0.2), digits=2) == "0.12 (0.10 to 0.20)"


def test_json_has_names_for_bounds_and_null_for_what_is_no_number():
    @dataclass
    class Result:
        rating: Interval
        share: float

    said = plain({"results": [Result(Interval(1.0, NAN, float("inf")), 0.5)], "name": "x", "n": 3, "none": None})
    assert json.loads(json.dumps(said, allow_nan=False)) == {
        "results": [{"rating": {"estimate": 1.0, "low": None, "high": None}, "share": 0.5}],
        "name": "x",
        "n": 3,
        "none": None,
    }


def test_an_estimate_without_an_interval_is_stored_with_the_reason():
    table = Table(
        "Scores", [Column("model", is_text=True), Column("score", 2)], [["m", NoInterval(4.5, "a single value")]]
    )
    assert stored_table(json.loads(json.dumps(table_as_json(table)))).rows == table.rows
