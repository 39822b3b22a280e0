"""YAML that people write: every fault is one line, and nothing of the content is quoted."""

import pytest

from longform.records.errors import BadInputError
from longform.records.yaml_files import read_yaml


def _read(tmp_path, content):
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_yaml(path)


def test_content_is_what_yaml_says(tmp_path):
    assert _read(tmp_path, "a: {b: [1, 2.5, null, text]}\nc: ü\n") == {"a": {"b": [1, 2.5, None, "text"]}, "c": "ü"}
    assert _read(tmp_path, "") is None


def test_shared_parts_may_be_overridden(tmp_path):
    read = _read(tmp_path, "base: &base {url: x, model: a}\none:\n  <<: *base\n  model: b\n")
    assert read["one"] == {"url": "x", "model": "b"}


def test_equal_keys_in_different_places_are_no_fault(tmp_path):
    assert _read(tmp_path, "a: {k: 1}\nb: {k: 2}\n") == {"a": {"k": 1}, "b": {"k": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3: a: duplicate key"),
        ("a:\n  b: 1\n  b: 2\n", ":3: b: duplicate key"),
        ("list: [{k: 1, k: 2}]\n", ":1: k: duplicate key"),
        ("a: 1\nb: [1\n", ":3: not YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", ":1: not YAML"),
        ("a: 2026-99-99\n", ": not YAML"),
        ("? [a, b]\n: 1\n", ":1: not YAML"),
        (b"\xff\xfe\x00", ": not YAML"),
        ("a: \x07\n", ": not YAML"),
        ("[" * 10_000, ": not YAML"),
    ],
)
def test_a_fault_is_one_line_with_the_files_name_and_line(tmp_path, content, message):
    with pytest.raises(BadInputError) as caught:
        _read(tmp_path, content)
    assert str(caught.value) == f"{tmp_path / 'file.yaml'}{message}"


def test_a_key_that_somebody_put_there_is_not_shown(tmp_path):
    with pytest.raises(BadInputError) as caught:
        _read(tmp_path, "key: sk-secret: [\n")
    assert "sk-secret" not in str(caught.value)


def test_nested_merge_keys_and_aliases_end_at_once_in_one_line(tmp_path):
    path = tmp_path / "a.yaml"
    for form in ("{{<<: [*a{0}, *a{0}], k{1}: 1}}", "[*a{0}, *a{0}]"):
        lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} " + form.format(i - 1, i) for i in range(1, 40)]
        path.write_text("\n".join(lines))
        with pytest.raises(BadInputError, match=r"a\.yaml:\d+: aliases and merge keys .* more than 100,000 values"):
            read_yaml(path)


def test_merge_keys_are_merged(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("base: &base {x: 1, y: 2}\nmore: {<<: *base, y: 3}\n")
    assert read_yaml(path) == {"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}}


@pytest.mark.parametrize(
    "content", ["&a [*a]", "a: &a {b: *a}", "!!bool maybe", "!!int ''", "!!timestamp x", "? [1]\n: 2"]
)
def test_values_that_cannot_be_built_are_one_line(tmp_path, content):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(BadInputError, match=r"a\.yaml:?\d*: "):
        read_yaml(tmp_path / "a.yaml")
