"""The prompts of a run in verl's Parquet: by index, by id, and without reading texts where only rungs are asked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import ladder

from longform.cluster.prompt_table import PromptTable
from longform.curriculum.criteria import scored_criteria
from longform.records.interchange import write_verl
from longform.records.schemas import Criterion, Ladder, Prompt


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_table_gives_back_what_was_written(tmp_path):
    rows = [ladder(0), ladder(1, rungs=("weak",)), ladder(2)]
    write_verl(tmp_path / "train.parquet", rows)
    table = PromptTable(tmp_path / "train.parquet")
    assert [table.prompt_at(n) for n in range(len(table))] == rows
    assert list(table.ladders()) == [(it.id, it.rungs) for it in rows]
    assert [table.id_at(n) for n in range(3)] == ["p0", "p1", "p2"]


def test_prompts_without_references_are_prompts(tmp_path):
    write_verl(tmp_path / "train.parquet", [Prompt(id="a", prompt="Write.", length_range=(10, 20))])
    found = PromptTable(tmp_path / "train.parquet").prompt_at(0)
    assert not isinstance(found, Ladder)
    assert (found.request, found.length_range) == ("Write.", (10, 20))


@settings(max_examples=20, deadline=None)
@given(ids=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True))
def test_every_prompt_is_found_by_its_id(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("table")
    write_verl(folder / "train.parquet", [Prompt(id=id_, prompt=f"Write about {n}.") for n, id_ in enumerate(ids)])
    table = PromptTable(folder / "train.parquet")
    assert [table.request_of(id_) for id_ in ids] == [f"Write about {n}." for n in range(len(ids))]


def test_ids_that_share_a_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("longform.cluster.prompt_table._hash", lambda id_: 7)
    write_verl(tmp_path / "train.parquet", [ladder(n) for n in range(5)])
    table = PromptTable(tmp_path / "train.parquet")
    assert [table.request_of(f"p{n}") for n in range(5)] == [f"Write {n}." for n in range(5)]


def test_scored_criteria_are_counted_without_constraints(tmp_path):
    criteria = [Criterion(name="wit"), Criterion(name="form", hard=True), Criterion(name="grace")]
    rows = [
        Prompt(id=f"p{n}", prompt="Write.", criteria=it)
        for n, it in enumerate((criteria, "with wit", None, criteria[1:]))
    ]
    write_verl(tmp_path / "train.parquet", rows)
    counts = PromptTable(tmp_path / "train.parquet").criteria_counts()
    assert counts == [2, 0, 0, 1] == [len(scored_criteria(it)) for it in rows]
