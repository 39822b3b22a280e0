"""Work is resumed only with the settings and files that it was begun with."""

import pytest

from longform.records.errors import BadInputError
from longform.records.resume import check_files, check_resume, flatten, hash_file, hash_model_folder
from longform.records.schemas import Prompt


def test_every_setting_that_differs_is_named_with_both_values_and_the_remedy():
    stored, present = {"lr": 1.0, "seed": 1, "same": 5, "gone": 2}, {"lr": 2.0, "seed": 3, "same": 5, "new": "x"}
    with pytest.raises(BadInputError) as error:
        check_resume("--out o", stored, present, remedy="choose another folder")
    assert str(error.value) == (
        "--out o: was begun with gone 2, not None; with lr 1.0, not 2.0; with new None, not x; with seed 1, not 3; "
        "choose another folder"
    )


def test_equal_settings_and_changeable_ones_are_resumed():
    stored, present = flatten({"rewards": [{"limit": 1}]}), flatten({"rewards": [{"limit": 2}]})
    check_resume("run", stored, stored, remedy="-")
    check_resume("run", stored, present, remedy="-", changeable=("rewards.limit",))
    with pytest.raises(BadInputError, match=r"rewards\.0\.limit 1, not 2"):
        check_resume("run", stored, present, remedy="-", changeable=("limit",))


def test_nested_settings_have_dotted_names():
    assert flatten({"a": {"b": [1, {"c": None}]}, "d": 2}) == {"a.b.0": 1, "a.b.1.c": None, "d": 2}


def test_files_that_changed_are_named(tmp_path):
    (tmp_path / "a").write_text("a")
    stored = {"a": hash_file(tmp_path / "a"), "b": "1", "c": "2"}
    check_files("the run", stored, stored, remedy="-")
    with pytest.raises(BadInputError, match=r"^a: has changed since the run began; start again"):
        check_files("the run", stored, stored | {"a": "0"}, remedy="start again")
    with pytest.raises(BadInputError, match=r"^a, b: have changed since"):
        check_files("the run", stored, {"a": "0", "b": "0", "c": "2"}, remedy="-")


def test_criteria_without_the_newer_fields_keep_their_form_and_hash():
    old = {"name": "wit", "description": "makes one laugh", "note": 1}
    row = Prompt.model_validate({"id": "p", "prompt": "Write.", "criteria": [old]})
    assert row.model_dump(mode="json")["criteria"] == [old]
    newer = old | {"weight": 2.0, "bands": {"9-10": "roars"}, "hard": True}
    row = Prompt.model_validate({"id": "p", "prompt": "Write.", "criteria": [newer]})
    assert row.model_dump(mode="json")["criteria"] == [{key: newer[key] for key in newer}]


def test_a_file_of_a_model_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = hash_model_folder(tmp_path)
    (tmp_path / "notes.md").write_text("of no effect")
    assert hash_model_folder(tmp_path) == before
    (tmp_path / "tokenizer.json").write_text("{}")
    assert hash_model_folder(tmp_path) != before
    with pytest.raises(BadInputError, match=r"gone: cannot be read: No such file or directory"):
        hash_model_folder(tmp_path / "gone")
