"""What the commands print: no control characters, plain lines without a terminal, JSON where asked for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.cli import output


@given(st.text())
def test_what_is_printed_cannot_move_the_cursor_or_break_the_line(text):
    shown = output.printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()


def test_printable_text_stays_as_it_is():
    assert output.printable("Grüße, 你好 – 3.5 €") == "Grüße, 你好 – 3.5 €"
    assert output.printable("\x1b[31mred\x07\u202e\r\n") == " [31mred    "
    assert output.printable(7) == "7"


def test_a_result_is_names_and_values_and_the_next_command(capsys):
    output.print_result({"rows": 3, "a longer name": "x\x1by"}, as_json=False, next_command="longform next")
    assert capsys.readouterr().out == "rows           3\na longer name  x y\nnext           longform next\n"


def test_json_is_one_object_and_nothing_else(capsys):
    output.print_result({"rows": 3, "path": "Größe"}, as_json=True, next_command="longform next")
    said = capsys.readouterr().out
    assert json.loads(said) == {"rows": 3, "path": "Größe"}
    assert said.count("\n") == 1


def test_a_table_shows_markup_as_text(capsys):
    output.print_table("A [bold]title", ["name", "win [rate]"], [["[red]x[/red]", "0.5"], ["a\x1b[2J", "[/]"]])
    said = capsys.readouterr().out
    for text in ("A [bold]title", "win [rate]", "[red]x[/red]", "a [2J", "[/]"):
        assert text in said
    assert "\x1b" not in said


def test_progress_without_a_terminal_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(output, "console", output.Console(stderr=True, highlight=False, force_terminal=False))
    with output.progress("grading [x]") as advance:
        for done in range(1, 4):
            advance(done, 3, "re[ward] 0.5\x1b")
    first, last = capsys.readouterr().err.splitlines()
    assert first == "grading [x] ..."
    assert last.startswith("grading [x] 3/3  re[ward] 0.5  (0.")


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    console = output.Console(stderr=True, highlight=False, force_terminal=True, width=120)
    monkeypatch.setattr(output, "console", console)
    with output.progress("grading [x]") as advance:
        advance(2, 3, "re[ward]")
    said = capsys.readouterr().err
    assert "grading [x]" in said
    assert "2/3" in said
    assert "re[ward]" in said


def test_a_stage_that_fails_passes_its_error_on(capsys):
    with pytest.raises(RuntimeError, match="a bug"), output.progress("stage"):
        raise RuntimeError("a bug")


def test_numbers_by_cause_are_printed_as_words(capsys):
    output.print_result({"left out": {"empty": 3, "cut off": 1}, "failed": 0}, as_json=False)
    assert capsys.readouterr().out == "left out  empty: 3, cut off: 1\nfailed    0\n"
