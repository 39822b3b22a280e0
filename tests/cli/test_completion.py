"""`longform --install-completion`: a script that completes commands, flags and choices, and a fast `--help`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts.completion.detect import ShellDetectionError

from longform.cli import COMMANDS, describe_commands, main

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_longform; printf '%s\\n' "${COMPREPLY[@]}"
"""


def _install(monkeypatch, home, *arguments, code=0):
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(SystemExit) as ended:
        main(["--install-completion", *arguments])
    assert (ended.value.code or 0) == code


def _complete(script, *words):
    done = subprocess.run(["bash", "-c", ASK, "bash", script, *words], capture_output=True, text=True, check=True)
    return {it.strip() for it in done.stdout.splitlines()}


def test_bash_completes_commands_flags_and_choices(tmp_path, monkeypatch):
    _install(monkeypatch, tmp_path, "--shell", "bash", "--out", str(tmp_path / "longform.bash"))
    script = str(tmp_path / "longform.bash")
    assert COMMANDS.keys() <= _complete(script, "longform", "")
    assert _complete(script, "longform", "rep") == {"replay", "report"}
    assert {"list", "copy"} <= _complete(script, "longform", "recipe", "")
    assert "--dry-run" in _complete(script, "longform", "train", "--d")
    assert {"models", "sft"} <= _complete(script, "longform", "schema", "")
    assert not (tmp_path / ".bashrc").exists(), "--out leaves the start-up file alone"


@pytest.mark.parametrize(("shell", "start_up"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_the_script_goes_where_the_shell_loads_it(tmp_path, monkeypatch, capsys, shell, start_up):
    for name in ("ZSH", "ZSH_CUSTOM", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    _install(monkeypatch, tmp_path, "--shell", shell)
    place = capsys.readouterr().out.splitlines()[0].removeprefix("path  ")
    assert Path(place).is_relative_to(tmp_path)
    assert "longform" in Path(place).read_text()
    if start_up:
        assert "longform" in (tmp_path / start_up).read_text()


def test_an_unknown_shell_is_one_line(tmp_path, monkeypatch, capsys):
    _install(monkeypatch, tmp_path, "--shell", "tcsh", code=2)
    assert "tcsh" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_shell_that_cannot_be_told_asks_for_the_flag(tmp_path, monkeypatch, capsys):
    def detect():
        raise ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", detect)
    _install(monkeypatch, tmp_path, code=2)
    assert capsys.readouterr().err == "longform: --shell: cannot tell which shell this is; pass bash, zsh or fish\n"


def test_help_imports_no_command_and_no_generator_of_completions():
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules))\n"
    code += "from longform.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "--install-completion" in done.stdout
    commands = {f"longform.cli.{name.replace('-', '_')}" for name in [*COMMANDS, "completion"]}
    assert not loaded & (commands | {"torch", "transformers", "cyclopts", "rich", "pydantic"})


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_overview_names_every_command_within_the_width(width):
    lines = describe_commands(width).splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "} == COMMANDS.keys()
    assert max(map(len, lines)) <= width
