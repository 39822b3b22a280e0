"""Asking whether a folder can be written leaves its files as they are."""

from longform.records.folders import disk_trouble


def test_a_probe_of_the_disk_leaves_every_file_as_it_was(tmp_path):
    (tmp_path / "begun.json").write_text("{}")
    assert disk_trouble(ValueError("of a library"), tmp_path) is None
    assert {it.name: it.read_text() for it in tmp_path.iterdir()} == {"begun.json": "{}"}


def test_a_probe_of_an_empty_folder_leaves_it_empty(tmp_path):
    assert disk_trouble(ValueError("of a library"), tmp_path) is None
    assert not list(tmp_path.iterdir())
