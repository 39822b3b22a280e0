"""A session of labelling as a process: it saves what people chose, however it ends, and keeps others out meanwhile."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from longform.cli import main
from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.records.files import write_rows


class Session(NamedTuple):
    process: subprocess.Popen[str]
    address: str

    def choose(self, person: str) -> None:
        """Label the pair that a person is shown."""
        with urlopen(f"{self.address}/{person}", timeout=30) as answer:
            page = answer.read().decode()
        token, key = (
            found[1]
            for name in ('longform-token" content', "data-pair")
            if (found := re.search(f'{name}="([^"]+)"', page))
        )
        body = json.dumps({"person": person, "pair_id": key, "choice": "first", "seconds": 1}).encode()
        with urlopen(Request(f"{self.address}s", body, {"x-longform-token": token}), timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def session(path: Path, *flags: str) -> Iterator[Session]:
    """`longform label` while it serves."""
    command = [sys.executable, "-m", "longform", "label", str(path), "--no-browser", *flags]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which a runner under nohup ignores
    )
    assert process.stdout is not None
    try:
        yield Session(process, process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = [AuditedPair(id=f"q{it}", prompt=f"Why {it}?", response_a="So.", response_b="Thus.") for it in range(3)]
    write_rows(tmp_path / "pairs.jsonl", rows)
    return tmp_path / "pairs.jsonl"


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What the command says when it ends with exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main(["label", *flags])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1, said
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_labels_are_saved_when_the_process_is_asked_to_end(path: Path, number: signal.Signals) -> None:
    with session(path, "--people", "ann", "bob") as running:
        running.choose("ann")
        running.process.send_signal(number)
        said, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 0, said
    assert "ann   1 of 3\n" in said
    assert [it.labels for it in read_pairs([path]) if it.labels] in ([{"ann": "a"}], [{"ann": "b"}])


def test_a_second_process_is_refused_and_a_killed_one_is_not_forgotten(path: Path, capsys) -> None:
    with session(path, "--people", "ann") as running:
        running.choose("ann")
        assert "another process" in refused(capsys, str(path), "--people", "bob", "--no-browser")
        running.process.kill()
        running.process.wait()
    with session(path, "--people", "bob") as running:
        running.choose("bob")
        running.process.send_signal(signal.SIGTERM)
        running.process.communicate(timeout=60)
    assert {person for it in read_pairs([path]) for person in it.labels or ()} == {"ann", "bob"}


def test_bad_flags_and_files_are_one_line(path: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.json").write_text(
        '[{"fields": {"prompt": "p", "response_a": "a", "response_b": "b"}, "responses": [5]}]'
    )
    assert "no such file or folder" in refused(capsys, "gone.jsonl")
    assert "--people 'a/b'" in refused(capsys, "pairs.jsonl", "--people", "a/b")
    assert "t.json: item 1: responses" in refused(capsys, "t.json", "--out", "o.jsonl")
    assert "--export pairs.jsonl: exists" in refused(capsys, "pairs.jsonl", "--export", "pairs.jsonl")
    assert sorted(it.name for it in tmp_path.iterdir()) == ["pairs.jsonl", "t.json"]
