"""A package of an extra that is missing is named with its extra and what needs it; JSON Lines need none."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from longform.evaluation.benchmarks.arena_write import ArenaWrite
from longform.evaluation.benchmarks.fetch import fetch_set
from longform.records.collection import Collection
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.interchange import read_ladders
from longform.records.optional import EXTRAS, require
from longform.records.paths import check_out
from longform.records.schemas import Prompt
from longform.selection.sources import read_source
from longform.training.supervised.pretrain_sources import HubTexts

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
PROMPT = Prompt(id="p", prompt="Write a story.")


@pytest.fixture
def without_data(monkeypatch):
    for module in ("datasets", "pyarrow", "pyarrow.parquet", "pandas"):
        monkeypatch.setitem(sys.modules, module, None)


def _read_source(path):
    return list(read_source(str(path)))


def _read_rows(path):
    return list(read_rows(path, Prompt))


def _write_rows(path):
    return write_rows(path, [PROMPT])


def _collect(path):
    return Collection(path, Prompt)


@pytest.mark.usefixtures("without_data")
@pytest.mark.parametrize("use", [_read_rows, _read_source, read_ladders, _write_rows, _collect, check_out])
def test_a_parquet_file_without_pyarrow_names_the_file_and_the_extra(use, tmp_path):
    path = tmp_path / "rows.parquet"
    with pytest.raises(BadInputError) as caught:
        use(path)
    assert f"{path}: needs pyarrow, which is not installed: pip install 'longform[data]'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_data")
def test_a_hub_id_without_datasets_names_the_id_and_the_extra():
    line = "owner/name: needs datasets, which is not installed: pip install 'longform[data]'"
    with pytest.raises(BadInputError) as caught:
        _read_source("owner/name")
    assert str(caught.value) == f"{line}; there is no such file or folder here"
    with pytest.raises(BadInputError) as caught:
        HubTexts("owner/name", None, "train", "text").check()
    assert str(caught.value) == line


@pytest.mark.usefixtures("without_data")
def test_a_set_in_parquet_is_not_downloaded_where_it_cannot_be_read(tmp_path):
    with pytest.raises(BadInputError, match=r"arena-write: arena_write\.parquet: needs pyarrow, .*'longform\[data\]'"):
        fetch_set(ArenaWrite(), tmp_path / "set", on_progress=lambda *_: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_data")
def test_json_lines_need_no_package_of_an_extra(tmp_path):
    path = tmp_path / "rows.jsonl"
    check_out(path)
    write_rows(path, [PROMPT])
    assert list(read_rows(path, Prompt)) == [PROMPT]
    assert [it.offer.request for it in read_source(str(path))] == ["Write a story."]
    with Collection(tmp_path / "out.jsonl", Prompt) as collection:
        collection.add(PROMPT)
        assert collection.finish([PROMPT.key]) == 1


def test_the_extras_that_errors_name_exist_and_bring_what_was_missing():
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = {
        extra: {re.split(r"[^\w-]", it)[0] for it in packages}
        for extra, packages in project["optional-dependencies"].items()
    }
    assert set(EXTRAS.values()) <= extras.keys()
    assert extras["data"] == {module for module, extra in EXTRAS.items() if extra == "data"}
    assert extras["data"] <= extras["train"] & extras["cluster"] & extras["test"]
    assert not extras["data"] & {re.split(r"[^\w-]", it)[0] for it in project["dependencies"]}


def test_the_check_does_not_load_what_it_looks_for(tmp_path, monkeypatch):
    (tmp_path / "slow_to_load.py").write_text("raise AssertionError('loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    require("slow_to_load", "a field")
