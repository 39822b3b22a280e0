"""`longform view`: the folder of pages that it writes, and what keeps it from serving, in one line."""

import socket
from pathlib import Path

import pytest

from longform.cli import main
from longform.records.files import write_rows
from longform.records.schemas import PromptRow
from viewed_runs import write_run


@pytest.fixture(autouse=True)
def _runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LONGFORM_VIEW_PASSWORD", raising=False)
    write_run(tmp_path / "runs" / "a", steps=1, rows=2)
    write_rows(tmp_path / "runs" / "prompts.jsonl", [PromptRow(id="p", prompt="Write about rain.")])


def view(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["view", "--no-browser", *map(str, arguments)])
    return ended.value.code or 0


def test_runs_and_results_are_written_as_pages_that_need_no_server(capsys):
    assert view("--bundle", "pages", "--with-texts") == 0
    said = " ".join(capsys.readouterr().out.split())
    files = list(Path("pages").iterdir())
    assert (
        said
        == f"bundle pages/index.html size {len(files)} files, {sum(it.stat().st_size for it in files) / 1e6:.1f} MB"
    )
    assert any("Write about rain." in it.read_text() for it in files)
    assert view("--bundle", "pages") == 2
    assert "--bundle pages: exists; name a new folder" in capsys.readouterr().err


def test_what_cannot_be_shown_or_served_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = {
            ("gone",): "gone: no such file or folder; name a run, a folder with runs, or a file of results",
            ("--bundle", "pages", "gone"): "gone: no such file or folder",
            ("--host", "0.0.0.0"): "--host 0.0.0.0: others can reach this address; set a password in the environment",
            ("--port", port): f"--host 127.0.0.1 --port {port}: cannot be used: Address already in use",
            ("--host", "no.such.host.example.invalid"): "others can reach this address",
        }
        for arguments, message in refused.items():
            assert view(*arguments) == 2, arguments
            said = capsys.readouterr().err
            assert message in said and said.count("\n") == 1, arguments
    assert not Path("pages").exists()
