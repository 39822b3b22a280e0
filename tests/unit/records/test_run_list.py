"""Runs are listed with target and state, whatever their folders are called."""

import pytest

from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.records.run_list import list_runs


def _run(path, steps, *, target=3):
    with RunDirectory.open(path) as run:
        run.recipe_path.write_text(f"run: {{name: other, steps: {target}}}\n")
        for step in range(1, steps + 1):
            metrics = {"validation/grade": 4.0 + step, "curriculum/mean_rung": step / 2}
            run.database.record_step(step, seconds=2.0, metrics=metrics)
    return path


def test_the_target_and_the_state_of_each_run_are_told(tmp_path):
    _run(tmp_path / "a", 3)
    _run(tmp_path / "b", 1)
    (_run(tmp_path / "c", 0) / "recipe.yaml").unlink()
    _run(tmp_path / "d", 2)
    (tmp_path / "d" / "run.sqlite").write_bytes(b"no database " * 1000)
    _run(tmp_path / "e", 1)
    with RunDirectory.open(tmp_path / "e"):
        found = list_runs(tmp_path)
    assert [(it.path.name, it.state, it.step, it.steps) for it in found] == [
        ("a", "finished", 3, 3),
        ("b", "stopped", 1, 3),
        ("c", "stopped", 0, None),
        ("d", "damaged", 0, 3),
        ("e", "running", 1, 3),
    ]
    assert (found[0].first_grade, found[0].last_grade, found[0].mean_rung, found[0].seconds) == (5.0, 7.0, 1.5, 6.0)
    assert "run.sqlite" in found[3].problem


def test_prompts_without_ladders_have_no_mean_rung(tmp_path):
    recipe = _run(tmp_path / "a", 3) / "recipe.yaml"
    recipe.write_text("run: {name: a, steps: 3}\ndata: {prompts: p.jsonl, ladders: null, sources: []}\n")
    (found,) = list_runs(tmp_path)
    assert (found.steps, found.mean_rung) == (3, None)


def test_a_renamed_run_is_the_same_run(tmp_path):
    before = list_runs(_run(tmp_path / "old", 2))
    (tmp_path / "old").rename(tmp_path / "new")
    (after,) = list_runs(tmp_path)
    assert (after.state, after.step, after.steps) == (before[0].state, before[0].step, before[0].steps)


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(BadInputError, match="no runs found"):
        list_runs(tmp_path)
