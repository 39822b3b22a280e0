"""No command writes over what it reads."""

from pathlib import Path

import pytest

from longform.records.errors import BadInputError
from longform.records.paths import check_out


@pytest.mark.parametrize("out", ["b.jsonl", "./b.jsonl", "folder/../b.jsonl", "link.jsonl"])
def test_an_out_that_is_an_input_is_refused_by_whatever_path(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("b.jsonl").touch()
    Path("link.jsonl").symlink_to("b.jsonl")
    with pytest.raises(BadInputError) as caught:
        check_out(Path(out), Path("a.jsonl"), tmp_path / "b.jsonl")
    assert str(caught.value) == f"--out {Path(out)}: would overwrite {tmp_path}/b.jsonl, which this command reads"


def test_any_other_out_is_let_through_and_another_flag_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").touch()
    check_out(Path("b.jsonl"), Path("a.jsonl"), Path("folder/b.jsonl"))
    check_out(Path("b.jsonl"))
    with pytest.raises(BadInputError, match=r"--dropped a\.jsonl"):
        check_out(Path("a.jsonl"), Path("a.jsonl"), flag="--dropped")


@pytest.mark.parametrize("out", ["", ".", "..", "/", "folder", "folder/.."])
def test_a_folder_and_so_every_path_without_a_name_is_refused(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(BadInputError, match="is a folder; name a file"):
        check_out(Path(out))


def test_links_that_lead_nowhere_bring_no_traceback(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    check_out(tmp_path / "loop", tmp_path / "other")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_a_format_that_is_only_read_is_refused(tmp_path, suffix):
    with pytest.raises(BadInputError, match=rf"--out .*rows{suffix}: rows are written as JSON Lines or Parquet"):
        check_out(tmp_path / f"rows{suffix}")
